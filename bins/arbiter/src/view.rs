//! Tasks as people and `--json` see them.

use arbiter_core::model::{Attempt, AttemptEnd, State, StoredTask, Wait};
use arbiter_core::ports::TaskHistory;
use serde_json::{Value, json};

/// A task as JSON.
pub(crate) fn task(stored: &StoredTask) -> Value {
    let task = &stored.task;
    json!({
        "id": task.id.to_string(),
        "tenant": task.tenant.to_string(),
        "submitter": task.submitter.to_string(),
        "kind": stored.spec.kind.as_str(),
        "title": stored.spec.title,
        "priority": stored.spec.priority.get(),
        "labels": stored.spec.labels,
        "state": task.state.name().word(),
        "reason": task.state.reason(),
        "waits_for": waits_for(&task.state),
        "version": task.version.0,
        "attempts": task.attempts,
        "submitted_at": task.submitted_at.to_string(),
        "changed_at": task.changed_at.to_string(),
        "deadline": task.terms.deadline.map(|at| at.to_string()),
        "progress": task.progress.as_ref().map(|told| json!({
            "at": told.at.to_string(),
            "fraction": told.fraction.map(arbiter_core::model::Ratio::get),
            "message": told.message,
        })),
    })
}

fn waits_for(state: &State) -> Option<String> {
    match state {
        State::Queued {
            wait: Wait::Until(at),
        } => Some(format!("until {at}")),
        State::Queued {
            wait: Wait::Prerequisites(count),
        } => Some(format!("{count} prerequisites")),
        _ => None,
    }
}

/// Attempts and stage reports as JSON.
pub(crate) fn history(history: &TaskHistory) -> Value {
    let attempts: Vec<Value> = history.attempts.iter().map(attempt).collect();
    let stages: Vec<Value> = history
        .stages
        .iter()
        .map(|report| {
            json!({
                "stage": report.stage.word(),
                "fence": report.fence.0,
                "at": report.at.to_string(),
                "outcome": format!("{:?}", report.outcome),
                "schema": report.schema,
            })
        })
        .collect();
    json!({"attempts": attempts, "stages": stages})
}

fn attempt(attempt: &Attempt) -> Value {
    let (outcome, message, output) = match &attempt.outcome {
        AttemptEnd::Reported(report) => (
            "reported",
            None,
            report.output.as_ref().map(arbiter_core::model::Json::value),
        ),
        AttemptEnd::Failed(failure) => (failure.class.word(), Some(failure.message.clone()), None),
        AttemptEnd::Lost => (
            "lost",
            Some("the lease ended without a word from the agent".to_owned()),
            None,
        ),
        AttemptEnd::Returned { why } => ("returned", Some(why.clone()), None),
        AttemptEnd::Ended { why } => ("ended", Some(why.clone()), None),
    };
    json!({
        "number": attempt.open.number,
        "agent": attempt.open.agent.to_string(),
        "fence": attempt.open.fence.0,
        "assigned_at": attempt.open.assigned_at.to_string(),
        "ended_at": attempt.ended_at.to_string(),
        "chosen_because": attempt.open.rationale.as_ref(),
        "outcome": outcome,
        "message": message,
        "output": output,
    })
}
