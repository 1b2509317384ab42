//! Moves of an attempt: assign, acknowledge, give back, report, fail.

use std::sync::Arc;

use super::change::Draft;
use super::{Command, Refusal, RetryPlan};
use crate::mechanism::keyed_jitter;
use crate::model::{
    AgentId, AttemptEnd, AuditAction, DeadReason, Decision, DecisionId, FailReason, Failure, FailureClass,
    Holder, Lease, OpenAttempt, Report, Resume, State, Task, Usage, Wait,
};
use crate::ports::Scope;

pub(super) fn assign(
    draft: &mut Draft<'_>,
    to: Holder,
    acknowledged: bool,
    decision: Option<&Decision>,
    loads: &[Scope],
) -> Result<(), Refusal> {
    let now = draft.now();
    let rules = draft.call.rules;
    let fence = draft.next.fence.next();
    match (&draft.next.state, to) {
        (State::Queued { wait: Wait::Ready }, Holder::Agent(agent)) => {
            let within = if acknowledged {
                rules.lease
            } else {
                rules.acknowledge_within
            };
            let lease = Lease {
                holder: to,
                fence,
                until: now.plus(within),
                loads: loads.to_vec(),
            };
            draft.next.attempts = draft.next.attempts.saturating_add(1);
            draft.next.attempt = Some(OpenAttempt {
                number: draft.next.attempts,
                agent,
                fence,
                assigned_at: now,
                started_at: now,
                acknowledged_at: acknowledged.then_some(now),
                decision: decision.map_or(DecisionId::from_bytes([0; 16]), |made| made.id),
                rationale: decision.map_or_else(|| Arc::from(""), |made| made.rationale.as_str().into()),
                not_enforced: None,
            });
            draft.next.state = if acknowledged {
                State::Running(lease)
            } else {
                State::Assigned(lease)
            };
            draft.act(AuditAction::Assigned);
            if acknowledged {
                draft.act(AuditAction::Acknowledged);
            }
        }
        (
            State::Reviewing {
                stage,
                lease: None,
                not_before: None,
            },
            Holder::Node(_),
        ) => {
            let lease = Lease {
                holder: to,
                fence,
                until: now.plus(rules.lease),
                loads: loads.to_vec(),
            };
            draft.next.state = State::Reviewing {
                stage: *stage,
                lease: Some(lease),
                not_before: None,
            };
            draft.act(AuditAction::StageStarted);
        }
        _ => return draft.illegal_word("assign"),
    }
    draft.next.fence = fence;
    draft.take_up(loads);
    if let Some(decision) = decision {
        draft.detail(decision.to_json());
    }
    Ok(())
}

pub(super) fn acknowledge(draft: &mut Draft<'_>) -> Result<(), Refusal> {
    let now = draft.now();
    let until = now.plus(draft.call.rules.lease);
    match draft.next.state.clone() {
        State::Assigned(lease) => {
            draft.next.state = State::Running(Lease { until, ..lease });
            if let Some(open) = &mut draft.next.attempt {
                open.acknowledged_at = Some(now);
                open.started_at = now;
            }
            draft.act(AuditAction::Acknowledged);
            Ok(())
        }
        // Said twice, or by a pulling agent whose claim was its acknowledgement.
        State::Running(_) => {
            draft.keep_quiet();
            Ok(())
        }
        _ => draft.illegal(&Command::Acknowledge),
    }
}

/// Ends the attempt without counting it, while the task may give attempts back.
pub(super) fn give_back(draft: &mut Draft<'_>, command: &Command, why: &str) -> Result<(), Refusal> {
    match (&draft.next.state, command) {
        (State::Assigned(_) | State::Running(_), _) => {}
        (State::Reviewing { lease: Some(_), .. }, Command::Revoke { .. }) => {
            draft.end_lease();
            draft.act(AuditAction::Returned);
            return Ok(());
        }
        _ => return draft.illegal(command),
    }
    // A revoked agent may still be working: its slot comes back with its next call or its lease.
    if matches!(command, Command::Revoke { .. }) {
        draft.cut_lease()
    } else {
        draft.end_lease()
    };
    draft.act(AuditAction::Returned);
    returned(draft, why);
    Ok(())
}

/// Gives the attempt back to the task, or counts it once the task has given back as many as it may.
pub(super) fn returned(draft: &mut Draft<'_>, why: &str) {
    avoid_agent(&mut draft.next);
    draft.end_attempt(AttemptEnd::Returned { why: why.to_owned() }, Usage::default());
    if draft.next.returns < draft.call.rules.max_returns {
        draft.next.returns += 1;
        draft.next.attempts = draft.next.attempts.saturating_sub(1);
        draft.queue(std::time::Duration::ZERO);
    } else {
        try_again(draft, None);
    }
}

pub(super) fn report(draft: &mut Draft<'_>, report: &Report) -> Result<(), Refusal> {
    // An agent that reports without having acknowledged has taken the task: both happen now.
    match &draft.next.state {
        State::Assigned(_) => {
            acknowledge(draft)?;
        }
        State::Running(_) => {}
        _ => return draft.illegal_word("report"),
    }
    draft.end_lease();
    draft.act(AuditAction::Reported);
    if draft.next.terms.budget.exceeded_by(&report.usage).is_some() {
        draft.end_attempt(AttemptEnd::Reported(report.clone()), report.usage);
        draft.fail(FailReason::OverBudget);
        return Ok(());
    }
    draft.write_reported(AttemptEnd::Reported(report.clone()), report.usage);
    match draft.next.terms.stages.first() {
        Some(&stage) => {
            draft.next.stage_errors = 0;
            draft.next.state = State::Reviewing {
                stage,
                lease: None,
                not_before: None,
            };
        }
        None => {
            draft.next.attempt = None;
            draft.succeed();
        }
    }
    Ok(())
}

pub(super) fn fail(draft: &mut Draft<'_>, failure: &Failure, plan: RetryPlan) -> Result<(), Refusal> {
    if !matches!(draft.next.state, State::Assigned(_) | State::Running(_)) {
        return draft.illegal_word("fail");
    }
    draft.end_lease();
    draft.act(AuditAction::AttemptFailed);
    avoid_agent(&mut draft.next);
    if failure.class == FailureClass::Crash {
        draft.next.losses = draft.next.losses.saturating_add(1);
    }
    draft.end_attempt(AttemptEnd::Failed(failure.clone()), failure.usage);
    follow(draft, plan);
    Ok(())
}

pub(super) fn exceed(draft: &mut Draft<'_>, part: &str, usage: Usage) -> Result<(), Refusal> {
    if !matches!(draft.next.state, State::Running(_)) {
        return draft.illegal_word("exceed");
    }
    draft.cut_lease();
    draft.end_attempt(
        AttemptEnd::Ended {
            why: format!("over budget: {part}"),
        },
        usage,
    );
    draft.fail(FailReason::OverBudget);
    Ok(())
}

/// Does what a retry plan says after a counted attempt.
pub(super) fn follow(draft: &mut Draft<'_>, plan: RetryPlan) {
    match plan {
        RetryPlan::Retry { after } => try_again(draft, after),
        RetryPlan::Hold(reason) => draft.hold(reason, Resume::Queue),
        RetryPlan::Fail(reason) => draft.fail(reason),
        RetryPlan::DeadLetter(reason) => draft.dead_letter(reason),
    }
}

/// Queues the task again while attempts are left, after the back-off of its attempt.
pub(super) fn try_again(draft: &mut Draft<'_>, after: Option<std::time::Duration>) {
    let task = &draft.next;
    if task.attempts >= task.terms.max_attempts {
        let poison = task.losses > 0 && task.losses >= task.attempts;
        draft.dead_letter(if poison {
            DeadReason::Poison
        } else {
            DeadReason::AttemptsExhausted
        });
        return;
    }
    let attempt = u32::from(task.attempts.max(1));
    let delay = after.unwrap_or_else(|| {
        draft
            .call
            .rules
            .backoff
            .delay(attempt, keyed_jitter(task.id.as_bytes(), attempt))
    });
    draft.queue(delay);
}

/// Remembers the agent of the open attempt as one to avoid.
pub(super) fn avoid_agent(task: &mut Task) {
    if let Some(agent) = task.attempt.as_ref().map(|open| open.agent) {
        remember(&mut task.avoid, agent);
    }
}

fn remember(avoid: &mut Vec<AgentId>, agent: AgentId) {
    avoid.retain(|other| *other != agent);
    avoid.push(agent);
    if avoid.len() > Task::MAX_AVOIDED {
        avoid.remove(0);
    }
}
