//! Reading tasks, under the same rights as everything else.

use arbiter_core::model::{
    AuditAction, Json, Operation, Principal, RecordOutcome, Resource, StoredTask, Target, TaskId, TenantId,
    TenantScope,
};
use arbiter_core::ports::{AuditPage, AuditQuery, Tally, TaskHistory, TaskPage, TaskQuery};
use serde_json::json;

use crate::error::QueueError;
use crate::operate::target_of;
use crate::service::SecureQueue;
use crate::validate;

impl SecureQueue {
    /// A task. Denied looks like absent.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn get(&self, principal: &Principal, task: TaskId) -> Result<StoredTask, QueueError> {
        self.visible(principal, Operation::TaskGet, task).await
    }

    /// A task that the principal may follow. Denied looks like absent.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn watch(&self, principal: &Principal, task: TaskId) -> Result<StoredTask, QueueError> {
        self.visible(principal, Operation::TaskWatch, task).await
    }

    /// The finished attempts and stage reports of a task.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn history(&self, principal: &Principal, task: TaskId) -> Result<TaskHistory, QueueError> {
        let stored = self.visible(principal, Operation::TaskGet, task).await?;
        Ok(self
            .ports
            .reader
            .history(TenantScope::Tenant(stored.task.tenant), task)
            .await?)
    }

    /// What was done to a task, newest first: the entries of the audit log about it. Refused calls changed nothing and
    /// are left out. A page may be short, or empty, and still carry a cursor.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn events(
        &self,
        principal: &Principal,
        task: TaskId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<AuditPage, QueueError> {
        let stored = self.visible(principal, Operation::TaskGet, task).await?;
        let query = AuditQuery {
            resource: Some(task.to_string()),
            outcome: Some(RecordOutcome::Done.word().to_owned()),
            before,
            limit,
            ..AuditQuery::default()
        };
        let scope = TenantScope::Tenant(stored.task.tenant);
        Ok(self.ports.audit.search(scope, query).await?)
    }

    /// A page of the tasks that the principal may see. A page may be short, or empty, and still carry a cursor.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn list(&self, principal: &Principal, query: TaskQuery) -> Result<TaskPage, QueueError> {
        if !(1..=1_000).contains(&query.limit) {
            return Err(QueueError::invalid("limit", "must lie in 1..=1000"));
        }
        let target = Target {
            submitter: Some(principal.id),
            ..Target::of(principal.tenant)
        };
        self.guard(principal, Operation::TaskList, &target).await?;
        let mut page = self.ports.reader.list(Self::scope(principal), query).await?;
        let mut seen = Vec::with_capacity(page.tasks.len());
        for stored in page.tasks {
            if self.allows(principal, Operation::TaskGet, &target_of(&stored))? {
                seen.push(stored);
            }
        }
        page.tasks = seen;
        Ok(page)
    }

    /// How many tasks of the principal's tenant stand where: for those who may list all of them, because the counts
    /// tell of tasks of others.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn tally(&self, principal: &Principal) -> Result<Tally, QueueError> {
        let target = Target::of(principal.tenant);
        self.guard(principal, Operation::TaskList, &target).await?;
        Ok(self.ports.reader.tally(principal.tenant).await?)
    }
}

impl SecureQueue {
    /// Removes the detail of an entry of the audit log, which belongs to `tenant`. The entry itself and every proof stay
    /// as they are. Gives false when it has no detail (any more).
    ///
    /// # Errors
    /// See [`QueueError`].
    ///
    /// # Cancel safety
    /// It may be removed although the future is dropped; a repeat gives false then.
    pub async fn redact_entry(
        &self,
        principal: &Principal,
        tenant: TenantId,
        index: u64,
        why: String,
    ) -> Result<bool, QueueError> {
        let operation = Operation::AuditRedact;
        self.guard(principal, operation, &Target::of(tenant)).await?;
        if let Err(error) = validate::reason(&self.settings.fields, &why) {
            let mut record = self.refusal(principal, operation, AuditAction::Rejected, error.code());
            record.resource = Resource::new("audit_entry", index.to_string());
            self.append(record).await?;
            return Err(error);
        }
        let why = self.content.reason(why);
        let detail = Json::of(&json!({"schema": "reason/1", "reason": why}));
        let draft = Self::draft(principal, operation).with_detail(detail);
        Ok(self.ports.audit.redact(index, tenant, draft).await?)
    }

    /// Authorises and limits an operation on the principal's own tenant that another service carries out, such as the
    /// management of keys or reading the audit log.
    ///
    /// # Errors
    /// See [`QueueError`]; a refusal is audited.
    pub async fn permit(&self, principal: &Principal, operation: Operation) -> Result<(), QueueError> {
        self.guard(principal, operation, &Target::of(principal.tenant))
            .await
    }
}
