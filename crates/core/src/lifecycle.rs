//! The state table of a task as one pure function.
//!
//! Stores do not know the rules: they lock a task, call [`apply`], and save what it returns. Four stores then agree
//! by construction. There is no clock and no randomness here: the time is an argument, and the jitter of a retry is
//! a keyed hash of task id and attempt number.
//!
//! | from | may become |
//! | --- | --- |
//! | queued | assigned, running (claim of a pulling agent), held or failed (prerequisite, deadline), cancelled, dead_lettered |
//! | assigned | running, queued (declined, not acknowledged, agent lost or quarantined), failed (deadline), cancelled, dead_lettered |
//! | running | reviewing, succeeded (no stage asked), queued (retry), held, failed, cancelled, dead_lettered |
//! | reviewing | reviewing (next stage), succeeded, queued (retry), held, failed, cancelled, dead_lettered |
//! | held | queued, reviewing, succeeded, failed, cancelled, dead_lettered |
//! | failed, dead_lettered | queued, by an operator: attempts start again, the fence goes on |
//! | succeeded, cancelled | nothing |

mod attempt;
mod change;
mod command;
mod due;
mod extend;
mod operate;
mod review;
mod submission;
#[cfg(test)]
mod tests;

pub use change::{Change, LoadDelta};
pub use command::{Command, Expect, Refusal, ReleaseDecision, RetryPlan, Rules};
pub use extend::{extend, settle};
pub use submission::{Prerequisite, Submission, SubmissionError, Submissions, refused_submission};

use change::Draft;

use crate::model::{
    AuditAction, CommandId, FailReason, HoldReason, OrderKey, Record, RecordDraft, RecordOutcome, Resource,
    Resume, State, Task, Timestamp, Version, Wait,
};
use crate::ports::NewTask;

/// What one call of [`apply`] needs to know beside the task and the command.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Names the mutation.
    pub command: CommandId,
    /// What must hold.
    pub expect: Expect,
    /// The caller's part of the record.
    pub draft: &'a RecordDraft,
    /// The store's settings.
    pub rules: &'a Rules,
    /// The store's clock.
    pub now: Timestamp,
}

/// Applies a command to a task.
///
/// # Errors
/// A [`Refusal`]; the task is unchanged, and [`refused`] makes the record that must be kept all the same.
pub fn apply(task: &Task, action: &Command, call: Call<'_>) -> Result<Change, Refusal> {
    if task.last_command == Some(call.command) {
        return Ok(Change::repeated(task));
    }
    check(task, action, call.expect)?;
    let mut draft = Draft::new(task, call);
    match action {
        Command::Assign {
            to,
            acknowledged,
            decision,
            loads,
        } => {
            attempt::assign(&mut draft, *to, *acknowledged, decision.as_deref(), loads)?;
        }
        Command::Acknowledge => attempt::acknowledge(&mut draft)?,
        Command::Decline { why } | Command::Revoke { why } => attempt::give_back(&mut draft, action, why)?,
        Command::Report(report) => attempt::report(&mut draft, report)?,
        Command::Fail { failure, plan } => attempt::fail(&mut draft, failure, *plan)?,
        Command::Exceed { part, usage } => attempt::exceed(&mut draft, part, *usage)?,
        Command::Stage {
            outcome,
            schema,
            body,
            plan,
        } => {
            review::stage(&mut draft, outcome, schema, body.as_ref(), *plan)?;
        }
        Command::Cancel { why } => operate::cancel(&mut draft, why)?,
        Command::Release { decision, .. } => operate::release(&mut draft, *decision)?,
        Command::Retry { .. } => operate::retry(&mut draft)?,
        Command::DeadLetter { why } => operate::dead_letter(&mut draft, why)?,
        Command::Requeue { .. } => operate::requeue(&mut draft)?,
        Command::Prerequisite { succeeded, .. } => due::prerequisite(&mut draft, *succeeded)?,
        Command::Due => due::due(&mut draft)?,
    }
    Ok(draft.finish())
}

/// Checks what must hold before a command is looked at.
fn check(task: &Task, action: &Command, expect: Expect) -> Result<(), Refusal> {
    match expect {
        Expect::Any => Ok(()),
        Expect::Version(version) if version == task.version => Ok(()),
        Expect::Version(_) => Err(Refusal::VersionConflict {
            current: task.version,
        }),
        Expect::Lease { fence, holder } => match task.state.lease() {
            Some(lease) if lease.fence == fence && lease.holder == holder => Ok(()),
            Some(_) | None => Err(Refusal::LeaseLost),
        },
    }
    .and_then(|()| {
        if action.needs_lease() && !matches!(expect, Expect::Lease { .. }) {
            return Err(Refusal::LeaseRequired);
        }
        Ok(())
    })
}

/// The first state of a submitted task.
///
/// `open` is how many of its prerequisites have not succeeded yet; `failed` says that one of them has ended otherwise.
pub fn admit(new: &NewTask, lane: crate::model::LaneId, open: u32, failed: bool, now: Timestamp) -> Change {
    let terms = crate::model::Terms::of(&new.spec);
    let mut task = Task {
        id: new.id,
        tenant: new.tenant,
        submitter: new.submitter,
        lane,
        order_key: None,
        submitted_at: now,
        changed_at: now,
        state: State::Queued { wait: Wait::Ready },
        version: Version(1),
        fence: crate::model::Fence(0),
        attempts: 0,
        returns: 0,
        losses: 0,
        lost_leases: 0,
        stage_errors: 0,
        attempt: None,
        result: None,
        avoid: Vec::new(),
        releases: Vec::new(),
        has_dependants: false,
        progress: None,
        last_command: Some(new.command),
        terms,
    };
    let mut actions = vec![AuditAction::Submitted];
    let mut reason = None;
    if failed && task.terms.hold_on_prerequisite_failure {
        task.state = State::Held {
            reason: HoldReason::PrerequisiteFailed,
            resume: Resume::Queue,
        };
        actions.push(AuditAction::Held);
    } else if failed {
        task.state = State::Failed {
            reason: FailReason::PrerequisiteFailed,
        };
        actions.push(AuditAction::Closed);
    } else if open > 0 {
        task.state = State::Queued {
            wait: Wait::Prerequisites(open),
        };
    } else {
        make_ready(&mut task, now);
    }
    if let Some(word) = task.state.reason() {
        reason = Some(word);
    }
    let record = record(&task, &new.effects.record, actions, reason, now);
    Change::submitted(task, record)
}

/// Puts a queued task that waits for nothing else into its place: claimable now, or at `not_before`.
fn make_ready(task: &mut Task, now: Timestamp) {
    match task.terms.not_before.filter(|at| *at > now) {
        Some(at) => {
            task.state = State::Queued {
                wait: Wait::Until(at),
            }
        }
        None => {
            task.state = State::Queued { wait: Wait::Ready };
            task.order_key.get_or_insert(OrderKey(now.as_micros()));
        }
    }
}

/// The record of a refused command.
pub fn refused(
    task: &Task,
    action: &Command,
    refusal: &Refusal,
    draft: &RecordDraft,
    now: Timestamp,
) -> Record {
    let word = match refusal {
        Refusal::LeaseLost => AuditAction::LeaseLost,
        _ => AuditAction::Rejected,
    };
    let mut actions = draft.actions.clone();
    actions.push(word);
    Record {
        at: now,
        tenant: task.tenant,
        principal: draft.principal,
        operation: draft.operation.or(action.operation()),
        actions,
        resource: Resource::new("task", task.id.to_string()),
        outcome: RecordOutcome::Refused,
        reason: Some(refusal.code()),
        count: None,
        detail: draft.detail.clone(),
    }
}

fn record(
    task: &Task,
    draft: &RecordDraft,
    mut actions: Vec<AuditAction>,
    reason: Option<&'static str>,
    now: Timestamp,
) -> Record {
    actions.splice(0..0, draft.actions.iter().copied());
    Record {
        at: now,
        tenant: task.tenant,
        principal: draft.principal,
        operation: draft.operation,
        actions,
        resource: Resource {
            kind: "task",
            id: task.id.to_string(),
            version: Some(task.version),
        },
        outcome: RecordOutcome::Done,
        reason,
        count: None,
        detail: draft.detail.clone(),
    }
}
