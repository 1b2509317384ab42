//! Agents that ask for work over HTTP.

use arbiter_tests::http::Caller;
use arbiter_tests::wait_until;
use serde_json::{Value, json};

use super::{Served, refused, task};

/// A key for an agent, made while nothing serves.
pub(super) fn agent_key(place: &arbiter_tests::Place, name: &str) -> String {
    let made = place.run(&["--json", "key", "create", "--name", name, "--role", "agent"]);
    assert_eq!(made.code(), 0, "{made:?}");
    let told: Value = serde_json::from_str(&made.stdout).expect("JSON");
    told["key"].as_str().expect("a key").to_owned()
}

/// A server with an agent that is registered for `analysis`.
fn with_agent(slots: u32) -> (Served, Caller, String) {
    let place = arbiter_tests::Place::new();
    let key = agent_key(&place, "puller");
    let served = Served::at(place, "", &[]);
    let agent = Caller::new(&served.serving, Some(&key));
    let profile = json!({"name": "puller", "model_family": "none", "kinds": ["analysis"], "slots": slots});
    let registered = agent.post("/v1/agents", &profile);
    assert_eq!(registered.status, 200, "{registered:?}");
    let id = registered.json()["id"].as_str().expect("an id").to_owned();
    (served, agent, id)
}

fn claim(agent: &Caller, slots: u32, wait: u32) -> Vec<Value> {
    let answer = agent.post("/v1/work/claim", &json!({"slots": slots, "wait_seconds": wait}));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["work"].as_array().expect("work").clone()
}

fn attempt(work: &Value) -> Value {
    json!({"task": work["task"], "tenant": work["tenant"], "fence": work["fence"]})
}

#[test]
fn a_whole_life_takes_three_calls_and_moves_the_agents_record() {
    let (served, agent, id) = with_agent(2);
    let task_id = served.submit(&task());
    let work = claim(&agent, 1, 30);
    assert_eq!(work.len(), 1);
    assert_eq!(work[0]["task"], json!(task_id));
    assert_eq!(work[0]["instructions"], "count the words");
    assert_eq!(work[0]["attempt"], 1);
    let report = json!({"attempt": attempt(&work[0]), "output": {"words": 3}});
    assert_eq!(agent.post("/v1/work/report", &report).status, 204);
    let told = served.operator.get(&format!("/v1/tasks/{task_id}")).json();
    assert_eq!(
        (&told["state"], &told["version"]),
        (&json!("succeeded"), &json!(3))
    );
    let told = served.operator.get(&format!("/v1/agents/{id}")).json();
    assert_eq!(told["records"][0]["attempts"], 1, "{told}");
    assert_eq!(told["records"][0]["succeeded"], 1, "{told}");
    assert_eq!(served.serving.stop().code(), Some(0));
}

#[test]
fn an_answer_that_was_lost_is_given_again() {
    let (served, agent, _) = with_agent(1);
    let task_id = served.submit(&task());
    assert_eq!(claim(&agent, 1, 30).len(), 1);
    let again = claim(&agent, 1, 30);
    assert_eq!(again[0]["task"], json!(task_id));
    let holding = json!([{"task": again[0]["task"], "fence": again[0]["fence"]}]);
    let knows = json!({"slots": 1, "wait_seconds": 0, "holding": holding});
    assert_eq!(agent.post("/v1/work/claim", &knows).json()["work"], json!([]));
}

#[test]
fn a_stale_token_is_refused_and_the_task_goes_on() {
    let (served, agent, _) = with_agent(1);
    let task_id = served.submit(&task());
    let work = claim(&agent, 1, 30).remove(0);
    let cancel = json!({"reason": "not needed any more"});
    let cancelled = served
        .operator
        .post(&format!("/v1/tasks/{task_id}/cancel"), &cancel);
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let beat = json!({"attempts": [{"task": work["task"], "fence": work["fence"]}]});
    let told = agent.post("/v1/work/heartbeat", &beat).json();
    assert_eq!(told["leases"][0]["status"], "cancelled");
    let late = agent.post(
        "/v1/work/report",
        &json!({"attempt": attempt(&work), "output": 1}),
    );
    refused(&late, 409, "lease_lost");
}

#[test]
fn a_quarantined_agent_loses_its_work_and_gets_none() {
    let (served, agent, id) = with_agent(2);
    let task_id = served.submit(&task());
    let work = claim(&agent, 1, 30).remove(0);
    let mode = json!({"mode": "quarantined", "reason": "it invents results"});
    let set = served.operator.post(&format!("/v1/agents/{id}/mode"), &mode);
    assert_eq!(set.status, 204, "{set:?}");
    let late = agent.post(
        "/v1/work/report",
        &json!({"attempt": attempt(&work), "output": 1}),
    );
    refused(&late, 409, "lease_lost");
    let path = format!("/v1/tasks/{task_id}");
    wait_until("the task is queued again", || {
        served.operator.get(&path).json()["state"] == "queued"
    });
    assert_eq!(claim(&agent, 1, 1), Vec::<Value>::new());
    let mode = json!({"mode": "active", "reason": "it was a mistake"});
    let set = served.operator.post(&format!("/v1/agents/{id}/mode"), &mode);
    assert_eq!(set.status, 204, "{set:?}");
    assert_eq!(claim(&agent, 1, 30)[0]["task"], json!(task_id));
}

#[test]
fn who_is_no_registered_agent_gets_no_work() {
    let (served, _, _) = with_agent(1);
    let asked = json!({"slots": 1, "wait_seconds": 0});
    refused(&served.operator.post("/v1/work/claim", &asked), 403, "forbidden");
    let nobody = Caller::new(&served.serving, None);
    refused(&nobody.post("/v1/work/claim", &asked), 401, "auth_failed");
    let place = arbiter_tests::Place::new();
    let key = agent_key(&place, "late");
    let served = Served::at(place, "", &[]);
    let late = Caller::new(&served.serving, Some(&key));
    refused(&late.post("/v1/work/claim", &asked), 404, "not_found");
    refused(
        &late.post("/v1/work/claim", &json!({"slots": 0})),
        422,
        "invalid_value",
    );
    let long = json!({"slots": 1, "wait_seconds": 61});
    refused(&late.post("/v1/work/claim", &long), 422, "invalid_value");
}

#[test]
fn each_part_of_the_server_is_named_in_its_readiness() {
    let served = Served::new();
    let ready = served.operator.get("/readyz");
    assert_eq!(ready.status, 200, "{ready:?}");
    let parts = ready.json()["parts"].as_array().expect("parts").clone();
    let named = |name: &str| {
        parts
            .iter()
            .any(|part| part["name"] == name && part["ready"] == true)
    };
    for name in [
        "store",
        "registry",
        "due-timer",
        "checkpointer",
        "courier",
        "hook-feeder",
        "server",
        "dispatcher",
    ] {
        assert!(named(name), "{name}: {parts:?}");
    }
}
