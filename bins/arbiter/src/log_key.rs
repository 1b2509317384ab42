//! Which key signs the audit log of a store that several nodes share.
//!
//! The first node that opens the store puts its key down. Nodes with the same key (a copy of `audit.key`) sign as well;
//! the others place entries, and leave signing to them.

use std::sync::Arc;

use arbiter_audit::key::VerifierKey;
use arbiter_core::model::{AuditAction, Json, PrincipalId, RecordDraft, TenantId, TenantScope};
use arbiter_core::ports::{
    Document, DocumentContent, DocumentError, DocumentKey, DocumentWrite, Documents, Effects, Precondition,
};
use serde_json::{Value, json};

use crate::exit::Failure;

/// The kind of its document.
pub(crate) const KIND: &str = "audit_signer";

/// The key of this node, and where that of the store stands.
pub(crate) struct LogKey {
    documents: Arc<dyn Documents>,
    own: VerifierKey,
}

impl std::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogKey")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

impl LogKey {
    pub(crate) fn new(documents: &Arc<dyn Documents>, own: VerifierKey) -> Self {
        Self {
            documents: Arc::clone(documents),
            own,
        }
    }

    /// Gives the key that signs; puts this node's down if there is none.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn establish(&self) -> Result<VerifierKey, Failure> {
        if let Some(key) = self.stored().await? {
            return Ok(key);
        }
        match self.put(&self.own, Precondition::Absent, None).await {
            Ok(_) => Ok(self.own.clone()),
            // another node was faster
            Err(DocumentError::Precondition { .. }) => self.stored().await?.ok_or_else(|| {
                Failure::unavailable(
                    "the key that signs the audit log could not be found",
                    anyhow::anyhow!("it was put down and taken away"),
                )
            }),
            Err(error) => Err(failed(error)),
        }
    }

    /// Whether this node has the key that signs.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn is_ours(&self) -> Result<bool, Failure> {
        Ok(self
            .stored()
            .await?
            .is_some_and(|key| key.to_string() == self.own.to_string()))
    }

    /// Puts a new key in the place of this node's.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn replace(&self, key: &VerifierKey, by: PrincipalId) -> Result<(), Failure> {
        let put = self.put(key, Precondition::Any, Some(by)).await;
        put.map(|_| ()).map_err(failed)
    }

    async fn put(
        &self,
        key: &VerifierKey,
        precondition: Precondition,
        by: Option<PrincipalId>,
    ) -> Result<Vec<u64>, DocumentError> {
        let body = Json::of(&json!({"v": 1, "key": key.to_string()}));
        let write = DocumentWrite {
            key: place(),
            precondition,
            content: Some(DocumentContent {
                body,
                index: Vec::new(),
                expires_at: None,
            }),
        };
        let draft = RecordDraft {
            principal: by,
            actions: vec![AuditAction::DocumentWritten],
            ..RecordDraft::default()
        };
        self.documents.write(vec![write], Effects::of(draft)).await
    }

    async fn stored(&self) -> Result<Option<VerifierKey>, Failure> {
        let scope = TenantScope::Tenant(TenantId::SYSTEM);
        let found = self.documents.get(scope, &[place()]).await?;
        let found = found.into_iter().flatten().next();
        found.as_ref().map(key_of).transpose()
    }
}

fn key_of(document: &Document) -> Result<VerifierKey, Failure> {
    let damaged = || {
        Failure::unavailable(
            "the key that signs the audit log cannot be read",
            anyhow::anyhow!("the document `{KIND}` is damaged, or of a newer version"),
        )
    };
    let body: Value = serde_json::from_str(document.body.as_str()).map_err(|_| damaged())?;
    let version = body.get("v").and_then(Value::as_u64);
    let key = body.get("key").and_then(Value::as_str);
    key.filter(|_| version == Some(1))
        .and_then(|key| key.parse().ok())
        .ok_or_else(damaged)
}

fn place() -> DocumentKey {
    DocumentKey {
        kind: KIND,
        tenant: TenantId::SYSTEM,
        id: "log".to_owned(),
    }
}

fn failed(error: DocumentError) -> Failure {
    Failure::unavailable("the key that signs the audit log could not be put down", error)
}
