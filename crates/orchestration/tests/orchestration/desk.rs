//! The agents' side of the queue without rights, limits and redaction: each call is one call of the store.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use arbiter_core::lifecycle::{Command, Expect};
use arbiter_core::model::{
    AgentId, Failure, Fence, Holder, Principal, RecordDraft, Report, Task, TaskId, TenantId, TenantScope,
    Timestamp, Usage,
};
use arbiter_core::ports::{
    Clock, Effects, Hint, IdSource, LeaseRef, LeaseStatus, TaskReader, TaskStore, Transition, Wakeups,
};
use arbiter_core::services::{AttemptFailure, Beat, FailureHandler, WorkDesk, WorkError, WorkRef};
use async_trait::async_trait;

use crate::watch::lock;

/// The desk, and what was brought to it.
pub(crate) struct PlainDesk {
    pub(crate) store: Arc<dyn TaskStore>,
    pub(crate) reader: Arc<dyn TaskReader>,
    pub(crate) failures: Arc<dyn FailureHandler>,
    pub(crate) wakeups: Arc<dyn Wakeups>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    /// Every heartbeat with its time.
    pub(crate) beats: Mutex<Vec<(Timestamp, Beat)>>,
    /// What the next hand-ins are refused with.
    pub(crate) refusals: Mutex<VecDeque<WorkError>>,
    /// Every hand-in: what it was and its command.
    pub(crate) calls: Mutex<Vec<(&'static str, WorkRef)>>,
}

impl PlainDesk {
    async fn hand_in(&self, agent: &Principal, work: WorkRef, action: Command) -> Result<Task, WorkError> {
        lock(&self.calls).push((action.word(), work));
        let refusal = lock(&self.refusals).pop_front();
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let expect = Expect::Lease {
            fence: work.fence,
            holder: holder(agent)?,
        };
        self.apply(work.command.into(), work.task, work.tenant, expect, action)
            .await
    }

    async fn apply(
        &self,
        command: Option<arbiter_core::model::CommandId>,
        task: TaskId,
        tenant: TenantId,
        expect: Expect,
        action: Command,
    ) -> Result<Task, WorkError> {
        let transition = Transition {
            command: command.unwrap_or_else(|| self.ids.command()),
            task,
            tenant,
            expect,
            action,
            effects: Effects::of(RecordDraft::default()),
        };
        let mut answers = self.store.apply(vec![transition]).await?;
        let task = answers.pop().expect("an answer for the transition")?;
        self.wakeups.publish(&[Hint::Task(task.id), Hint::Agents]);
        Ok(task)
    }

    async fn exceed(&self, beat: &Beat, holder: Holder, part: &str) -> Result<LeaseStatus, WorkError> {
        let action = Command::Exceed {
            part: part.to_owned(),
            usage: beat.usage.unwrap_or_default(),
        };
        let expect = Expect::Lease {
            fence: beat.fence,
            holder,
        };
        self.apply(None, beat.task, beat.tenant, expect, action).await?;
        Ok(LeaseStatus::Cancelled)
    }

    /// The heartbeats of an attempt, with their times.
    pub(crate) fn beats_of(&self, fence: Fence) -> Vec<Timestamp> {
        let beats = lock(&self.beats);
        let of_it = beats.iter().filter(|(_, beat)| beat.fence == fence);
        of_it.map(|(at, _)| *at).collect()
    }

    /// What was told of usage and progress, in order.
    pub(crate) fn told(&self) -> Vec<(Option<String>, Option<Usage>)> {
        let told = |(_, beat): &(Timestamp, Beat)| {
            let message = beat.progress.as_ref().map(|progress| progress.message.clone());
            (message, beat.usage)
        };
        lock(&self.beats).iter().map(told).collect()
    }
}

#[async_trait]
impl WorkDesk for PlainDesk {
    async fn may_claim(&self, _: &Principal) -> Result<(), WorkError> {
        Ok(())
    }

    async fn acknowledge(&self, agent: &Principal, work: WorkRef) -> Result<Task, WorkError> {
        self.hand_in(agent, work, Command::Acknowledge).await
    }

    async fn heartbeat(&self, agent: &Principal, items: Vec<Beat>) -> Result<Vec<LeaseStatus>, WorkError> {
        let holder = holder(agent)?;
        let now = self.clock.now();
        lock(&self.beats).extend(items.iter().map(|beat| (now, beat.clone())));
        let leases = items.iter().map(|beat| LeaseRef {
            task: beat.task,
            tenant: beat.tenant,
            fence: beat.fence,
            holder,
            progress: beat.progress.clone(),
            usage: beat.usage,
            not_enforced: beat.not_enforced.clone(),
        });
        let mut statuses = self.store.extend(leases.collect()).await?;
        for (beat, status) in items.iter().zip(&mut statuses) {
            if let LeaseStatus::OverBudget { part } = *status {
                *status = self.exceed(beat, holder, part).await?;
            }
        }
        Ok(statuses)
    }

    async fn report(&self, agent: &Principal, work: WorkRef, report: Report) -> Result<Task, WorkError> {
        self.hand_in(agent, work, Command::Report(Box::new(report))).await
    }

    async fn fail(&self, agent: &Principal, work: WorkRef, failure: Failure) -> Result<Task, WorkError> {
        let scope = TenantScope::Tenant(work.tenant);
        let found = self.reader.get(scope, &[work.task]).await?;
        let stored = found.into_iter().flatten().next().expect("the task exists");
        let task = &stored.task;
        let plan = self.failures.plan(&AttemptFailure {
            task: task.id,
            tenant: task.tenant,
            kind: &stored.spec.kind,
            agent: agent.agent,
            attempts: task.attempts,
            max_attempts: task.terms.max_attempts,
            failure: &failure,
        });
        self.hand_in(agent, work, Command::Fail { failure, plan }).await
    }

    async fn decline(&self, agent: &Principal, work: WorkRef, why: String) -> Result<Task, WorkError> {
        self.hand_in(agent, work, Command::Decline { why }).await
    }
}

fn holder(agent: &Principal) -> Result<Holder, WorkError> {
    let id: Option<AgentId> = agent.agent;
    id.map(Holder::Agent).ok_or(WorkError::Forbidden)
}
