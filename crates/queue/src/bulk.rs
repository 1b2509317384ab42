//! One operation on every task that a filter finds.

use std::collections::BTreeMap;
use std::time::Duration;

use arbiter_core::lifecycle::{Command, Expect};
use arbiter_core::model::{
    AuditAction, Json, Operation, Principal, Resource, StateName, StoredTask, Target, TaskId, TaskKind,
    TenantId, TenantScope, Timestamp,
};
use arbiter_core::ports::{Effects, Hint, Purge, Retention, TaskQuery, Transition};
use serde_json::json;

use crate::error::QueueError;
use crate::operate::target_of;
use crate::service::SecureQueue;
use crate::validate;

/// So many tasks are looked at in one call at most, so that a filter that finds little does not hold the store.
const LOOKED_AT: usize = 10_000;
/// So many transitions are applied together.
const BATCH: usize = 100;
/// A task with an idempotency key is found by a repeat of its submission at least so long.
const KEYS_HOLD: Duration = Duration::from_hours(24);
/// So many ids are told.
const SAMPLE: usize = 20;

/// Which tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BulkFilter {
    /// Of which tenant; the caller's own, when it is absent.
    pub tenant: Option<TenantId>,
    /// Only those in this state.
    pub state: Option<StateName>,
    /// Only those of this kind.
    pub kind: Option<TaskKind>,
    /// Only those with this label and value.
    pub label: Option<(String, String)>,
    /// Only those that were submitted before.
    pub submitted_before: Option<Timestamp>,
}

/// An operation on many tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkRequest {
    /// Which tasks.
    pub filter: BulkFilter,
    /// Only those after this one: where the call before stopped.
    pub after: Option<TaskId>,
    /// At most so many, 1–1000.
    pub limit: usize,
    /// Only says what would be done.
    pub dry_run: bool,
    /// Why.
    pub why: String,
}

/// What became of the tasks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BulkOutcome {
    /// How many tasks the filter found that the operation fits.
    pub matched: usize,
    /// For how many it was done; 0 for a dry run.
    pub done: usize,
    /// How many were refused, by the stable code.
    pub refused: BTreeMap<&'static str, usize>,
    /// The first 20 that the filter found.
    pub sample: Vec<TaskId>,
    /// Where to go on, if there may be more.
    pub next: Option<TaskId>,
}

impl SecureQueue {
    /// Withdraws every open task that a filter finds.
    ///
    /// # Errors
    /// See [`QueueError`]. After an error some tasks may be withdrawn; a repeat finds the rest.
    pub async fn cancel_many(
        &self,
        principal: &Principal,
        request: BulkRequest,
    ) -> Result<BulkOutcome, QueueError> {
        self.operate_many(principal, Operation::TaskCancelMany, request)
            .await
    }

    /// Queues every failed task and dead letter that a filter finds again.
    ///
    /// # Errors
    /// See [`QueueError`]. After an error some tasks may be queued; a repeat finds the rest.
    pub async fn requeue_many(
        &self,
        principal: &Principal,
        request: BulkRequest,
    ) -> Result<BulkOutcome, QueueError> {
        self.operate_many(principal, Operation::TaskRequeueMany, request)
            .await
    }

    /// Deletes every closed task that a filter finds, dead letters among them, with its input, attempts and outputs. Its
    /// audit records stay. Tasks that others wait for stay, those whose attempt holds a slot yet, and those that were
    /// submitted with an idempotency key in the last 24 hours: they are not counted as done, and a repeat finds them.
    ///
    /// # Errors
    /// See [`QueueError`]. After an error some tasks may be deleted; a repeat finds the rest.
    pub async fn purge_many(
        &self,
        principal: &Principal,
        request: BulkRequest,
    ) -> Result<BulkOutcome, QueueError> {
        self.operate_many(principal, Operation::TaskPurgeMany, request)
            .await
    }

    async fn operate_many(
        &self,
        principal: &Principal,
        operation: Operation,
        request: BulkRequest,
    ) -> Result<BulkOutcome, QueueError> {
        let tenant = request.filter.tenant.unwrap_or(principal.tenant);
        self.guard(principal, operation, &Target::of(tenant)).await?;
        if let Err(error) = self.check(&request) {
            let record = self.refusal(principal, operation, AuditAction::Rejected, error.code());
            self.append(record).await?;
            return Err(error);
        }
        let why = self.content.reason(request.why.clone());
        let (found, next) = self.find(operation, tenant, &request).await?;
        let mut outcome = BulkOutcome {
            next,
            ..BulkOutcome::default()
        };
        let mut permitted = Vec::new();
        for (stored, single) in found {
            let target = target_of(&stored);
            // What the principal may not see is not counted either.
            if !self.allows(principal, Operation::TaskGet, &target)? {
                continue;
            }
            outcome.matched += 1;
            if outcome.sample.len() < SAMPLE {
                outcome.sample.push(stored.task.id);
            }
            if self.allows(principal, single, &target)? {
                permitted.push((stored, single));
            } else {
                *outcome.refused.entry(QueueError::Forbidden.code()).or_default() += 1;
            }
        }
        if request.dry_run {
            return Ok(outcome);
        }
        self.tell_forbidden(principal, operation, &outcome).await?;
        if operation == Operation::TaskPurgeMany {
            let ids = permitted.iter().map(|(stored, _)| stored.task.id).collect();
            outcome.done = self.purge(principal, tenant, ids, &why).await?;
        } else {
            let transitions = permitted
                .iter()
                .map(|(stored, single)| self.transition(principal, operation, *single, stored, &why));
            let transitions = transitions.collect();
            self.apply_all(transitions, &mut outcome).await?;
        }
        Ok(outcome)
    }

    fn check(&self, request: &BulkRequest) -> Result<(), QueueError> {
        if !(1..=1_000).contains(&request.limit) {
            return Err(QueueError::invalid("limit", "must lie in 1..=1000"));
        }
        validate::reason(&self.settings.fields, &request.why)
    }

    /// The tasks that the filter finds and the operation fits, each with the operation on it alone, and where to go on.
    async fn find(
        &self,
        operation: Operation,
        tenant: TenantId,
        request: &BulkRequest,
    ) -> Result<(Vec<(StoredTask, Operation)>, Option<TaskId>), QueueError> {
        let filter = &request.filter;
        let (mut found, mut after, mut looked_at) = (Vec::new(), request.after, 0);
        loop {
            let query = TaskQuery {
                after,
                limit: request.limit - found.len(),
                state: filter.state,
                kind: filter.kind.clone(),
                label: filter.label.clone(),
            };
            looked_at += query.limit;
            let page = self.ports.reader.list(TenantScope::Tenant(tenant), query).await?;
            for stored in page.tasks {
                let is_late = filter
                    .submitted_before
                    .is_some_and(|before| stored.task.submitted_at >= before);
                if let (false, Some(single)) = (is_late, single(operation, stored.task.state.name())) {
                    found.push((stored, single));
                }
            }
            after = page.next;
            if after.is_none() || found.len() >= request.limit || looked_at >= LOOKED_AT {
                return Ok((found, after));
            }
        }
    }

    fn transition(
        &self,
        principal: &Principal,
        operation: Operation,
        single: Operation,
        stored: &StoredTask,
        why: &str,
    ) -> Transition {
        let why = why.to_owned();
        let detail = Json::of(&json!({"schema": "reason/1", "reason": why}));
        Transition {
            command: self.ports.ids.command(),
            task: stored.task.id,
            tenant: stored.task.tenant,
            // A task that has changed since may not be one that the filter finds.
            expect: Expect::Version(stored.task.version),
            action: match single {
                Operation::TaskRetry => Command::Retry { why },
                Operation::TaskRequeue => Command::Requeue { why },
                _ => Command::Cancel { why },
            },
            effects: Effects::of(Self::draft(principal, operation).with_detail(detail)),
        }
    }

    async fn purge(
        &self,
        principal: &Principal,
        tenant: TenantId,
        ids: Vec<TaskId>,
        why: &str,
    ) -> Result<usize, QueueError> {
        // The tasks' own entries stay: with this one the log tells what is there no more.
        let told: Vec<String> = ids.iter().map(ToString::to_string).collect();
        let detail = Json::of(&json!({"schema": "purge/1", "reason": why, "tasks": told}));
        let draft = Self::draft(principal, Operation::TaskPurgeMany).with_detail(detail);
        let retention = Retention {
            keyed_before: Some(self.ports.clock.now().minus(KEYS_HOLD)),
            limit: ids.len(),
            which: Purge::Tasks(tenant, ids),
            effects: Effects::of(draft),
        };
        Ok(self.ports.store.purge(retention).await?)
    }

    /// Puts on record how many tasks the policies refused.
    async fn tell_forbidden(
        &self,
        principal: &Principal,
        operation: Operation,
        outcome: &BulkOutcome,
    ) -> Result<(), QueueError> {
        let code = QueueError::Forbidden.code();
        let Some(count) = outcome.refused.get(code) else {
            return Ok(());
        };
        let mut record = self.refusal(principal, operation, AuditAction::AuthorizationFailed, code);
        record.resource = Resource::new("task", "");
        record.count = u64::try_from(*count).ok();
        self.append(record).await
    }

    async fn apply_all(
        &self,
        transitions: Vec<Transition>,
        outcome: &mut BulkOutcome,
    ) -> Result<(), QueueError> {
        let mut transitions = transitions.into_iter().peekable();
        while transitions.peek().is_some() {
            let batch: Vec<Transition> = transitions.by_ref().take(BATCH).collect();
            let mut hints = vec![Hint::Agents];
            for applied in self.ports.store.apply(batch).await? {
                match applied {
                    Ok(task) => {
                        outcome.done += 1;
                        hints.push(Hint::Task(task.id));
                    }
                    Err(refusal) => {
                        let code = QueueError::from(refusal).code();
                        *outcome.refused.entry(code).or_default() += 1;
                    }
                }
            }
            self.ports.wakeups.publish(&hints);
        }
        Ok(())
    }
}

/// The operation on one task in this state, if the operation on many fits it.
const fn single(operation: Operation, state: StateName) -> Option<Operation> {
    use StateName as S;
    match (operation, state) {
        (Operation::TaskCancelMany, S::Queued | S::Assigned | S::Running | S::Reviewing | S::Held) => {
            Some(Operation::TaskCancel)
        }
        (Operation::TaskPurgeMany, S::Succeeded | S::Failed | S::Cancelled | S::DeadLettered) => {
            Some(Operation::TaskPurgeMany)
        }
        (Operation::TaskRequeueMany, S::Failed) => Some(Operation::TaskRetry),
        (Operation::TaskRequeueMany, S::DeadLettered) => Some(Operation::TaskRequeue),
        _ => None,
    }
}
