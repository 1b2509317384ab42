//! The agents' side of the queue.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::lifecycle::{Command, Expect, RetryPlan};
use arbiter_core::model::{
    AgentId, AuditAction, Failure, Holder, Json, Operation, Principal, Progress, Ratio, Record, RecordDraft,
    RecordOutcome, Report, Resource, SecurityLevel, Target, Task, TaskId, TenantId, TenantScope,
};
use arbiter_core::ports::{Effects, Hint, LeaseRef, LeaseStatus, Transition};
use arbiter_core::services::{AttemptFailure, Beat, WorkDesk, WorkError, WorkRef};
use async_trait::async_trait;
use serde_json::json;

use crate::content::Noted;
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
        let id = self.guard_work(agent, Operation::WorkAcknowledge, work).await?;
        let draft = Self::draft(agent, Operation::WorkAcknowledge);
        Ok(self.move_attempt(id, work, Command::Acknowledge, draft).await?)
    }

    async fn heartbeat(&self, agent: &Principal, items: Vec<Beat>) -> Result<Vec<LeaseStatus>, WorkError> {
        let id = agent_of(agent)?;
        if items.is_empty() {
            return Ok(Vec::new());
        }
        self.guard(agent, Operation::WorkHeartbeat, &held(agent.tenant, id))
            .await?;
        let allowed = self.tenants_of(agent, id, &items).await?;
        let (items, refused): (Vec<_>, Vec<_>) = items
            .into_iter()
            .enumerate()
            .partition(|(_, beat)| allowed.contains(&beat.tenant));
        let (places, items): (Vec<_>, Vec<_>) = items.into_iter().unzip();
        let statuses = self.keep(agent, id, &items).await?;
        let told = places.into_iter().zip(statuses);
        let refused = refused.iter().map(|(place, _)| (*place, LeaseStatus::Lost));
        let by_place: BTreeMap<usize, LeaseStatus> = told.chain(refused).collect();
        Ok(by_place.into_values().collect())
    }

    async fn report(&self, agent: &Principal, work: WorkRef, mut report: Report) -> Result<Task, WorkError> {
        let operation = Operation::WorkReport;
        let id = self.guard_work(agent, operation, work).await?;
        let noted =
            validate::report(&self.settings.fields, &report).and_then(|()| self.content.report(&mut report));
        let noted = self.checked(agent, operation, work.task, noted).await?;
        let draft = sanitized(Self::draft(agent, operation), &noted);
        let command = Command::Report(Box::new(report));
        let task = self.move_attempt(id, work, command, draft).await?;
        self.ports
            .metrics
            .count("queue.reports_total", &[("state", task.state.name().word())], 1);
        Ok(task)
    }

    async fn fail(&self, agent: &Principal, work: WorkRef, mut failure: Failure) -> Result<Task, WorkError> {
        let operation = Operation::WorkFail;
        let id = self.guard_work(agent, operation, work).await?;
        let form = validate::failure(&self.settings.fields, &failure);
        self.checked(agent, operation, work.task, form).await?;
        let noted = self.content.failure(&mut failure);
        let draft = sanitized(Self::draft(agent, operation), &noted);
        let plan = self.plan(agent, work, &failure).await?;
        let class = failure.class.word();
        let command = Command::Fail { failure, plan };
        let task = self.move_attempt(id, work, command, draft).await?;
        self.ports
            .metrics
            .count("queue.failed_attempts_total", &[("class", class)], 1);
        Ok(task)
    }

    async fn decline(&self, agent: &Principal, work: WorkRef, why: String) -> Result<Task, WorkError> {
        let operation = Operation::WorkDecline;
        let id = self.guard_work(agent, operation, work).await?;
        let form = validate::reason(&self.settings.fields, &why);
        self.checked(agent, operation, work.task, form).await?;
        let why = self.content.reason(why);
        let draft = Self::draft(agent, operation);
        Ok(self
            .move_attempt(id, work, Command::Decline { why }, draft)
            .await?)
    }
}

impl SecureQueue {
    /// Keeps one lease and tells progress. The answer is that of a heartbeat.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub async fn progress(&self, agent: &Principal, beat: Beat) -> Result<LeaseStatus, QueueError> {
        let id = agent_of(agent)?;
        let target = Target {
            task: Some(beat.task),
            ..held(beat.tenant, id)
        };
        self.guard(agent, Operation::WorkProgress, &target).await?;
        let told = self.keep(agent, id, std::slice::from_ref(&beat)).await?;
        Ok(told.first().copied().unwrap_or(LeaseStatus::Lost))
    }

    /// Extends leases that the agent may extend, and notes what is told with them. The answers stand in the order of
    /// the items.
    async fn keep(
        &self,
        agent: &Principal,
        id: AgentId,
        items: &[Beat],
    ) -> Result<Vec<LeaseStatus>, QueueError> {
        let mut leases = Vec::with_capacity(items.len());
        for beat in items {
            let mut progress = beat.progress.clone();
            if let Some(progress) = &mut progress {
                // Redacted before it is cut: a cut secret would no longer be recognised.
                self.content.progress(progress);
                at_most_chars(&mut progress.message, self.settings.fields.message_chars);
            }
            leases.push(LeaseRef {
                task: beat.task,
                tenant: beat.tenant,
                fence: beat.fence,
                holder: Holder::Agent(id),
                progress,
                usage: beat.usage,
                not_enforced: beat.not_enforced.clone(),
            });
        }
        let told: Vec<Option<Progress>> = leases.iter().map(|lease| lease.progress.clone()).collect();
        let mut statuses = self.ports.store.extend(leases).await?;
        self.ports
            .metrics
            .count("queue.heartbeats_total", &[], statuses.len() as u64);
        self.record_progress(agent, items, &statuses, told).await?;
        for (beat, status) in items.iter().zip(&mut statuses) {
            if let LeaseStatus::OverBudget { part } = *status {
                *status = self.exceed(agent, id, beat, part).await?;
            }
        }
        Ok(statuses)
    }

    /// Authorises and limits a call about an attempt that the agent says it holds. Nothing of the task was looked at
    /// yet: who may not do it learns nothing of it.
    async fn guard_work(
        &self,
        agent: &Principal,
        operation: Operation,
        work: WorkRef,
    ) -> Result<AgentId, QueueError> {
        let id = agent_of(agent)?;
        let target = Target {
            task: Some(work.task),
            ..held(work.tenant, id)
        };
        self.guard(agent, operation, &target).await?;
        Ok(id)
    }

    /// The tenants of the items in which the agent may keep leases.
    async fn tenants_of(
        &self,
        agent: &Principal,
        id: AgentId,
        items: &[Beat],
    ) -> Result<BTreeSet<TenantId>, QueueError> {
        let asked: BTreeSet<TenantId> = items.iter().map(|beat| beat.tenant).collect();
        let mut allowed = BTreeSet::from([agent.tenant]);
        for tenant in asked {
            let target = held(tenant, id);
            if tenant == agent.tenant {
                continue;
            }
            match self.authorize(agent, Operation::WorkHeartbeat, &target).await {
                Ok(()) => drop(allowed.insert(tenant)),
                // One item that may not be extended does not lose the others.
                Err(QueueError::Forbidden) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(allowed)
    }

    /// Keeps records of a sample of the progress messages that were taken. Heartbeats without one have none.
    async fn record_progress(
        &self,
        agent: &Principal,
        items: &[Beat],
        statuses: &[LeaseStatus],
        told: Vec<Option<Progress>>,
    ) -> Result<(), QueueError> {
        let every = self.settings.progress_sample;
        let taken: Vec<(&Beat, Progress)> = items
            .iter()
            .zip(statuses)
            .zip(told)
            .filter_map(|((beat, status), progress)| {
                let progress = progress.filter(|_| matches!(status, LeaseStatus::Held { .. }))?;
                self.progress
                    .takes(beat.task, beat.fence, every)
                    .then_some((beat, progress))
            })
            .collect();
        if taken.is_empty() {
            return Ok(());
        }
        let ids: Vec<TaskId> = taken.iter().map(|(beat, _)| beat.task).collect();
        let found = self.ports.reader.get(TenantScope::All, &ids).await?;
        let records = taken.iter().zip(found).map(|((beat, progress), stored)| {
            // What is told of a restricted task stays with the task; the log says that something was.
            let open = stored.is_some_and(|stored| stored.spec.security != SecurityLevel::Restricted);
            self.progressed(agent, beat, progress, open)
        });
        let records: Vec<Record> = records.collect();
        let batch = self.ports.ids.batch();
        Ok(self.ports.audit.append(batch, records).await?)
    }

    fn progressed(&self, agent: &Principal, beat: &Beat, progress: &Progress, open: bool) -> Record {
        let detail = json!({
            "schema": "progress/1",
            "fence": beat.fence.0,
            "fraction": progress.fraction.map(Ratio::get),
            "message": open.then_some(progress.message.as_str()),
        });
        Record {
            at: self.ports.clock.now(),
            tenant: beat.tenant,
            principal: Some(agent.id),
            operation: Some(Operation::WorkProgress),
            actions: vec![AuditAction::Progressed],
            resource: Resource::new("task", beat.task.to_string()),
            outcome: RecordOutcome::Done,
            reason: None,
            count: None,
            detail: Some(Json::of(&detail)),
        }
    }

    /// Applies a command to the attempt that the agent says it holds. The store checks that it does.
    async fn move_attempt(
        &self,
        agent: AgentId,
        work: WorkRef,
        action: Command,
        draft: RecordDraft,
    ) -> Result<Task, QueueError> {
        let transition = Transition {
            command: work.command,
            task: work.task,
            tenant: work.tenant,
            expect: Expect::Lease {
                fence: work.fence,
                holder: Holder::Agent(agent),
            },
            action,
            effects: Effects::of(draft),
        };
        let task = self.apply_one(transition).await.map_err(|error| match error {
            // Agents have no right to read: a task that does not exist looks like one that they do not hold.
            QueueError::NotFound => QueueError::LeaseLost,
            error => error,
        })?;
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
            // The store refuses the failure of a task that does not exist, and its refusal is audited.
            return Ok(RetryPlan::Retry { after: None });
        };
        Ok(self.ports.failures.plan(&AttemptFailure {
            task: work.task,
            tenant: work.tenant,
            kind: &stored.spec.kind,
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
            // An assignment that was never acknowledged cannot be over its budget: its agent stops, and it is given
            // back in time. The other items of the call go on.
            Err(QueueError::LeaseLost | QueueError::NotFound | QueueError::IllegalTransition(_)) => {
                Ok(LeaseStatus::Lost)
            }
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

/// The draft of what was handed in, saying whether secrets were removed from it.
fn sanitized(mut draft: RecordDraft, noted: &Noted) -> RecordDraft {
    if !noted.is_empty() {
        draft.actions.push(AuditAction::Sanitized);
        draft.detail = Some(noted.detail());
    }
    draft
}

fn at_most_chars(text: &mut String, limit: usize) {
    if let Some((end, _)) = text.char_indices().nth(limit) {
        text.truncate(end);
    }
}
