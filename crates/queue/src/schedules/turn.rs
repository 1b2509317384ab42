//! One schedule's turn: what has come is decided, written down, submitted, and written down again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::{Backoff, keyed_jitter};
use arbiter_core::model::{
    Json, Operation, Principal, RecordDraft, ScheduleId, TaskId, TenantId, TenantScope, Timestamp,
};
use arbiter_core::ports::{DocumentError, DocumentWrite, Effects, Precondition, StoreError};
use serde_json::json;

use super::record::{Body, Overlap, Paused, PausedBody, bad};
use super::service::Schedules;
use super::state::State;
use super::terms::{LABEL_INSTANT, LABEL_SCHEDULE};
use crate::error::QueueError;
use crate::principals::Principals;
use crate::records::Kept;
use crate::submission::Submission;

/// The wait between tries while the queue takes nothing.
const BACKOFF: Backoff = Backoff {
    base: Duration::from_secs(1),
    factor: 2,
    cap: Duration::from_mins(1),
};

/// How a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// What is to be done next is due then; none means nothing, until somebody changes the schedule.
    Until(Option<Timestamp>),
    /// Somebody changed the schedule meanwhile: look again.
    Overtaken,
}

/// A schedule in hand.
pub(super) struct Turn<'a> {
    schedules: &'a Schedules,
    principals: &'a Principals,
    tenant: TenantId,
    id: ScheduleId,
    kept: Kept<Body>,
    state: State,
    /// The revision of the state as it is stored.
    revision: u64,
    submitted: usize,
}

impl<'a> Turn<'a> {
    /// Takes a schedule in hand. None means that it is gone, or that nothing of it is due.
    pub(super) async fn begin(
        schedules: &'a Schedules,
        principals: &'a Principals,
        tenant: TenantId,
        id: ScheduleId,
    ) -> Result<Option<Self>, StoreError> {
        let text = id.to_string();
        let kept = schedules.records.get::<Body>(tenant, &text).await?;
        let state = schedules.states.get::<State>(tenant, &text).await?;
        let (Some(kept), Some(state)) = (kept, state) else {
            return Ok(None);
        };
        let now = schedules.queue.ports.clock.now();
        let is_due = state.body.due().is_some_and(|due| due <= now);
        if !is_due || kept.body.paused.is_some() {
            return Ok(None);
        }
        Ok(Some(Self {
            schedules,
            principals,
            tenant,
            id,
            kept,
            state: state.body,
            revision: state.revision,
            submitted: 0,
        }))
    }

    /// How many tasks the turn submitted.
    pub(super) const fn submitted(&self) -> usize {
        self.submitted
    }

    /// Does what is due.
    ///
    /// # Cancel safety
    /// Safe: what was decided is written down before the first task is submitted, and each instant has its own
    /// idempotency key, so that the next turn submits no second task for it.
    pub(super) async fn take(&mut self) -> Result<Ended, StoreError> {
        let now = self.schedules.queue.ports.clock.now();
        if self.state.pending.is_empty() {
            self.decide(now)?;
            if !self.write().await? {
                return Ok(Ended::Overtaken);
            }
            if self.state.pending.is_empty() {
                return Ok(Ended::Until(self.state.due()));
            }
        }
        let actor = self.state.pending_as()?;
        let known = match self.principals.find(self.tenant, actor).await? {
            Some(known) if known.disabled_at.is_none() => known,
            Some(_) => return self.pause(Paused::PRINCIPAL_DISABLED, now).await,
            None => return self.pause(Paused::PRINCIPAL_GONE, now).await,
        };
        self.submit(&known.principal).await?;
        if self.write().await? {
            Ok(Ended::Until(self.state.due()))
        } else {
            Ok(Ended::Overtaken)
        }
    }

    /// Decides what is to be submitted, and what comes next.
    fn decide(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let Some(next) = self.state.next() else {
            return Ok(());
        };
        let timing = self
            .schedules
            .timing(self.id, &self.kept.body.terms)
            .map_err(|_| bad("its time"))?;
        let decision = timing.decide(next.at, now);
        self.state.come_to(decision.next);
        self.skipped("missed", decision.missed);
        if !decision.runs.is_empty() {
            self.state.intend(&decision.runs, &self.kept.body.acts_as, now);
        }
        Ok(())
    }

    fn skipped(&mut self, reason: &'static str, count: u64) {
        if count == 0 {
            return;
        }
        self.state.skipped = self.state.skipped.saturating_add(count);
        self.schedules
            .queue
            .ports
            .metrics
            .count("schedules.skipped_total", &[("reason", reason)], count);
        tracing::info!(
            event = "schedule_skipped", schedule.id = %self.id, reason, count, "instants of a schedule were passed over"
        );
    }

    /// Submits what was decided, as far as the queue takes it.
    async fn submit(&mut self, actor: &Principal) -> Result<(), StoreError> {
        let overlap = self.kept.body.terms.overlap();
        let overlap = overlap.ok_or_else(|| bad("its way with overlaps"))?;
        let spec = self.kept.body.terms.task(self.schedules.codec.as_ref())?;
        let mut pending = VecDeque::from(std::mem::take(&mut self.state.pending));
        while let Some(micros) = pending.pop_front() {
            let at = Timestamp::from_micros(micros);
            if overlap == Overlap::Skip && self.is_open(self.state.last_task()?).await? {
                self.skipped("overlap", 1);
                continue;
            }
            let mut spec = spec.clone();
            spec.labels.insert(LABEL_SCHEDULE.to_owned(), self.id.to_string());
            spec.labels.insert(LABEL_INSTANT.to_owned(), at.to_string());
            let submission = Submission {
                idempotency_key: Some(format!("schedule/{}/{at}", self.id)),
                ..Submission::new(spec)
            };
            let answer = self.schedules.queue.submit(actor, submission).await;
            if let Some(wait) = self.note(at, answer) {
                pending.push_front(micros);
                self.state.pending = pending.into();
                let now = self.schedules.queue.ports.clock.now();
                self.state.retry_at = Some(now.plus(wait).as_micros());
                return Ok(());
            }
        }
        self.state.settle();
        Ok(())
    }

    /// Notes what became of a submit. Gives how long to wait before it is tried again, if it is.
    fn note(&mut self, at: Timestamp, answer: Result<crate::Accepted, QueueError>) -> Option<Duration> {
        let (outcome, wait) = match answer {
            Ok(accepted) => {
                self.submitted_for(at, accepted.task, accepted.repeated);
                return None;
            }
            // A turn that was broken off had submitted it, before the task of the schedule was changed.
            Err(QueueError::IdempotencyConflict { task }) => {
                self.submitted_for(at, task, true);
                return None;
            }
            Err(error) => {
                self.state.failed(error.code());
                let wait = self.wait_after(&error);
                tracing::warn!(
                    event = "schedule_run_failed", schedule.id = %self.id, instant = %at, code = error.code(),
                    retried = wait.is_some(), "the task of a schedule could not be submitted"
                );
                (if wait.is_some() { "deferred" } else { "refused" }, wait)
            }
        };
        self.count(outcome);
        wait
    }

    fn submitted_for(&mut self, at: Timestamp, task: TaskId, repeated: bool) {
        self.state.submitted(at, task);
        self.submitted += 1;
        self.count(if repeated { "repeated" } else { "submitted" });
        let now = self.schedules.queue.ports.clock.now();
        let late = now.since(at).as_secs_f64();
        let metrics = &self.schedules.queue.ports.metrics;
        metrics.observe("schedules.delay_seconds", &[], late);
        tracing::info!(
            event = "schedule_ran", schedule.id = %self.id, task.id = %task, instant = %at, repeated,
            "the task of a schedule was submitted"
        );
    }

    fn count(&self, outcome: &'static str) {
        let metrics = &self.schedules.queue.ports.metrics;
        metrics.count("schedules.runs_total", &[("outcome", outcome)], 1);
    }

    /// What passes by itself is waited for; every other refusal would be the same again.
    fn wait_after(&self, error: &QueueError) -> Option<Duration> {
        let asked = match error {
            QueueError::RateLimited { retry_after } | QueueError::Unavailable { retry_after, .. } => {
                *retry_after
            }
            QueueError::BacklogFull { .. } => BACKOFF.base,
            _ => return None,
        };
        let random = keyed_jitter(self.id.as_bytes(), self.state.failures);
        let ceiling = BACKOFF.ceiling(self.state.failures);
        let wait = ceiling / 2 + BACKOFF.delay(self.state.failures, random) / 2;
        Some(wait.max(asked))
    }

    async fn is_open(&self, task: Option<TaskId>) -> Result<bool, StoreError> {
        let Some(task) = task else {
            return Ok(false);
        };
        let reader = Arc::clone(&self.schedules.queue.ports.reader);
        let found = reader.get(TenantScope::Tenant(self.tenant), &[task]).await?;
        let found = found.into_iter().flatten().next();
        Ok(found.is_some_and(|stored| !stored.task.state.is_closed()))
    }

    /// Pauses the schedule, on record.
    async fn pause(&mut self, reason: &'static str, now: Timestamp) -> Result<Ended, StoreError> {
        self.kept.body.paused = Some(PausedBody {
            reason: reason.to_owned(),
            note: None,
            by: None,
            at: now.as_micros(),
        });
        self.state.halt();
        let records = &self.schedules.records;
        let as_read = Precondition::Revision(self.kept.revision);
        let writes = vec![
            records.put(self.tenant, &self.kept.id, as_read, &self.kept.body)?,
            self.state_write()?,
        ];
        let detail = json!({"schema": "schedule_paused/1", "reason": reason});
        let draft = RecordDraft {
            operation: Some(Operation::ScheduleUpdate),
            detail: Some(Json::of(&detail)),
            ..RecordDraft::default()
        };
        if !self.stored(writes, Effects::of(draft)).await? {
            return Ok(Ended::Overtaken);
        }
        let metrics = &self.schedules.queue.ports.metrics;
        metrics.count("schedules.paused_total", &[("reason", reason)], 1);
        tracing::warn!(event = "schedule_paused", schedule.id = %self.id, reason, "a schedule was paused");
        Ok(Ended::Until(None))
    }

    fn state_write(&self) -> Result<DocumentWrite, StoreError> {
        let as_read = Precondition::Revision(self.revision);
        self.state
            .write(&self.schedules.states, self.tenant, self.id, as_read)
    }

    /// Stores the state. Gives false when somebody else changed it.
    async fn write(&mut self) -> Result<bool, StoreError> {
        let write = self.state_write()?;
        let stored = self.stored(vec![write], Effects::default()).await?;
        self.revision += 1;
        Ok(stored)
    }

    async fn stored(&self, writes: Vec<DocumentWrite>, effects: Effects) -> Result<bool, StoreError> {
        match self.schedules.states.documents.write(writes, effects).await {
            Ok(_) => Ok(true),
            Err(DocumentError::Precondition { .. }) => Ok(false),
            Err(DocumentError::Store(error)) => Err(error),
            Err(_) => Err(bad("what became of a write")),
        }
    }
}
