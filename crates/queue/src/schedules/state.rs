//! How far a schedule has come: a document of its own, which the runner writes.

use arbiter_core::model::{PrincipalId, ScheduleId, TaskId, TenantId, Timestamp};
use arbiter_core::ports::{DocumentContent, DocumentWrite, Precondition, StoreError};
use serde::{Deserialize, Serialize};

use super::plan::Upcoming;
use super::record::{ScheduleProgress, bad};
use crate::records::{Shelf, VERSION};

/// What the document's kind is called in the store.
pub(crate) const KIND: &str = "schedule_state";
/// The declared value by which due schedules are found: the hour since 1970 in which something is to be done.
pub(super) const DUE_HOUR: &str = "due_hour";
const MICROS_OF_HOUR: i64 = 3_600_000_000;

/// The stored form, version 1.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    /// The next instant that nothing was decided about, and when it is due.
    next: Option<(i64, i64)>,
    /// Decided and not known to be submitted. Written before the first of them is submitted, so that whoever finds
    /// them knows of every task that may exist.
    pub(super) pending: Vec<i64>,
    /// As whom they are submitted.
    pending_as: Option<String>,
    /// When they are tried again.
    pub(super) retry_at: Option<i64>,
    last_at: Option<i64>,
    last_task: Option<String>,
    pub(super) skipped: u64,
    pub(super) failures: u32,
    pub(super) last_error: Option<String>,
}

impl State {
    pub(super) fn new(next: Option<Upcoming>) -> Self {
        let mut state = Self {
            version: VERSION,
            next: None,
            pending: Vec::new(),
            pending_as: None,
            retry_at: None,
            last_at: None,
            last_task: None,
            skipped: 0,
            failures: 0,
            last_error: None,
        };
        state.come_to(next);
        state
    }

    /// What comes next is this.
    pub(super) fn come_to(&mut self, next: Option<Upcoming>) {
        self.next = next.map(|next| (next.at.as_micros(), next.due.as_micros()));
    }

    /// Nothing is done until it is told what comes next.
    pub(super) fn halt(&mut self) {
        self.next = None;
        self.settle();
    }

    pub(super) fn next(&self) -> Option<Upcoming> {
        let (at, due) = self.next?;
        Some(Upcoming {
            at: Timestamp::from_micros(at),
            due: Timestamp::from_micros(due),
        })
    }

    /// When something is to be done.
    pub(super) fn due(&self) -> Option<Timestamp> {
        if self.pending.is_empty() {
            return self.next().map(|next| next.due);
        }
        self.retry_at.map(Timestamp::from_micros)
    }

    /// These instants are to be submitted as `principal`, from `now` on.
    pub(super) fn intend(&mut self, runs: &[Timestamp], principal: &str, now: Timestamp) {
        self.pending = runs.iter().map(|at| at.as_micros()).collect();
        self.pending_as = Some(principal.to_owned());
        self.retry_at = Some(now.as_micros());
    }

    /// Nothing waits any more.
    pub(super) fn settle(&mut self) {
        self.pending.clear();
        self.pending_as = None;
        self.retry_at = None;
    }

    /// Has another principal submit what is pending: it answers for the schedule from now on.
    pub(super) fn hand_over(&mut self, principal: &str) {
        if self.pending_as.is_some() {
            self.pending_as = Some(principal.to_owned());
        }
    }

    pub(super) fn pending_as(&self) -> Result<PrincipalId, StoreError> {
        let text = self.pending_as.as_deref().ok_or_else(|| bad("its principal"))?;
        text.parse().map_err(|_| bad("its principal"))
    }

    pub(super) fn last_task(&self) -> Result<Option<TaskId>, StoreError> {
        let text = self.last_task.as_deref();
        text.map(|text| text.parse().map_err(|_| bad("its last task")))
            .transpose()
    }

    /// A task was submitted for this instant.
    pub(super) fn submitted(&mut self, at: Timestamp, task: TaskId) {
        self.last_at = Some(at.as_micros());
        self.last_task = Some(task.to_string());
        self.failures = 0;
        self.last_error = None;
    }

    pub(super) fn failed(&mut self, code: &str) {
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(code.to_owned());
    }

    pub(super) fn progress(&self) -> Result<ScheduleProgress, StoreError> {
        Ok(ScheduleProgress {
            next: self.next(),
            waiting: self.pending.len(),
            last_at: self.last_at.map(Timestamp::from_micros),
            last_task: self.last_task()?,
            skipped: self.skipped,
            failures: self.failures,
            last_error: self.last_error.clone(),
        })
    }

    /// A write of it.
    pub(super) fn write(
        &self,
        states: &Shelf,
        tenant: TenantId,
        id: ScheduleId,
        precondition: Precondition,
    ) -> Result<DocumentWrite, StoreError> {
        let write = states.put(tenant, &id.to_string(), precondition, self)?;
        let due = self.due().map(|due| (DUE_HOUR, hour(due).to_string()));
        Ok(DocumentWrite {
            content: write.content.map(|content| DocumentContent {
                index: due.into_iter().collect(),
                ..content
            }),
            ..write
        })
    }
}

/// The hour since 1970 that a moment lies in.
pub(super) const fn hour(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(MICROS_OF_HOUR)
}
