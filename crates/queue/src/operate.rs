//! Operations on tasks by submitters, reviewers and operators.

use arbiter_core::lifecycle::{Command, Expect, ReleaseDecision};
use arbiter_core::model::{Holder, Json, Operation, Principal, StoredTask, Target, Task, TaskId, Version};
use arbiter_core::ports::{Effects, Hint, Transition};
use serde_json::json;

use crate::error::QueueError;
use crate::service::SecureQueue;
use crate::validate;

impl SecureQueue {
    /// Withdraws a task. A running attempt is told on its next call; its late report is refused.
    ///
    /// # Errors
    /// See [`QueueError`]; [`QueueError::IllegalTransition`] when the task has ended.
    pub async fn cancel(
        &self,
        principal: &Principal,
        task: TaskId,
        expect: Option<Version>,
        why: String,
    ) -> Result<Task, QueueError> {
        self.operate(principal, Operation::TaskCancel, task, expect, why, |why| {
            Command::Cancel { why }
        })
        .await
    }

    /// Queues a failed task again: attempts start again, the fence goes on.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn retry(
        &self,
        principal: &Principal,
        task: TaskId,
        expect: Option<Version>,
        why: String,
    ) -> Result<Task, QueueError> {
        self.operate(principal, Operation::TaskRetry, task, expect, why, |why| {
            Command::Retry { why }
        })
        .await
    }

    /// Decides a held task.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn release(
        &self,
        principal: &Principal,
        task: TaskId,
        expect: Option<Version>,
        decision: ReleaseDecision,
        why: String,
    ) -> Result<Task, QueueError> {
        let command = |why| Command::Release { decision, why };
        self.operate(principal, Operation::TaskRelease, task, expect, why, command)
            .await
    }

    /// Gives a task up.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn dead_letter(
        &self,
        principal: &Principal,
        task: TaskId,
        expect: Option<Version>,
        why: String,
    ) -> Result<Task, QueueError> {
        self.operate(principal, Operation::TaskDeadLetter, task, expect, why, |why| {
            Command::DeadLetter { why }
        })
        .await
    }

    /// Queues a dead letter again: attempts start again, the fence goes on.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn requeue(
        &self,
        principal: &Principal,
        task: TaskId,
        expect: Option<Version>,
        why: String,
    ) -> Result<Task, QueueError> {
        self.operate(principal, Operation::TaskRequeue, task, expect, why, |why| {
            Command::Requeue { why }
        })
        .await
    }

    async fn operate(
        &self,
        principal: &Principal,
        operation: Operation,
        task: TaskId,
        expect: Option<Version>,
        why: String,
        command: impl FnOnce(String) -> Command + Send,
    ) -> Result<Task, QueueError> {
        let stored = self.visible(principal, operation, task).await?;
        let form = validate::reason(&self.settings.fields, &why);
        self.checked(principal, operation, task, form).await?;
        let why = self.content.reason(why);
        let detail = Json::of(&json!({"schema": "reason/1", "reason": why}));
        let transition = Transition {
            command: self.ports.ids.command(),
            task,
            tenant: stored.task.tenant,
            expect: expect.map_or(Expect::Any, Expect::Version),
            action: command(why),
            effects: Effects::of(Self::draft(principal, operation).with_detail(detail)),
        };
        let task = self.apply_one(transition).await?;
        self.ports.wakeups.publish(&[Hint::Task(task.id), Hint::Agents]);
        Ok(task)
    }

    /// Loads a task and authorises the operation on it. Who may not read the task is told that it does not exist; the
    /// audit log keeps the truth.
    pub(crate) async fn visible(
        &self,
        principal: &Principal,
        operation: Operation,
        task: TaskId,
    ) -> Result<StoredTask, QueueError> {
        let found = self.ports.reader.get(Self::scope(principal), &[task]).await?;
        let Some(stored) = found.into_iter().flatten().next() else {
            // The same path as for a task that exists: authorised, limited, audited.
            let target = Target {
                task: Some(task),
                ..Target::of(principal.tenant)
            };
            return match self.guard(principal, operation, &target).await {
                Ok(()) | Err(QueueError::Forbidden) => Err(QueueError::NotFound),
                Err(error) => Err(error),
            };
        };
        let target = target_of(&stored);
        match self.guard(principal, operation, &target).await {
            Ok(()) => Ok(stored),
            Err(QueueError::Forbidden) if !self.allows(principal, Operation::TaskGet, &target)? => {
                Err(QueueError::NotFound)
            }
            Err(error) => Err(error),
        }
    }
}

/// What policies may look at in a task.
pub(crate) fn target_of(stored: &StoredTask) -> Target {
    let holder = match stored.task.state.lease().map(|lease| lease.holder) {
        Some(Holder::Agent(agent)) => Some(agent),
        Some(Holder::Node(_)) | None => None,
    };
    Target {
        tenant: Some(stored.task.tenant),
        task: Some(stored.task.id),
        submitter: Some(stored.task.submitter),
        agent: None,
        holder,
        band: Some(stored.task.band()),
        security: Some(stored.spec.security),
    }
}
