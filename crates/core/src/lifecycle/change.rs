//! What a command changes, collected while it is worked out.

use super::{Call, Command, Refusal, make_ready, record};
use crate::model::{
    Attempt, AttemptEnd, AuditAction, DeadReason, FailReason, HoldReason, Json, Lease, Record, Release,
    Resume, StageReport, State, Task, Timestamp, Usage, Wait,
};
use crate::ports::Scope;

/// What a store must save, all or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The task after the command.
    pub next: Task,
    /// The attempt that ended, to be written once.
    pub ended: Option<Attempt>,
    /// The report of a review stage, to be written once.
    pub stage: Option<StageReport>,
    /// What is taken up and given back.
    pub loads: Vec<LoadDelta>,
    /// The audit record; none when the command made no transition (a repeat, or a slot given back).
    pub record: Option<Record>,
}

impl Change {
    pub(super) fn repeated(task: &Task) -> Self {
        Self {
            next: task.clone(),
            ended: None,
            stage: None,
            loads: Vec::new(),
            record: None,
        }
    }

    pub(super) fn submitted(task: Task, record: Record) -> Self {
        Self {
            next: task,
            ended: None,
            stage: None,
            loads: Vec::new(),
            record: Some(record),
        }
    }
}

/// A change of what is counted while leases are open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadDelta {
    /// What is counted.
    pub scope: Scope,
    /// +1 or −1.
    pub by: i32,
}

/// A change in the making.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) next: Task,
    pub(super) call: Call<'a>,
    ended: Option<Attempt>,
    stage: Option<StageReport>,
    loads: Vec<LoadDelta>,
    actions: Vec<AuditAction>,
    detail: Option<Json>,
    quiet: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(task: &Task, call: Call<'a>) -> Self {
        Self {
            next: task.clone(),
            call,
            ended: None,
            stage: None,
            loads: Vec::new(),
            actions: Vec::new(),
            detail: None,
            quiet: false,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.call.now
    }

    pub(super) fn illegal<T>(&self, command: &Command) -> Result<T, Refusal> {
        self.illegal_word(command.word())
    }

    pub(super) fn illegal_word<T>(&self, command: &'static str) -> Result<T, Refusal> {
        Err(Refusal::Illegal {
            from: self.next.state.name(),
            command,
        })
    }

    pub(super) fn act(&mut self, action: AuditAction) {
        self.actions.push(action);
    }

    pub(super) fn detail(&mut self, detail: Json) {
        self.detail = Some(detail);
    }

    pub(super) fn report(&mut self, stage: StageReport) {
        self.stage = Some(stage);
    }

    /// Notes that nothing but slots changed: no version, no record.
    pub(super) fn keep_quiet(&mut self) {
        self.quiet = true;
    }

    pub(super) fn take_up(&mut self, scopes: &[Scope]) {
        self.loads.extend(scopes.iter().map(|scope| LoadDelta {
            scope: scope.clone(),
            by: 1,
        }));
    }

    pub(super) fn give_up(&mut self, scopes: Vec<Scope>) {
        self.loads
            .extend(scopes.into_iter().map(|scope| LoadDelta { scope, by: -1 }));
    }

    /// Takes the lease off the task and gives its slots back now.
    pub(super) fn end_lease(&mut self) -> Option<Lease> {
        let mut lease = self.take_lease()?;
        self.give_up(std::mem::take(&mut lease.loads));
        Some(lease)
    }

    /// Takes the lease off the task, but leaves its slots taken until the holder is heard of or the lease ends: the
    /// holder may still be working.
    pub(super) fn cut_lease(&mut self) -> Option<Lease> {
        let mut lease = self.take_lease()?;
        let loads = std::mem::take(&mut lease.loads);
        if !loads.is_empty() {
            self.next.releases.push(Release {
                fence: lease.fence,
                holder: lease.holder,
                until: lease.until,
                loads,
            });
        }
        Some(lease)
    }

    fn take_lease(&mut self) -> Option<Lease> {
        let state = std::mem::replace(&mut self.next.state, State::Cancelled);
        let (lease, rest) = match state {
            State::Assigned(lease) | State::Running(lease) => {
                (Some(lease), State::Queued { wait: Wait::Ready })
            }
            State::Reviewing { stage, lease, .. } => (
                lease,
                State::Reviewing {
                    stage,
                    lease: None,
                    not_before: None,
                },
            ),
            other => (None, other),
        };
        self.next.state = rest;
        lease
    }

    /// Ends the open attempt.
    pub(super) fn end_attempt(&mut self, outcome: AttemptEnd, usage: Usage) {
        if let Some(open) = self.next.attempt.take() {
            let already_written = self.next.result == Some(open.fence);
            if !already_written {
                self.ended = Some(Attempt {
                    open,
                    ended_at: self.call.now,
                    command: self.call.command,
                    outcome,
                    usage,
                });
            }
        }
        self.next.progress = None;
    }

    /// Writes the open attempt while it stays open for review.
    pub(super) fn write_reported(&mut self, outcome: AttemptEnd, usage: Usage) {
        if let Some(open) = &self.next.attempt {
            self.ended = Some(Attempt {
                open: open.clone(),
                ended_at: self.call.now,
                command: self.call.command,
                outcome,
                usage,
            });
            self.next.result = Some(open.fence);
        }
        self.next.progress = None;
    }

    /// Queues the task again, at once or after `delay`.
    pub(super) fn queue(&mut self, delay: std::time::Duration) {
        self.next.result = None;
        if delay.is_zero() {
            make_ready(&mut self.next, self.call.now);
        } else {
            self.next.state = State::Queued {
                wait: Wait::Until(self.call.now.plus(delay)),
            };
        }
        self.act(AuditAction::Retried);
    }

    pub(super) fn hold(&mut self, reason: HoldReason, resume: Resume) {
        self.next.state = State::Held { reason, resume };
        self.act(AuditAction::Held);
    }

    pub(super) fn succeed(&mut self) {
        self.next.state = State::Succeeded;
        self.act(AuditAction::Closed);
    }

    pub(super) fn fail(&mut self, reason: FailReason) {
        self.next.state = State::Failed { reason };
        self.act(AuditAction::Closed);
    }

    pub(super) fn dead_letter(&mut self, reason: DeadReason) {
        self.next.state = State::DeadLettered { reason };
        self.act(AuditAction::DeadLettered);
    }

    pub(super) fn finish(mut self) -> Change {
        let record = if self.quiet {
            None
        } else {
            self.next.version = self.next.version.next();
            self.next.changed_at = self.call.now;
            self.next.last_command = Some(self.call.command);
            if self.next.state.is_closed() {
                self.next.progress = None;
            }
            let reason = self.next.state.reason();
            let mut record = record(&self.next, self.call.draft, self.actions, reason, self.call.now);
            record.detail = record.detail.or(self.detail);
            Some(record)
        };
        Change {
            next: self.next,
            ended: self.ended,
            stage: self.stage,
            loads: self.loads,
            record,
        }
    }
}
