//! Moves of a review.

use super::attempt::{avoid_agent, follow};
use super::change::Draft;
use super::{Refusal, RetryPlan};
use crate::mechanism::keyed_jitter;
use crate::model::{
    AttemptEnd, AuditAction, HoldReason, Json, Resume, Stage, StageOutcome, StageReport, State, Usage,
};

/// Stores the verdict of a stage and moves on.
pub(super) fn stage(
    draft: &mut Draft<'_>,
    outcome: &StageOutcome,
    schema: &str,
    body: Option<&Json>,
    plan: RetryPlan,
) -> Result<(), Refusal> {
    let State::Reviewing {
        stage,
        lease: Some(_),
        ..
    } = draft.next.state
    else {
        return draft.illegal_word("stage");
    };
    draft.end_lease();
    if let Some(fence) = draft.next.attempt.as_ref().map(|open| open.fence) {
        draft.report(StageReport {
            stage,
            fence,
            command: draft.call.command,
            at: draft.now(),
            outcome: outcome.clone(),
            schema: schema.to_owned(),
            body: body.cloned(),
        });
    }
    match outcome {
        StageOutcome::Passed => {
            draft.act(AuditAction::StagePassed);
            pass(draft, stage);
        }
        StageOutcome::Failed { .. } => {
            draft.act(AuditAction::StageFailed);
            draft.next.stage_errors = 0;
            avoid_agent(&mut draft.next);
            draft.end_attempt(
                AttemptEnd::Ended {
                    why: "review refused the output".to_owned(),
                },
                Usage::default(),
            );
            follow(draft, plan);
        }
        StageOutcome::Unsure { why } => {
            draft.act(AuditAction::StageUnsure);
            draft.hold(*why, Resume::Stage(stage));
        }
        StageOutcome::Errored { .. } => {
            draft.act(AuditAction::StageErrored);
            errored(draft, stage);
        }
    }
    Ok(())
}

/// Goes to the stage after `stage`, or succeeds.
pub(super) fn pass(draft: &mut Draft<'_>, stage: Stage) {
    draft.next.stage_errors = 0;
    match draft.next.terms.stages.iter().find(|next| **next > stage) {
        Some(&next) => {
            draft.next.state = State::Reviewing {
                stage: next,
                lease: None,
                not_before: None,
            }
        }
        None => {
            draft.next.attempt = None;
            draft.succeed();
        }
    }
}

/// Tries the stage again after a back-off; holds the task when its backend keeps failing.
fn errored(draft: &mut Draft<'_>, stage: Stage) {
    draft.next.stage_errors = draft.next.stage_errors.saturating_add(1);
    if draft.next.stage_errors >= draft.call.rules.max_stage_errors {
        draft.next.stage_errors = 0;
        draft.hold(HoldReason::StageUnavailable, Resume::Stage(stage));
        return;
    }
    let attempt = u32::from(draft.next.stage_errors);
    let delay = draft
        .call
        .rules
        .backoff
        .delay(attempt, keyed_jitter(draft.next.id.as_bytes(), attempt));
    let not_before = (!delay.is_zero()).then(|| draft.now().plus(delay));
    draft.next.state = State::Reviewing {
        stage,
        lease: None,
        not_before,
    };
}
