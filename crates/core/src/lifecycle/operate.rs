//! Moves that a person or an operator asks for.

use super::change::Draft;
use super::{Refusal, ReleaseDecision};
use crate::model::{AttemptEnd, AuditAction, DeadReason, FailReason, Resume, State, Usage, Wait};

pub(super) fn cancel(draft: &mut Draft<'_>, why: &str) -> Result<(), Refusal> {
    if draft.next.state.is_closed() {
        return draft.illegal_word("cancel");
    }
    end_work(draft, why);
    draft.next.state = State::Cancelled;
    draft.act(AuditAction::Cancelled);
    Ok(())
}

pub(super) fn dead_letter(draft: &mut Draft<'_>, why: &str) -> Result<(), Refusal> {
    if draft.next.state.is_closed() {
        return draft.illegal_word("dead_letter");
    }
    end_work(draft, why);
    draft.dead_letter(DeadReason::ByOperator);
    Ok(())
}

pub(super) fn release(draft: &mut Draft<'_>, decision: ReleaseDecision) -> Result<(), Refusal> {
    let State::Held { resume, .. } = draft.next.state else {
        return draft.illegal_word("release");
    };
    draft.act(AuditAction::Released);
    match (decision, resume) {
        (ReleaseDecision::Resume, Resume::Queue) => draft.queue(std::time::Duration::ZERO),
        (ReleaseDecision::Resume, Resume::Stage(stage)) => {
            draft.next.state = State::Reviewing {
                stage,
                lease: None,
                not_before: None,
            };
        }
        (ReleaseDecision::Accept, Resume::Stage(_)) => {
            draft.next.attempt = None;
            draft.succeed();
        }
        // There is no output to accept.
        (ReleaseDecision::Accept, Resume::Queue) => return draft.illegal_word("release"),
        (ReleaseDecision::Reject, _) => {
            end_work(draft, "rejected");
            draft.fail(FailReason::Policy);
        }
    }
    Ok(())
}

/// Queues a failed task again.
pub(super) fn retry(draft: &mut Draft<'_>) -> Result<(), Refusal> {
    if !matches!(draft.next.state, State::Failed { .. }) {
        return draft.illegal_word("retry");
    }
    start_again(draft);
    Ok(())
}

/// Queues a dead letter again.
pub(super) fn requeue(draft: &mut Draft<'_>) -> Result<(), Refusal> {
    if !matches!(draft.next.state, State::DeadLettered { .. }) {
        return draft.illegal_word("requeue");
    }
    start_again(draft);
    Ok(())
}

/// Attempts start again; the fence goes on. A deadline that has passed would fail the task at once: it is lifted,
/// because an operator asked for another try knowing of it.
fn start_again(draft: &mut Draft<'_>) {
    let now = draft.now();
    draft.next.attempts = 0;
    draft.next.returns = 0;
    draft.next.losses = 0;
    draft.next.lost_leases = 0;
    draft.next.stage_errors = 0;
    draft.next.avoid.clear();
    draft.next.terms.deadline = draft.next.terms.deadline.filter(|deadline| *deadline > now);
    draft.next.state = State::Queued { wait: Wait::Ready };
    draft.queue(std::time::Duration::ZERO);
}

/// Ends an attempt or a review from outside. What a holder still has stays taken until it is heard of.
pub(super) fn end_work(draft: &mut Draft<'_>, why: &str) {
    draft.cut_lease();
    draft.end_attempt(AttemptEnd::Ended { why: why.to_owned() }, Usage::default());
}
