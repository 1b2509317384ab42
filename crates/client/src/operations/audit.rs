//! The audit log: entries, heads, proofs.

use arbiter_net::Method;
use arbiter_wire::http::{AuditHeadView, AuditPageView, ConsistencyProofView, InclusionProofView};

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const QUERY: Operation = ("audit.query", Method::GET, "/v1/audit/entries");
pub(super) const HEAD: Operation = ("audit.head", Method::GET, "/v1/audit/head");
pub(super) const PROOF: Operation = ("audit.proof", Method::GET, "/v1/audit/entries/{index}/proof");
pub(super) const CONSISTENCY: Operation = ("audit.consistency", Method::GET, "/v1/audit/consistency");

/// Which entries to find.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// At or after this moment (RFC 3339).
    pub from: Option<String>,
    /// Before this moment (RFC 3339).
    pub to: Option<String>,
    /// By this principal.
    pub principal: Option<String>,
    /// With this action.
    pub action: Option<String>,
    /// About this resource.
    pub resource: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Where to go on: the cursor of the page before.
    pub cursor: Option<String>,
    /// At most so many, 1–1000; 50.
    pub limit: Option<usize>,
}

impl Client {
    /// A page of entries, newest first.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn audit_query(&self, filter: &AuditFilter) -> Result<AuditPageView, ClientError> {
        let query = [
            ("from", filter.from.clone()),
            ("to", filter.to.clone()),
            ("principal", filter.principal.clone()),
            ("action", filter.action.clone()),
            ("resource", filter.resource.clone()),
            ("outcome", filter.outcome.clone()),
            ("cursor", filter.cursor.clone()),
            ("limit", filter.limit.map(|limit| limit.to_string())),
        ];
        self.call_with(&QUERY, &[], &query).read().await
    }

    /// The newest signed head of the log.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn audit_head(&self) -> Result<AuditHeadView, ClientError> {
        self.call(&HEAD, &[]).read().await
    }

    /// Proves that an entry stands in the log. The proof is as the server gives it: whoever does not trust the server
    /// verifies it with `arbiter-audit`.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn audit_proof(&self, index: u64) -> Result<InclusionProofView, ClientError> {
        self.call(&PROOF, &[&index]).read().await
    }

    /// Proves that the log only grew since it had so many entries.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn audit_consistency(&self, from: u64) -> Result<ConsistencyProofView, ClientError> {
        let query = [("from", Some(from.to_string()))];
        self.call_with(&CONSISTENCY, &[], &query).read().await
    }
}
