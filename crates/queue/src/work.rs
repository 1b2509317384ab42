//! The agents' side of the queue.

use arbiter_core::lifecycle::{Command, Expect, RetryPlan};
use arbiter_core::model::{
    AgentId, AuditAction, Failure, Holder, Operation, Principal, RecordDraft, Report, Target, Task, TenantId,
    TenantScope,
};
use arbiter_core::ports::{Effects, Hint, LeaseRef, LeaseStatus, Transition};
use arbiter_core::services::{AttemptFailure, Beat, WorkDesk, WorkError, WorkRef};
use async_trait::async_trait;

use crate::error::QueueError;
use crate::service::SecureQueue;
use crate::validate;

#[async_trait]
impl WorkDesk for SecureQueue {
    async fn may_claim(&self, agent: &Principal) -> Result<(), WorkError> {
        let id = agent_of(agent)?;
        let target = Target {
            agent: Some(id),
            ..Target::of(agent.tenant)
        };
        Ok(self.guard(agent, Operation::WorkClaim, &target).await?)
    }

    async fn acknowledge(&self, agent: &Principal, work: WorkRef) -> Result<Task, WorkError> {
        Ok(self
            .move_attempt(
                agent,
                Operation::WorkAcknowledge,
                work,
                Command::Acknowledge,
                Vec::new(),
            )
            .await?)
    }

    async fn heartbeat(&self, agent: &Principal, items: Vec<Beat>) -> Result<Vec<LeaseStatus>, WorkError> {
        let id = agent_of(agent)?;
        let Some(first) = items.first() else {
            return Ok(Vec::new());
        };
        self.guard(agent, Operation::WorkHeartbeat, &held(first.tenant, id))
            .await?;
        let mut leases = Vec::with_capacity(items.len());
        for mut beat in items.clone() {
            if beat.tenant != first.tenant {
                self.authorize(agent, Operation::WorkHeartbeat, &held(beat.tenant, id))
                    .await?;
            }
            if let Some(progress) = &mut beat.progress {
                at_most_chars(&mut progress.message, self.settings.fields.message_chars);
                self.content.progress(progress);
            }
            leases.push(LeaseRef {
                task: beat.task,
                tenant: beat.tenant,
                fence: beat.fence,
                holder: Holder::Agent(id),
                progress: beat.progress,
                usage: beat.usage,
            });
        }
        let mut statuses = self.ports.store.extend(leases).await?;
        self.ports
            .metrics
            .count("queue.heartbeats_total", &[], statuses.len() as u64);
        for (beat, status) in items.iter().zip(&mut statuses) {
            if let LeaseStatus::OverBudget { part } = *status {
                *status = self.exceed(agent, id, beat, part).await?;
            }
        }
        Ok(statuses)
    }

    async fn report(&self, agent: &Principal, work: WorkRef, mut report: Report) -> Result<Task, WorkError> {
        if let Err(error) = validate::report(&self.settings.fields, &report) {
            self.append(self.refusal(agent, Operation::WorkReport, AuditAction::Rejected, error.code()))
                .await?;
            return Err(error.into());
        }
        let noted = self.content.report(&mut report);
        let actions = if noted.is_empty() {
            Vec::new()
        } else {
            vec![AuditAction::Sanitized]
        };
        let command = Command::Report(Box::new(report));
        let task = self
            .move_attempt(agent, Operation::WorkReport, work, command, actions)
            .await?;
        self.ports
            .metrics
            .count("queue.reports_total", &[("state", task.state.name().word())], 1);
        Ok(task)
    }

    async fn fail(&self, agent: &Principal, work: WorkRef, mut failure: Failure) -> Result<Task, WorkError> {
        if let Err(error) = validate::failure(&self.settings.fields, &failure) {
            self.append(self.refusal(agent, Operation::WorkFail, AuditAction::Rejected, error.code()))
                .await?;
            return Err(error.into());
        }
        let noted = self.content.failure(&mut failure);
        let plan = self.plan(agent, work, &failure).await?;
        let actions = if noted.is_empty() {
            Vec::new()
        } else {
            vec![AuditAction::Sanitized]
        };
        self.ports.metrics.count(
            "queue.failed_attempts_total",
            &[("class", failure.class.word())],
            1,
        );
        let command = Command::Fail { failure, plan };
        Ok(self
            .move_attempt(agent, Operation::WorkFail, work, command, actions)
            .await?)
    }

    async fn decline(&self, agent: &Principal, work: WorkRef, why: String) -> Result<Task, WorkError> {
        validate::reason(&self.settings.fields, &why)?;
        let why = self.content.reason(why);
        Ok(self
            .move_attempt(
                agent,
                Operation::WorkDecline,
                work,
                Command::Decline { why },
                Vec::new(),
            )
            .await?)
    }
}

impl SecureQueue {
    /// Applies a command to the attempt that the agent says it holds. The store checks that it does.
    async fn move_attempt(
        &self,
        agent: &Principal,
        operation: Operation,
        work: WorkRef,
        action: Command,
        actions: Vec<AuditAction>,
    ) -> Result<Task, QueueError> {
        let id = agent_of(agent)?;
        self.guard(
            agent,
            operation,
            &Target {
                task: Some(work.task),
                ..held(work.tenant, id)
            },
        )
        .await?;
        let record = RecordDraft {
            actions,
            ..Self::draft(agent, operation)
        };
        let transition = Transition {
            command: work.command,
            task: work.task,
            tenant: work.tenant,
            expect: Expect::Lease {
                fence: work.fence,
                holder: Holder::Agent(id),
            },
            action,
            effects: Effects::of(record),
        };
        let task = self.apply_one(transition).await?;
        if task.state.lease().is_none() {
            self.ports.wakeups.publish(&[Hint::Task(task.id), Hint::Agents]);
        }
        Ok(task)
    }

    /// Applies one transition.
    pub(crate) async fn apply_one(&self, transition: Transition) -> Result<Task, QueueError> {
        let answers = self.ports.store.apply(vec![transition]).await?;
        match answers.into_iter().next() {
            Some(answer) => Ok(answer?),
            None => Err(QueueError::Internal {
                operation: "a transition",
                source: "the store answered fewer transitions than it was given".into(),
            }),
        }
    }

    /// What follows the failure, by the failure domain.
    async fn plan(
        &self,
        agent: &Principal,
        work: WorkRef,
        failure: &Failure,
    ) -> Result<RetryPlan, QueueError> {
        let found = self
            .ports
            .reader
            .get(TenantScope::Tenant(work.tenant), &[work.task])
            .await?;
        let Some(stored) = found.into_iter().flatten().next() else {
            return Err(QueueError::NotFound);
        };
        Ok(self.ports.failures.plan(&AttemptFailure {
            task: work.task,
            tenant: work.tenant,
            agent: agent.agent,
            attempts: stored.task.attempts,
            max_attempts: stored.task.terms.max_attempts,
            failure,
        }))
    }

    /// Ends a task whose attempt used more than its budget.
    async fn exceed(
        &self,
        agent: &Principal,
        id: AgentId,
        beat: &Beat,
        part: &'static str,
    ) -> Result<LeaseStatus, QueueError> {
        let transition = Transition {
            command: self.ports.ids.command(),
            task: beat.task,
            tenant: beat.tenant,
            expect: Expect::Lease {
                fence: beat.fence,
                holder: Holder::Agent(id),
            },
            action: Command::Exceed {
                part: part.to_owned(),
                usage: beat.usage.unwrap_or_default(),
            },
            effects: Effects::of(Self::draft(agent, Operation::WorkHeartbeat)),
        };
        match self.apply_one(transition).await {
            Ok(_) => Ok(LeaseStatus::Cancelled),
            Err(QueueError::LeaseLost | QueueError::NotFound) => Ok(LeaseStatus::Lost),
            Err(error) => Err(error),
        }
    }
}

fn agent_of(principal: &Principal) -> Result<AgentId, QueueError> {
    principal.agent.ok_or(QueueError::Forbidden)
}

/// Work that the agent says it holds; whether it does is the store's to check.
fn held(tenant: TenantId, agent: AgentId) -> Target {
    Target {
        agent: Some(agent),
        holder: Some(agent),
        ..Target::of(tenant)
    }
}

fn at_most_chars(text: &mut String, limit: usize) {
    if let Some((end, _)) = text.char_indices().nth(limit) {
        text.truncate(end);
    }
}
