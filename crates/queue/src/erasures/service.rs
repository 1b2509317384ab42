//! Asking for an erasure, and how far it is.

use std::sync::Arc;

use arbiter_core::model::{
    ErasureId, Json, Operation, Principal, PrincipalId, RecordDraft, Resource, TaskId, TenantId, TenantScope,
};
use arbiter_core::ports::{DocumentWrite, Documents, Effects, Precondition, StoreError};
use serde_json::json;
use tokio::sync::Notify;

use super::record::{self, Body, Erasure, ErasureSubject, KIND, SUBJECT};
use crate::error::QueueError;
use crate::principals::{Principals, covers};
use crate::records::{Kept, RecordError, Shelf};
use crate::service::SecureQueue;
use crate::validate;

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
    /// nothing from now on. Asked again while it goes on, the same one is given.
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
        if let Some(erasure) = self.going_on(tenant, subject).await? {
            return Ok(Requested {
                erasure,
                repeated: true,
            });
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
        let id = ports.ids.erasure().to_string();
        let why = self.queue.content.reason(why);
        let body = Body::new(subject, why.clone(), by.id, ports.clock.now());
        writes.insert(0, body.write(&self.records, tenant, &id, Precondition::Absent)?);
        let detail = json!({"schema": "erasure/1", "subject": body.subject, "reason": why});
        let draft = RecordDraft::by(by.id, Operation::TenantErase).with_detail(Json::of(&detail));
        let _forgotten = self.principals.known().forgetting();
        self.records.documents.write(writes, Effects::of(draft)).await?;
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
        let id = ports.ids.erasure().to_string();
        let body = Body::new(ErasureSubject::Tenant, why, by.id, ports.clock.now());
        body.write(&self.records, tenant, &id, Precondition::Absent)
    }

    /// Tells the eraser that something was asked for.
    pub(crate) fn wake(&self) {
        self.asked.notify_one();
    }

    /// The erasure of a subject that goes on.
    async fn going_on(
        &self,
        tenant: TenantId,
        subject: ErasureSubject,
    ) -> Result<Option<Erasure>, StoreError> {
        let index = Some((SUBJECT, subject.key()));
        let scope = TenantScope::Tenant(tenant);
        let found = self.records.list::<Body>(scope, index, None, 1).await?;
        found.first().map(record::erasure).transpose()
    }

    async fn must_exist(&self, tenant: TenantId, task: TaskId) -> Result<(), RecordError> {
        let scope = TenantScope::Tenant(tenant);
        let found = self.queue.ports.reader.get(scope, &[task]).await?;
        if found.into_iter().flatten().next().is_some() {
            Ok(())
        } else {
            Err(RecordError::NOT_FOUND)
        }
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
