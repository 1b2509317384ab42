//! Deleting a tenant: it is refused for good at once, and its data is erased in the background.

use arbiter_core::model::{
    AuditAction, Json, Operation, Principal, Record, RecordDraft, RecordOutcome, Resource, TenantId,
};
use arbiter_core::ports::{DocumentError, Effects, Precondition, StoreError};
use serde_json::json;

use super::record::{self, KIND, Tenant};
use super::service::Tenants;
use crate::records::{RecordError, corrupt, expected};

impl Tenants {
    /// Deletes a suspended tenant with everything of it: tasks, attempts, files, agents, principals, keys, schedules,
    /// hooks, the details of its audit records. From now on it is refused for good, and cannot be resumed; the data goes
    /// in the background. Deleting it again changes nothing.
    ///
    /// What stays is that it was there: its id, when and by whom it was deleted, and its audit records without their
    /// details. Backups that were taken before have the data yet.
    ///
    /// # Errors
    /// See [`RecordError`]; refused for a tenant that is not suspended, the principal's own and the deployment's.
    ///
    /// # Cancel safety
    /// It may be deleted although the future is dropped; a repeat finds it so.
    pub async fn delete(
        &self,
        principal: &Principal,
        id: TenantId,
        revision: Option<u64>,
        why: String,
    ) -> Result<Tenant, RecordError> {
        let operation = Operation::TenantDelete;
        self.permit(principal, operation, id).await?;
        let deleted = self.deleted(principal, id, revision, why).await;
        let resource = Resource::new(KIND, id.to_string());
        self.queue.told(principal, operation, resource, deleted).await
    }

    async fn deleted(
        &self,
        principal: &Principal,
        id: TenantId,
        revision: Option<u64>,
        why: String,
    ) -> Result<Tenant, RecordError> {
        let refused = |problem: &str| Err(RecordError::invalid("tenant", problem));
        let why = self.reason(why)?;
        let mut kept = self.load(id).await?;
        if kept.body.deleted.is_some() {
            return Ok(record::tenant(&kept)?);
        }
        let precondition = expected(revision, kept.revision)?;
        if id == principal.tenant {
            return refused("is the caller's own");
        }
        if id == self.settings.home || id == TenantId::SYSTEM {
            return refused("is the deployment's own");
        }
        if kept.body.suspended.is_none() {
            return refused("is not suspended; suspend it first, and look whether anybody misses it");
        }
        // Its name goes at once: what is written last is overwritten last.
        kept.body.delete(self.queue.ports.clock.now(), principal.id);
        let writes = vec![
            self.records.put(id, &kept.id, precondition, &kept.body)?,
            self.erasures.of_tenant(principal, id, why.clone())?,
        ];
        let detail = json!({"schema": "tenant/1", "change": "deleted", "reason": why});
        // The deleted tenant's own entries lose their details: who asks later why it is gone finds this one.
        self.queue.append(self.asked(principal, id, &detail)).await?;
        let draft = RecordDraft::by(principal.id, Operation::TenantDelete).with_detail(Json::of(&detail));
        self.records.documents.write(writes, Effects::of(draft)).await?;
        kept.revision += 1;
        self.board.refresh().await?;
        self.erasures.wake();
        Ok(record::tenant(&kept)?)
    }

    /// The record of a deletion in the tenant of who asks for it.
    fn asked(&self, principal: &Principal, id: TenantId, detail: &serde_json::Value) -> Record {
        Record {
            at: self.queue.ports.clock.now(),
            tenant: principal.tenant,
            principal: Some(principal.id),
            operation: Some(Operation::TenantDelete),
            actions: vec![AuditAction::Erased],
            resource: Resource::new(KIND, id.to_string()),
            outcome: RecordOutcome::Done,
            reason: None,
            count: None,
            detail: Some(Json::of(detail)),
        }
    }

    /// Notes that the data of a deleted tenant is erased.
    pub(crate) async fn erased(&self, id: TenantId, draft: RecordDraft) -> Result<(), StoreError> {
        let Some(mut kept) = self.records.get::<record::Body>(id, &id.to_string()).await? else {
            return Ok(());
        };
        let now = self.queue.ports.clock.now();
        if let Some(deleted) = &mut kept.body.deleted {
            deleted.erased_at = Some(now.as_micros());
        }
        let precondition = Precondition::Revision(kept.revision);
        let write = self.records.put(id, &kept.id, precondition, &kept.body)?;
        let effects = Effects::of(RecordDraft {
            actions: vec![AuditAction::Erased],
            ..draft
        });
        match self.records.documents.write(vec![write], effects).await {
            Ok(_) => self.board.refresh().await,
            Err(DocumentError::Store(error)) => Err(error),
            // Somebody else has noted it.
            Err(error) => Err(corrupt(KIND, error)),
        }
    }
}
