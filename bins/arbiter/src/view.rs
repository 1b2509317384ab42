//! Tasks and agents as people and `--json` see them, whether they come from the local store or from a server.

use arbiter_wire::http::{AgentView, HistoryView, KindPerformanceView, KindPeriodView, TaskView};
use serde_json::{Value, json};

/// A task as JSON. What is absent is null.
pub(crate) fn task(task: &TaskView) -> Value {
    json!({
        "id": task.id,
        "tenant": task.tenant,
        "submitter": task.submitter,
        "kind": task.kind,
        "title": task.title,
        "priority": task.priority,
        "security": task.security,
        "labels": task.labels,
        "state": task.state,
        "reason": task.reason,
        "waits_for": task.waits_for,
        "version": task.version,
        "attempts": task.attempts,
        "agent": task.agent,
        "submitted_at": task.submitted_at,
        "changed_at": task.changed_at,
        "deadline": task.deadline,
        "progress": task.progress.as_ref().map(|told| json!({
            "at": told.at,
            "fraction": told.fraction,
            "message": told.message,
        })),
    })
}

/// Attempts and stage reports as JSON.
pub(crate) fn history(history: &HistoryView) -> Value {
    let attempts: Vec<Value> = history
        .attempts
        .iter()
        .map(|attempt| {
            let mut shown = json!({
                "number": attempt.number,
                "agent": attempt.agent,
                "fence": attempt.fence,
                "assigned_at": attempt.assigned_at,
                "ended_at": attempt.ended_at,
                "chosen_because": attempt.chosen_because,
                "outcome": attempt.outcome,
                "message": attempt.message,
                "output": attempt.output,
                "artifacts": attempt.artifacts,
            });
            // Absent where nobody could say, which is not the same as none.
            if let Some(limits) = &attempt.not_enforced {
                shown["not_enforced"] = json!(limits);
            }
            shown
        })
        .collect();
    let stages: Vec<Value> = history
        .stages
        .iter()
        .map(|report| {
            json!({
                "stage": report.stage,
                "fence": report.fence,
                "at": report.at,
                "outcome": report.outcome,
                "schema": report.schema,
            })
        })
        .collect();
    json!({"attempts": attempts, "stages": stages})
}

/// A line of a table of tasks.
pub(crate) fn task_row(task: &TaskView) -> Vec<String> {
    vec![
        task.id.clone(),
        task.state.clone(),
        task.reason.clone().unwrap_or_default(),
        task.kind.clone(),
        task.attempts.to_string(),
        task.title.clone(),
    ]
}

/// What an agent's attempts at a kind of task came to in all.
pub(crate) fn kind_row(told: &KindPerformanceView) -> Vec<String> {
    vec![
        told.kind.clone(),
        "all".to_owned(),
        told.attempts.to_string(),
        told.succeeded.to_string(),
        format!("{:.2}", told.latency_seconds),
        told.mean_cost_micros
            .map_or_else(String::new, |cost| cost.to_string()),
    ]
}

/// What they came to in the span that was asked for.
pub(crate) fn period_row(told: &KindPeriodView) -> Vec<String> {
    vec![
        told.kind.clone(),
        "asked".to_owned(),
        told.attempts.to_string(),
        told.succeeded.to_string(),
        format!("{:.2}", told.latency_seconds),
        told.mean_cost_micros
            .map_or_else(String::new, |cost| format!("{cost:.0}")),
    ]
}

/// A line of a table of agents.
pub(crate) fn agent_row(agent: &AgentView) -> Vec<String> {
    let kinds: Vec<&str> = agent.kinds.iter().map(String::as_str).collect();
    vec![
        agent.id.clone(),
        agent.name.clone(),
        agent.mode.clone(),
        agent.health.clone(),
        agent.transport.clone(),
        agent.slots.to_string(),
        kinds.join(","),
    ]
}
