//! Moves that nobody asks for: time passes, prerequisites end.

use super::attempt::{avoid_agent, returned, try_again};
use super::change::Draft;
use super::operate::end_work;
use super::{Refusal, make_ready};
use crate::model::{
    AttemptEnd, AuditAction, FailReason, Failure, FailureClass, HoldReason, Resume, State, Task, Timestamp,
    Usage, Wait,
};

/// Does the one thing that is overdue: deadline, lease, attempt, waiting time; else slots of ended attempts.
pub(super) fn due(draft: &mut Draft<'_>) -> Result<(), Refusal> {
    let now = draft.now();
    let deadline_passed = draft.next.terms.deadline.is_some_and(|deadline| deadline <= now);
    if deadline_passed && !draft.next.state.is_closed() {
        end_work(draft, "deadline");
        draft.fail(FailReason::Deadline);
        return Ok(());
    }
    match draft.next.state.clone() {
        State::Queued {
            wait: Wait::Until(at),
        } if at <= now => {
            make_ready(&mut draft.next, now);
            draft.act(AuditAction::Readied);
        }
        State::Assigned(lease) if lease.until <= now => {
            draft.end_lease();
            draft.act(AuditAction::Returned);
            returned(draft, "not acknowledged in time");
        }
        State::Running(lease) if lease.until <= now => lost(draft),
        State::Running(_) if attempt_overdue(&draft.next, now) => timed_out(draft),
        State::Reviewing {
            stage,
            lease: Some(lease),
            ..
        } if lease.until <= now => {
            draft.end_lease();
            draft.act(AuditAction::LeaseExpired);
            draft.next.state = State::Reviewing {
                stage,
                lease: None,
                not_before: None,
            };
        }
        State::Reviewing {
            stage,
            lease: None,
            not_before: Some(at),
        } if at <= now => {
            draft.next.state = State::Reviewing {
                stage,
                lease: None,
                not_before: None,
            };
            draft.act(AuditAction::Readied);
        }
        _ => return give_up_releases(draft, now),
    }
    Ok(())
}

fn attempt_overdue(task: &Task, now: Timestamp) -> bool {
    task.attempt
        .as_ref()
        .is_some_and(|open| open.started_at.plus(task.terms.attempt_timeout) <= now)
}

/// The holder was not heard of in time. The first loss of a task requeues it at once, later ones wait.
fn lost(draft: &mut Draft<'_>) {
    draft.end_lease();
    draft.act(AuditAction::LeaseExpired);
    avoid_agent(&mut draft.next);
    draft.next.losses = draft.next.losses.saturating_add(1);
    draft.next.lost_leases = draft.next.lost_leases.saturating_add(1);
    draft.end_attempt(AttemptEnd::Lost, Usage::default());
    // An agent that crashed and said so lost no lease.
    let at_once = (draft.next.lost_leases == 1).then_some(std::time::Duration::ZERO);
    try_again(draft, at_once);
}

/// The attempt ran longer than it may; its agent may still be working.
fn timed_out(draft: &mut Draft<'_>) {
    draft.cut_lease();
    draft.act(AuditAction::AttemptFailed);
    avoid_agent(&mut draft.next);
    let failure = Failure {
        class: FailureClass::Timeout,
        code: None,
        message: format!(
            "the attempt ran longer than {} s",
            draft.next.terms.attempt_timeout.as_secs_f64()
        ),
        usage: Usage::default(),
        not_enforced: None,
    };
    draft.end_attempt(AttemptEnd::Failed(failure), Usage::default());
    try_again(draft, None);
}

/// Gives back the slots of attempts that were ended from outside and whose leases have run out.
fn give_up_releases(draft: &mut Draft<'_>, now: Timestamp) -> Result<(), Refusal> {
    let (over, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut draft.next.releases)
        .into_iter()
        .partition(|release| release.until <= now);
    draft.next.releases = kept;
    if over.is_empty() {
        return Err(Refusal::NotDue);
    }
    over.into_iter().for_each(|release| draft.give_up(release.loads));
    draft.keep_quiet();
    Ok(())
}

/// A prerequisite ended.
pub(super) fn prerequisite(draft: &mut Draft<'_>, succeeded: bool) -> Result<(), Refusal> {
    let State::Queued {
        wait: Wait::Prerequisites(open),
    } = draft.next.state
    else {
        return draft.illegal_word("prerequisite");
    };
    if !succeeded {
        if draft.next.terms.hold_on_prerequisite_failure {
            draft.hold(HoldReason::PrerequisiteFailed, Resume::Queue);
        } else {
            draft.fail(FailReason::PrerequisiteFailed);
        }
        return Ok(());
    }
    draft.act(AuditAction::PrerequisiteMet);
    if open > 1 {
        draft.next.state = State::Queued {
            wait: Wait::Prerequisites(open - 1),
        };
    } else {
        let now = draft.now();
        make_ready(&mut draft.next, now);
    }
    Ok(())
}
