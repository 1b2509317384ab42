//! The tenant matrix: every operation that names something, called from another tenant with the thing's own id, an absent
//! one, wildcards, injections and other spellings. Nothing of the neighbour is told, and what exists looks like what does
//! not.

use std::collections::BTreeMap;

use arbiter_tests::http::{Answer, Caller};
use serde_json::{Value, json};

use super::{Served, task, work::agent_key};

/// Words that stand in the neighbour's data and nowhere else.
const CANARY: &str = "canary-of-the-first-tenant";

/// Ids of the first tenant by the group that they belong to.
type Owned = BTreeMap<&'static str, String>;

/// Something of every sort in the first tenant.
fn furnish(served: &Served, agent: &Caller) -> Owned {
    let id = |answer: &Answer| {
        assert!((200..300).contains(&answer.status), "{answer:?}");
        answer.json()["id"].as_str().expect("an id").to_owned()
    };
    let operator = &served.operator;
    let mut one = task();
    one["title"] = json!(CANARY);
    one["labels"] = json!({"canary": CANARY});
    let profile = json!({"name": CANARY, "model_family": "none", "kinds": ["analysis"]});
    let hook = operator.post(
        "/v1/hooks",
        &json!({"url": "https://example.com/canary", "events": ["closed"]}),
    );
    let hook = hook.json()["hook"]["id"].as_str().expect("a hook").to_owned();
    let schedule = json!({"name": CANARY, "cron": "0 3 * * *", "time_zone": "UTC", "task": task()});
    let principal = operator.post("/v1/principals", &json!({"name": CANARY, "roles": ["submitter"]}));
    let principal = id(&principal);
    let key = operator.post(&format!("/v1/principals/{principal}/keys"), &json!({}));
    assert_eq!(key.status, 201, "{key:?}");
    let stored = operator.call(
        "PUT",
        &format!("/v1/artifacts/{}", digest_of(CANARY)),
        &[],
        CANARY.as_bytes(),
    );
    assert!((200..300).contains(&stored.status), "{stored:?}");
    let person = operator.post("/v1/principals", &json!({"name": CANARY, "roles": ["submitter"]}));
    let erasure = json!({"subject": "principal", "id": id(&person), "reason": CANARY});
    let erasure = id(&operator.post("/v1/erasures", &erasure));
    BTreeMap::from([
        ("tasks", id(&operator.post("/v1/tasks", &one))),
        ("agents", id(&agent.post("/v1/agents", &profile))),
        ("hooks", hook),
        ("schedules", id(&operator.post("/v1/schedules", &schedule))),
        ("erasures", erasure),
        ("principals", principal),
        ("artifacts", digest_of(CANARY)),
        ("key", key.json()["key"]["id"].as_str().expect("a key").to_owned()),
    ])
}

fn digest_of(text: &str) -> String {
    arbiter_core::model::Digest::of(text.as_bytes()).to_string()
}

/// An operator of another tenant.
fn neighbour(served: &Served) -> Caller {
    let tenant = served.operator.post("/v1/tenants", &json!({"name": "neighbour"}));
    assert_eq!(tenant.status, 201, "{tenant:?}");
    let tenant = tenant.json()["id"].as_str().expect("an id").to_owned();
    let made = served.operator.post(
        &format!("/v1/principals?tenant={tenant}"),
        &json!({"name": "their operator", "roles": ["operator", "submitter", "reviewer", "auditor"]}),
    );
    assert_eq!(made.status, 201, "{made:?}");
    let principal = made.json()["id"].as_str().expect("an id").to_owned();
    let key = served.operator.post(
        &format!("/v1/principals/{principal}/keys?tenant={tenant}"),
        &json!({}),
    );
    assert_eq!(key.status, 201, "{key:?}");
    Caller::new(
        &served.serving,
        Some(key.json()["secret"].as_str().expect("the key")),
    )
}

/// Values that are no id of anything, to be sent in the place of one.
fn hostile(id: &str) -> Vec<String> {
    let mut values: Vec<String> = [
        "*",
        "%2A",
        "%25",
        "_",
        "..",
        "%2e%2e",
        "%00",
        "null",
        "undefined",
        "' OR '1'='1",
        "1;DROP TABLE task",
        "..%2f..%2fetc%2fpasswd",
        "%7B%22%24ne%22%3Anull%7D",
        "\u{ff10}",
    ]
    .iter()
    .map(|text| {
        text.replace(' ', "%20")
            .replace('\'', "%27")
            .replace('\u{ff10}', "%EF%BC%90")
    })
    .collect();
    values.push(id.to_uppercase());
    values.push(format!("{id}%20"));
    values.push(format!("%EF%BB%BF{id}"));
    values.push(id.replacen('0', "%EF%BC%90", 1));
    values
}

/// What a caller can tell two answers apart by.
fn shape(answer: &Answer) -> Value {
    let mut told = if answer.body.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&answer.body).unwrap_or(Value::Null)
    };
    if let Some(told) = told.as_object_mut() {
        told.remove("request_id");
        told.remove("instance");
    }
    json!({"status": answer.status, "body": told})
}

/// A body that the operation would take, or close to it.
fn body(operation: &str) -> Value {
    match operation {
        "agent.mode" => json!({"mode": "draining", "reason": "because"}),
        "task.release" => json!({"decision": "accept", "reason": "because"}),
        "hook.update" | "schedule.update" | "principal.update" => json!({"name": "other"}),
        "key.create" | "key.rotate" | "hook.rotate" | "hook.replay" | "agent.heartbeat" => json!({}),
        _ => json!({"reason": "because"}),
    }
}

#[test]
fn nothing_of_a_tenant_is_told_to_another_and_absent_and_denied_look_alike() {
    let place = arbiter_tests::Place::new();
    let key = agent_key(&place, "puller");
    let limits = "[queue]\ncalls_per_principal = { per_second = 100000, burst = 100000 }\n";
    let served = Served::at(place, limits, &[]);
    let owned = furnish(&served, &Caller::new(&served.serving, Some(&key)));
    let other = neighbour(&served);
    let document = served.operator.get("/openapi.json").json();
    let (mut operations, mut calls) = (0, 0);
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let group = path
            .trim_start_matches("/v1/")
            .split('/')
            .next()
            .unwrap_or_default();
        for (method, described) in methods.as_object().expect("methods") {
            let operation = described["operationId"].as_str().expect("an id");
            // A stream is watched by its first answer only; the others answer whole.
            let method = method.to_uppercase();
            let call = |id: &str, key: &str| {
                let path = path
                    .replace("{id}", id)
                    .replace("{digest}", id)
                    .replace("{key}", key)
                    .replace("{delivery}", key)
                    .replace("{number}", id)
                    .replace("{index}", id);
                if method == "GET" {
                    other.call("GET", &path, &[], b"")
                } else if operation == "artifact.put" {
                    other.call("PUT", &path, &[], b"other bytes")
                } else {
                    other.send(&method, &path, &[], &body(operation))
                }
            };
            if !path.contains('{') {
                if method == "GET"
                    && !["system.document", "system.metrics", "audit.export"].contains(&operation)
                {
                    let answer = call("", "");
                    let text = String::from_utf8_lossy(&answer.body).into_owned();
                    assert!(!text.contains(CANARY), "{operation}: {text}");
                    operations += 1;
                }
                continue;
            }
            let Some(id) = owned.get(group) else { continue };
            // What is kept by its content is stored for each tenant by itself.
            if operation == "artifact.put" {
                continue;
            }
            operations += 1;
            let absent = match group {
                "artifacts" => digest_of("nothing has this"),
                _ => "018f1e6a-7b2c-7d3e-8f40-a1b2c3d4e5f6".to_owned(),
            };
            let key = owned.get("key").map_or("", String::as_str);
            let (theirs, none) = (call(id, key), call(&absent, "0123456789abcdef"));
            assert!(theirs.status >= 400, "{operation} of another tenant: {theirs:?}");
            assert_eq!(
                shape(&theirs),
                shape(&none),
                "{operation}: other and absent differ"
            );
            for value in hostile(id) {
                let answer = call(&value, key);
                assert!(
                    (400..500).contains(&answer.status),
                    "{operation} with `{value}`: {answer:?}"
                );
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                assert!(!text.contains(CANARY), "{operation} with `{value}`: {text}");
                calls += 1;
            }
        }
    }
    assert!(
        operations >= 40 && calls >= 400,
        "{operations} operations, {calls} calls"
    );
    for (group, path) in [
        ("tasks", "tasks"),
        ("agents", "agents"),
        ("schedules", "schedules"),
    ] {
        let own = served.operator.get(&format!("/v1/{path}/{}", owned[group]));
        assert_eq!(own.status, 200, "{group} is as it was: {own:?}");
    }
    assert_eq!(served.serving.stop().code(), Some(0));
}
