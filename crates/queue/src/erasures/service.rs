//! Asking for an erasure, and how far it is.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{
    ErasureId, Json, Operation, Principal, PrincipalId, RecordDraft, RecordOutcome, Resource, TaskId,
    TenantId, TenantScope,
};
use arbiter_core::ports::{
    AuditQuery, DocumentError, DocumentWrite, Documents, Effects, Precondition, StoreError,
};
use serde_json::json;
use tokio::sync::Notify;

use super::record::{self, Body, Erasure, ErasureSubject, KIND};
use crate::error::QueueError;
use crate::principals::{Principals, covers};
use crate::records::{Kept, RecordError, Shelf};
use crate::service::SecureQueue;
use crate::validate;

/// So many pages of the log, of 20 000 entries each, are looked through for a task that is not stored any more.
const PAGES: usize = 50;

/// An erasure that a call asked for, or had been asked for before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requested {
    /// The erasure as it is now.
    pub erasure: Erasure,
    /// Whether the same one was going on already.
    pub repeated: bool,
}

/// Erasures of tasks and persons; those of tenants are asked for by [`Tenants::delete`](crate::tenants::Tenants::delete).
/// Each operation: authorise, limit, act, audit.
pub struct Erasures {
    queue: Arc<SecureQueue>,
    pub(super) records: Shelf,
    principals: Principals,
    pub(super) asked: Notify,
}

impl std::fmt::Debug for Erasures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Erasures").finish_non_exhaustive()
    }
}

impl Erasures {
    /// Erasures kept in `documents`; `queue` says who may do what, `principals` are those of the keys that are in use.
    pub fn new(queue: Arc<SecureQueue>, documents: &Arc<dyn Documents>, principals: Principals) -> Self {
        Self {
            queue,
            records: Shelf::new(documents, KIND),
            principals,
            asked: Notify::new(),
        }
    }

    /// Asks for an erasure. It goes on in the background; what of the subject is open is withdrawn, and a principal can do
    /// nothing from now on. Asked again while its record is kept, which is for 30 days after its end, the same one is given.
    ///
    /// # Errors
    /// See [`RecordError`]. What does not exist in the tenant is not found; nobody erases itself, or a principal that may
    /// do more than it may give itself.
    ///
    /// # Cancel safety
    /// The request may be stored although the future is dropped; a repeat finds it.
    pub async fn request(
        &self,
        by: &Principal,
        tenant: TenantId,
        subject: ErasureSubject,
        why: String,
    ) -> Result<Requested, RecordError> {
        let operation = Operation::TenantErase;
        self.queue.permit_in(by, operation, tenant).await?;
        let requested = self.requested(by, tenant, subject, why).await;
        let resource = Resource::new(subject.word(), subject.id().unwrap_or_default());
        self.queue.told(by, operation, resource, requested).await
    }

    async fn requested(
        &self,
        by: &Principal,
        tenant: TenantId,
        subject: ErasureSubject,
        why: String,
    ) -> Result<Requested, RecordError> {
        validate::reason(&self.queue.settings.fields, &why)?;
        let id = record::id_of(tenant, subject).to_string();
        if let Some(known) = self.known(tenant, &id).await? {
            return Ok(known);
        }
        let mut writes = Vec::new();
        match subject {
            ErasureSubject::Tenant => {
                return Err(RecordError::invalid("subject", "is a tenant; delete the tenant"));
            }
            ErasureSubject::Task(task) => self.must_exist(tenant, task).await?,
            ErasureSubject::Principal(id) => writes.push(self.disabled(by, tenant, id).await?),
        }
        let ports = &self.queue.ports;
        let why = self.queue.content.reason(why);
        let body = Body::new(subject, why.clone(), by.id, ports.clock.now());
        writes.insert(0, body.write(&self.records, tenant, &id, Precondition::Absent)?);
        let detail = json!({"schema": "erasure/1", "subject": body.subject, "reason": why});
        let draft = RecordDraft::by(by.id, Operation::TenantErase).with_detail(Json::of(&detail));
        let _forgotten = self.principals.known().forgetting();
        let written = self.records.documents.write(writes, Effects::of(draft)).await;
        match written {
            // The same call, twice at once.
            Err(DocumentError::Precondition { key, .. }) if key.kind == KIND => {
                return self.known(tenant, &id).await?.ok_or(RecordError::NOT_FOUND);
            }
            // Somebody changed the principal in between.
            Err(DocumentError::Precondition { .. }) => {
                return Err(RecordError::Queue(QueueError::Unavailable {
                    retry_after: Duration::from_millis(100),
                    source: "the principal was changed at the same time".into(),
                }));
            }
            written => written?,
        };
        self.wake();
        let kept = Kept {
            tenant,
            id,
            body,
            revision: 1,
        };
        Ok(Requested {
            erasure: record::erasure(&kept)?,
            repeated: false,
        })
    }

    /// The write that asks for the erasure of a tenant.
    pub(crate) fn of_tenant(
        &self,
        by: &Principal,
        tenant: TenantId,
        why: String,
    ) -> Result<DocumentWrite, StoreError> {
        let ports = &self.queue.ports;
        let id = record::id_of(tenant, ErasureSubject::Tenant).to_string();
        let body = Body::new(ErasureSubject::Tenant, why, by.id, ports.clock.now());
        body.write(&self.records, tenant, &id, Precondition::Absent)
    }

    /// Tells the eraser that something was asked for.
    pub(crate) fn wake(&self) {
        self.asked.notify_one();
    }

    /// The erasure that was asked for before.
    async fn known(&self, tenant: TenantId, id: &str) -> Result<Option<Requested>, StoreError> {
        let found = self.records.get::<Body>(tenant, id).await?;
        let erasure = found.as_ref().map(record::erasure).transpose()?;
        Ok(erasure.map(|erasure| Requested {
            erasure,
            repeated: true,
        }))
    }

    /// Whether the task is there, or was: what the log tells of a purged one can be erased as well.
    async fn must_exist(&self, tenant: TenantId, task: TaskId) -> Result<(), RecordError> {
        let scope = TenantScope::Tenant(tenant);
        let ports = &self.queue.ports;
        let found = ports.reader.get(scope, &[task]).await?;
        if found.into_iter().flatten().next().is_some() {
            return Ok(());
        }
        let mut query = AuditQuery {
            resource: Some(task.to_string()),
            outcome: Some(RecordOutcome::Done.word().to_owned()),
            limit: 1_000,
            ..AuditQuery::default()
        };
        for _ in 0..PAGES {
            let page = ports.audit.search(scope, query.clone()).await?;
            if !page.entries.is_empty() {
                return Ok(());
            }
            query.before = page.next;
            if page.next.is_none() {
                break;
            }
        }
        Err(RecordError::NOT_FOUND)
    }

    /// The write that keeps a principal from doing anything more.
    async fn disabled(
        &self,
        by: &Principal,
        tenant: TenantId,
        id: PrincipalId,
    ) -> Result<DocumentWrite, RecordError> {
        let found = self.principals.find(tenant, id).await?;
        let mut known = found.ok_or(RecordError::NOT_FOUND)?;
        if by.id == id {
            return Err(RecordError::invalid("subject", "is the caller itself"));
        }
        if !covers(by, &known.principal) {
            return Err(QueueError::Forbidden.into());
        }
        let now = self.queue.ports.clock.now();
        known.disabled_at = known.disabled_at.or(Some(now));
        Ok(self.principals.write_of(&known)?)
    }

    /// A page of the erasures in a tenant that go on or were finished in the last 30 days, by id, after `after`. It is
    /// the last page when it has less than `limit`.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn list(
        &self,
        by: &Principal,
        tenant: TenantId,
        after: Option<ErasureId>,
        limit: usize,
    ) -> Result<Vec<Erasure>, RecordError> {
        self.queue.permit_in(by, Operation::TenantErase, tenant).await?;
        if !(1..=1_000).contains(&limit) {
            return Err(RecordError::invalid("limit", "must lie in 1..=1000"));
        }
        let after = after.map(|id| (tenant, id.to_string()));
        let scope = TenantScope::Tenant(tenant);
        let found = self.records.list::<Body>(scope, None, after, limit).await?;
        Ok(found.iter().map(record::erasure).collect::<Result<_, _>>()?)
    }

    /// One erasure.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn get(&self, by: &Principal, tenant: TenantId, id: ErasureId) -> Result<Erasure, RecordError> {
        self.queue.permit_in(by, Operation::TenantErase, tenant).await?;
        let found = self.records.get::<Body>(tenant, &id.to_string()).await?;
        let kept = found.ok_or(RecordError::NOT_FOUND)?;
        Ok(record::erasure(&kept)?)
    }
}
