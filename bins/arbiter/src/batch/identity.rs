//! Under which name a batch's tasks are recognised when it is run again.

use arbiter_core::model::{
    AuditAction, Digest, Json, Operation, PrincipalId, RecordDraft, TenantId, TenantScope,
};
use arbiter_core::ports::{
    DocumentContent, DocumentKey, DocumentWrite, Documents, Effects, IdSource, Precondition,
};
use serde_json::json;

use crate::exit::Failure;

const KIND: &str = "batch";

/// The label of a batch's tasks; its value is the name of the run.
pub(crate) const LABEL: &str = "arbiter.batch";

/// The run of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchRun {
    /// Its name: the same until the batch is started anew with `fresh`.
    pub(crate) name: String,
    /// The run that it replaces.
    pub(crate) replaces: Option<String>,
}

/// The present run of a batch; a new one the first time, and with `fresh`.
pub(crate) async fn identity(
    documents: &dyn Documents,
    ids: &dyn IdSource,
    principal: PrincipalId,
    tenant: TenantId,
    batch: Digest,
    fresh: bool,
) -> Result<BatchRun, Failure> {
    let key = DocumentKey {
        kind: KIND,
        tenant,
        id: batch.to_string(),
    };
    let found = documents
        .get(TenantScope::Tenant(tenant), std::slice::from_ref(&key))
        .await?;
    let known = found
        .into_iter()
        .flatten()
        .next()
        .and_then(|document| document.body.value()["run"].as_str().map(str::to_owned));
    let named = |run: String| format!("batch:{run}");
    if let (Some(run), false) = (&known, fresh) {
        return Ok(BatchRun {
            name: named(run.clone()),
            replaces: None,
        });
    }
    let run = ids.command().to_string();
    let write = DocumentWrite {
        key,
        precondition: Precondition::Any,
        content: Some(DocumentContent {
            body: Json::of(&json!({"version": 1, "run": run})),
            index: Vec::new(),
            expires_at: None,
        }),
    };
    let draft = RecordDraft {
        principal: Some(principal),
        operation: Some(Operation::TaskSubmit),
        actions: vec![AuditAction::DocumentWritten],
        detail: None,
    };
    documents
        .write(vec![write], Effects::of(draft))
        .await
        .map_err(|error| Failure::unavailable("the batch could not be noted", error))?;
    Ok(BatchRun {
        name: named(run),
        replaces: known.map(named),
    })
}
