//! Calls about tasks, and those of agents about their work.

use arbiter_core::model::Operation;
use serde_json::{Value, json};

use super::super::random::Random;
use super::super::world::{Someone, World};
use super::Call;

/// A task that nobody may submit: it asks for more attempts than there may be.
fn refused_task(priority: usize, security: &str) -> Value {
    json!({
        "kind": "analysis",
        "title": "never stored",
        "priority": priority,
        "security": security,
        "constraints": {"max_attempts": 60_000},
    })
}

pub(super) fn tasks(random: &mut Random, world: &World, by: &Someone, operation: Operation) -> Call {
    use Operation as O;
    let many = |random: &mut Random, path: &str| {
        let tenant = world.some_tenant(random, &by.tenant);
        let body = json!({"tenant": tenant, "dry_run": true, "reason": ""});
        Call::post(path, &body, json!({"tenant": tenant}), "422 invalid_task")
    };
    let (path, body) = match operation {
        O::TaskSubmit => {
            let priority = random.below(101);
            let security = *random.pick(&["internal", "confidential", "restricted"]);
            let task = refused_task(priority, security);
            let on = json!({"submission": {"priority": priority, "security": security}});
            if random.percent(70) {
                return Call::post("tasks", &task, on, "422 invalid_task");
            }
            // Each of them has its own answer.
            return Call::post("tasks/batch", &json!({"tasks": [task, task]}), on, "200");
        }
        O::TaskList => return Call::get("tasks?limit=1", json!({"mine": true})),
        O::TaskCancelMany => return many(random, "tasks/cancel-many"),
        O::TaskRequeueMany => return many(random, "tasks/requeue-many"),
        O::TaskPurgeMany => return many(random, "tasks/purge-many"),
        O::TaskGet | O::TaskWatch => ("", json!({})),
        O::TaskRelease => ("release", json!({"decision": "accept", "reason": ""})),
        O::TaskRetry => ("retry", json!({"reason": ""})),
        O::TaskDeadLetter => ("dead-letter", json!({"reason": ""})),
        O::TaskRequeue => ("requeue", json!({"reason": ""})),
        _ => ("cancel", json!({"reason": ""})),
    };
    let task = world.some(random, "task", &by.tenant);
    let on = json!({"task": task});
    match operation {
        O::TaskGet => {
            let part = *random.pick(&["", "/attempts", "/events"]);
            Call::get(format!("tasks/{task}{part}"), on)
        }
        O::TaskWatch => Call::get(format!("tasks/{task}/watch"), on),
        _ => Call::post(format!("tasks/{task}/{path}"), &body, on, "422 invalid_task"),
    }
}

/// An agent's calls show a fencing token that was never given out.
pub(super) fn work(random: &mut Random, world: &World, by: &Someone, operation: Operation) -> Option<Call> {
    use Operation as O;
    let registered = |agent: &String| world.things["agent"].contains_key(agent);
    if operation == O::WorkClaim {
        // One that is registered would be given work.
        if by.agent.as_ref().is_some_and(registered) {
            return None;
        }
        let body = json!({"slots": 1, "wait_seconds": 0});
        let on = json!({"claim": true});
        return Some(Call::post("work/claim", &body, on, "404 not_found"));
    }
    let task = world.some(random, "task", &by.tenant);
    if operation == O::WorkHeartbeat {
        let body = json!({"attempts": [{"task": task, "fence": u32::MAX}]});
        return Some(Call::post(
            "work/heartbeat",
            &body,
            json!({"leases": true}),
            "200",
        ));
    }
    let tenant = world.some_tenant(random, &by.tenant);
    let on = json!({"attempt": task, "tenant": tenant});
    let attempt = json!({"task": task, "tenant": tenant, "fence": u32::MAX});
    let lost = "409 lease_lost";
    Some(match operation {
        O::WorkProgress => {
            let mut body = attempt;
            body["progress"] = json!({"message": "half"});
            Call::post("work/progress", &body, on, "200")
        }
        O::WorkReport => Call::post("work/report", &json!({"attempt": attempt, "output": 1}), on, lost),
        O::WorkFail => Call::post(
            "work/fail",
            &json!({"attempt": attempt, "message": "no"}),
            on,
            lost,
        ),
        O::WorkDecline => Call::post(
            "work/decline",
            &json!({"attempt": attempt, "reason": "no"}),
            on,
            lost,
        ),
        _ => Call::post("work/acknowledge", &attempt, on, lost),
    })
}
