//! Calls about principals, tenants, policies and the queue.

use arbiter_core::model::Operation;
use serde_json::json;

use super::super::random::Random;
use super::super::world::{NOBODY, Someone, World};
use super::Call;

pub(super) fn principals(random: &mut Random, world: &World, by: &Someone, operation: Operation) -> Call {
    use Operation as O;
    let tenant = world.some_tenant(random, &by.tenant);
    let id = world.some(random, "principal", &tenant);
    let on = json!({"tenant": tenant});
    let named = json!({"principal": id, "tenant": tenant});
    let invalid = "422 invalid_value";
    match operation {
        O::KeyCreate => {
            let path = format!("principals/{id}/keys?tenant={tenant}");
            Call::post(path, &json!({"expires_in_seconds": 0}), on, invalid)
        }
        O::KeyList => Call::get(format!("principals/{id}/keys?tenant={tenant}"), named),
        // Only the key of nobody can be revoked without a change.
        O::KeyRevoke => {
            let path = format!("principals/{NOBODY}/keys/0123456789abcdef?tenant={tenant}");
            Call::new("DELETE", path, json!({"nothing_of": tenant}), "200")
        }
        O::PrincipalCreate => {
            let body = json!({"name": "", "roles": ["submitter"]});
            Call::post(format!("principals?tenant={tenant}"), &body, on, invalid)
        }
        O::PrincipalList if random.percent(50) => {
            Call::get(format!("principals?limit=1&tenant={tenant}"), on)
        }
        O::PrincipalList => Call::get(format!("principals/{id}?tenant={tenant}"), named),
        _ => {
            let path = format!("principals/{id}?tenant={tenant}");
            Call::send("PATCH", path, &json!({"name": ""}), on, invalid)
        }
    }
}

pub(super) fn tenants(random: &mut Random, world: &World, by: &Someone, operation: Operation) -> Call {
    use Operation as O;
    let tenant = world.some_tenant(random, &by.tenant);
    let (path, on) = (format!("tenants/{tenant}"), json!({"tenant": tenant}));
    let because = json!({"reason": ""});
    match operation {
        O::TenantCreate => Call::post(
            "tenants",
            &json!({"name": ""}),
            json!({"everything": true}),
            "422 invalid_value",
        ),
        O::TenantList if random.percent(30) => Call::get("tenants?limit=1", json!({"own": true})),
        O::TenantList => Call::get(path, json!({"record": tenant})),
        O::TenantUpdate => match random.below(3) {
            0 => Call::send("PATCH", path, &json!({"weight": 0}), on, "422"),
            1 => Call::post(format!("{path}/suspend"), &because, on, "422"),
            _ => Call::post(format!("{path}/resume"), &because, on, "422"),
        },
        O::TenantDelete => Call::post(format!("{path}/delete"), &because, on, "422"),
        _ => match random.below(3) {
            0 => Call::get(format!("erasures?limit=1&tenant={tenant}"), on),
            1 => {
                let path = format!("erasures/{NOBODY}?tenant={tenant}");
                Call::get(path, json!({"nothing_of": tenant}))
            }
            _ => {
                let subject = *random.pick(&["task", "principal"]);
                let id = world.some(random, subject, &tenant);
                let body = json!({"subject": subject, "id": id, "reason": ""});
                Call::post(format!("erasures?tenant={tenant}"), &body, on, "422")
            }
        },
    }
}

pub(super) fn policies(random: &mut Random, operation: Operation) -> Call {
    // A file of a name that no file may have.
    let files = json!({"files": {"../elsewhere": ""}});
    let everything = json!({"everything": true});
    if operation == Operation::PolicyActivate {
        return Call::post("policies/activate", &files, everything, "422 invalid_value");
    }
    match random.below(4) {
        0 => Call::get("policies", everything),
        1 => Call::get("policies/sets", everything),
        2 => Call::post("policies/diff", &files, everything, "422 invalid_value"),
        _ => Call::post(
            "policies/check",
            &files,
            json!({"own": true}),
            "422 invalid_value",
        ),
    }
}

pub(super) fn queue(random: &mut Random, world: &World, by: &Someone, operation: Operation) -> Call {
    let tenant = world.some_tenant(random, &by.tenant);
    let path = match operation {
        Operation::QueueStatus if random.percent(30) => {
            return Call::get("queue", json!({"tenant": by.tenant}));
        }
        Operation::QueueStatus => {
            return Call::get(format!("queue?tenant={tenant}"), json!({"tenant": tenant}));
        }
        Operation::QueuePause => "queue/pause",
        _ => "queue/resume",
    };
    let agent = world.some(random, "agent", &by.tenant);
    let (mut body, on) = match random.below(5) {
        0 => (json!({"what": "queue"}), json!({"everything": true})),
        1 => (
            json!({"what": "kind", "kind": "analysis", "everywhere": true}),
            json!({"everything": true}),
        ),
        2 => (
            json!({"what": "kind", "kind": "analysis", "tenant": tenant}),
            json!({"tenant": tenant}),
        ),
        3 => (
            json!({"what": "tenant", "tenant": tenant}),
            json!({"tenant": tenant}),
        ),
        _ => (
            json!({"what": "agent", "agent": agent}),
            json!({"named_agent": agent}),
        ),
    };
    body["reason"] = json!("");
    Call::post(path, &body, on, "422 invalid_task")
}
