//! The audit log: entries, heads, proofs.

use std::time::Duration;

use arbiter_net::{Bytes, Method, Response};
use arbiter_wire::http::{
    AuditHeadView, AuditPageView, AuditRedactionView, Because, ConsistencyProofView, InclusionProofView,
};

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const QUERY: Operation = ("audit.query", Method::GET, "/v1/audit/entries");
pub(super) const HEAD: Operation = ("audit.head", Method::GET, "/v1/audit/head");
pub(super) const EXPORT: Operation = ("audit.export", Method::GET, "/v1/audit/export");
pub(super) const PROOF: Operation = ("audit.proof", Method::GET, "/v1/audit/entries/{index}/proof");
pub(super) const CONSISTENCY: Operation = ("audit.consistency", Method::GET, "/v1/audit/consistency");
pub(super) const REDACT: Operation = ("audit.redact", Method::POST, "/v1/audit/entries/{index}/redact");

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

/// How long the head of an export may take.
const HEAD_WITHIN: Duration = Duration::from_secs(60);

/// An answer that is read piece by piece. Its end was reached only if [`Self::piece`] says so.
#[derive(Debug)]
pub struct Download {
    response: Response,
}

impl Download {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError`]; after one there are no more pieces.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        let piece = self.response.chunk().await;
        piece.map_err(|error| ClientError::unanswered(EXPORT.0, error))
    }
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

    /// Opens the whole log up to the newest signed head, with every key, as lines of JSON: what `arbiter audit verify`
    /// verifies.
    ///
    /// # Errors
    /// [`ClientError`]; `not_found` when there is no signed head yet.
    pub async fn audit_export(&self) -> Result<Download, ClientError> {
        let call = self.call(&EXPORT, &[]).header("accept", "application/x-ndjson");
        let response = call.waits(HEAD_WITHIN).open().await?;
        Ok(Download { response })
    }

    /// Removes the detail of an entry. The entry and every proof stay as they are. A repeat removes nothing.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn audit_redact(
        &self,
        index: u64,
        because: &Because,
    ) -> Result<AuditRedactionView, ClientError> {
        self.call(&REDACT, &[&index]).json(because).read().await
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
