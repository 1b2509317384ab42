//! Calls about agents, files, schedules, hooks and the audit log.

use arbiter_core::model::Operation;
use serde_json::json;

use super::super::random::Random;
use super::super::world::{NOBODY, SHARED, Someone, World, digest_of};
use super::Call;

pub(super) fn agents(random: &mut Random, world: &World, by: &Someone, operation: Operation) -> Call {
    use Operation as O;
    let everything = || json!({"everything": true});
    // A peer's removal is not held up by what the agent does: it would remove it.
    let is_peer = by.tenant == SHARED && by.roles.contains(&"peer");
    if is_peer && operation == O::AgentRemove {
        let body = json!({"since": "0001-01-01T00:00:00Z"});
        return Call::post("agents/remove-silent", &body, everything(), "200");
    }
    // Often the caller's own, if it is one.
    let own = by.agent.clone().filter(|_| random.percent(50));
    let agent = own.unwrap_or_else(|| world.some(random, "agent", &by.tenant));
    let on = json!({"agent": agent});
    match operation {
        // What concerns the agents of every tenant.
        O::AgentList if random.percent(20) => Call::get(
            *random.pick(&["agents/changes?limit=1", "agents/heard"]),
            everything(),
        ),
        O::AgentList if random.percent(10) => {
            Call::post("agents/get-many", &json!({"ids": [agent]}), everything(), "200")
        }
        O::AgentHeartbeat if random.percent(20) => {
            Call::post("agents/heartbeats", &json!({"beats": []}), everything(), "200")
        }
        O::AgentLearn => Call::post("agents/outcomes", &json!({"outcomes": []}), everything(), "204"),
        O::AgentRegister => {
            let body = json!({"id": agent, "name": "x", "model_family": "none", "kinds": ["no kind"]});
            Call::post(
                "agents",
                &body,
                json!({"named_agent": agent}),
                "422 invalid_value",
            )
        }
        O::AgentList => match random.below(3) {
            0 => Call::get("agents?limit=1", json!({"own": true})),
            1 => Call::get(format!("agents/{agent}"), on),
            _ => Call::get(format!("agents/{agent}/performance"), on),
        },
        O::AgentMode => {
            let body = json!({"mode": "active", "reason": ""});
            Call::post(format!("agents/{agent}/mode"), &body, on, "422 invalid_task")
        }
        // That an agent lives is all that this tells.
        O::AgentHeartbeat => Call::post(format!("agents/{agent}/heartbeat"), &json!({}), on, "204"),
        // Every agent that is registered holds work.
        _ => Call::new("DELETE", format!("agents/{agent}"), on, "409 in_use"),
    }
}

pub(super) fn artifacts(random: &mut Random, world: &World, by: &Someone, operation: Operation) -> Call {
    use Operation as O;
    let whole = json!({"own": true});
    match operation {
        O::ArtifactPut => {
            let path = format!("artifacts/{}", digest_of("something else"));
            let mut call = Call::new("PUT", path, whole, "422 invalid_value");
            call.body = b"other bytes".to_vec();
            call
        }
        O::ArtifactList => Call::get(*random.pick(&["artifacts?limit=1", "artifacts/quota"]), whole),
        O::ArtifactGet => {
            let digest = world.some(random, "artifact", &by.tenant);
            Call::get(format!("artifacts/{digest}"), json!({"artifact": digest}))
        }
        _ => {
            // Only what is not there can be deleted without a change.
            let mut digest = world.some(random, "artifact", &by.tenant);
            if world.things["artifact"].get(&digest) == Some(&by.tenant) {
                digest = digest_of("nothing has this");
            }
            Call::new(
                "DELETE",
                format!("artifacts/{digest}"),
                json!({"artifact": digest}),
                "204",
            )
        }
    }
}

pub(super) fn schedules(random: &mut Random, world: &World, by: &Someone, operation: Operation) -> Call {
    use Operation as O;
    let whole = json!({"own": true});
    let id = world.some(random, "schedule", &by.tenant);
    let (path, on) = (format!("schedules/{id}"), json!({"schedule": id}));
    match operation {
        O::ScheduleCreate => {
            let task = json!({"kind": "analysis", "title": "never"});
            let body = json!({"name": "x", "cron": "never at all", "task": task});
            Call::post("schedules", &body, whole, "422 invalid_value")
        }
        O::ScheduleList => match random.below(4) {
            0 => Call::get("schedules?limit=1", whole),
            1 => Call::get("schedules/preview?cron=0%203%20*%20*%20*&count=1", whole),
            2 => Call::get(path, on),
            _ => Call::get(format!("{path}/next?count=1"), on),
        },
        O::ScheduleUpdate => Call::stale("PATCH", path, &json!({"paused": true}), on),
        _ => Call::stale("DELETE", path, &json!({}), on),
    }
}

pub(super) fn hooks(random: &mut Random, world: &World, by: &Someone, operation: Operation) -> Call {
    use Operation as O;
    let whole = json!({"own": true});
    let id = world.some(random, "hook", &by.tenant);
    let (path, on) = (format!("hooks/{id}"), json!({"hook": id}));
    match operation {
        O::HookCreate => {
            let body = json!({"url": "ftp://example.com", "events": ["closed"]});
            Call::post("hooks", &body, whole, "422 invalid_value")
        }
        O::HookList => match random.below(3) {
            0 => Call::get("hooks", whole),
            1 => Call::get(path, on),
            _ => Call::get(format!("{path}/deliveries"), on),
        },
        O::HookUpdate if random.percent(50) => Call::stale("PATCH", path, &json!({"paused": false}), on),
        O::HookUpdate => Call::stale("POST", format!("{path}/rotate"), &json!({}), on),
        O::HookDelete => Call::stale("DELETE", path, &json!({}), on),
        // Every hook is paused.
        _ => {
            let path = format!("{path}/deliveries/{NOBODY}/replay");
            Call::post(path, &json!({}), on, "422 invalid_value")
        }
    }
}

pub(super) fn audit(random: &mut Random, world: &World, by: &Someone, operation: Operation) -> Call {
    use Operation as O;
    let whole = json!({"own": true});
    let index = world.some(random, "entry", &by.tenant);
    let (path, on) = (format!("audit/entries/{index}"), json!({"entry": index}));
    match operation {
        O::AuditQuery => Call::get("audit/entries?limit=1", whole),
        O::AuditExport => Call::get("audit/export", json!({"everything": true})),
        O::AuditProof => match random.below(3) {
            0 => Call::get("audit/head", whole),
            1 => Call::get("audit/consistency?from=1", whole),
            _ => Call::get(format!("{path}/proof"), on),
        },
        _ => Call::post(
            format!("{path}/redact"),
            &json!({"reason": ""}),
            on,
            "422 invalid_task",
        ),
    }
}
