//! Routing, events, agents, artifacts, status, and the cursors of lists.

use serde_json::{Value, json};

use super::{Served, refused, task};

fn register(served: &Served, id: &str) {
    let agent = json!({"id": id, "name": "a", "model_family": "none", "kinds": ["analysis"]});
    let answer = served.operator.post("/v1/agents", &agent);
    assert_eq!(answer.status, 200, "{answer:?}");
}

const AGENT: &str = "018f1e6a-7b2c-7d3e-8f40-a1b2c3d4e50";

#[test]
fn cursors_are_opaque_and_good_for_their_list_only() {
    let served = Served::new();
    for _ in 0..3 {
        served.submit(&task());
    }
    for number in 1..=3 {
        register(&served, &format!("{AGENT}{number}"));
    }
    let lists = [
        ("/v1/tasks", "state=queued&"),
        ("/v1/agents", ""),
        ("/v1/audit/entries", "outcome=done&"),
    ];
    let mut cursors = Vec::new();
    for (path, filter) in lists {
        let first = format!("{path}?{filter}limit=1");
        let page = served.operator.get(&first).json();
        let next = page["next"].as_str().expect("a cursor").to_owned();
        let rest = served.operator.get(&format!("{first}&cursor={next}"));
        assert_eq!(rest.status, 200, "{rest:?}");
        assert_ne!(rest.json(), page);
        cursors.push((path, filter, next));
    }
    for (path, _) in lists {
        for (of, filter, cursor) in &cursors {
            // For another list, or without the filter that the cursor was given out for.
            let answer = served.operator.get(&format!("{path}?cursor={cursor}"));
            if path == *of && filter.is_empty() {
                assert_eq!(answer.status, 200, "{answer:?}");
            } else {
                refused(&answer, 400, "bad_cursor");
            }
        }
    }
}

#[test]
fn a_route_is_explained_without_being_taken() {
    let served = Served::new();
    let route = |body: &Value| served.operator.post("/v1/routing/route", body);
    let nobody = route(&task());
    assert_eq!(nobody.status, 200, "{nobody:?}");
    assert_eq!(nobody.json()["reason"], "no_capable_agent");
    register(&served, &format!("{AGENT}1"));
    assert_eq!(
        route(&task()).json()["reason"],
        "none_free",
        "it does not ask for work"
    );
    let strange = json!({"kind": "acme/strange", "title": "t", "instructions": "i"});
    refused(&route(&strange), 422, "kind_not_allowed");
    assert_eq!(served.operator.get("/v1/tasks").json()["tasks"], json!([]));
    let none = served.operator.get("/v1/routing/decisions").json();
    assert_eq!(none["decisions"], json!([]));
}

#[test]
fn a_task_is_read_with_what_was_asked_and_what_was_done() {
    let served = Served::new();
    let mut asked = task();
    asked["input"] = json!({"text": "one two"});
    asked["requires"] = json!({"languages": ["en"]});
    let id = served.submit(&asked);
    let path = format!("/v1/tasks/{id}");
    let spec = served.operator.get(&path).json()["spec"].clone();
    assert_eq!(spec["instructions"], "count the words");
    assert_eq!(spec["input"], json!({"text": "one two"}));
    assert_eq!(spec["requires"]["languages"], json!(["en"]));
    assert_eq!(spec["constraints"]["max_attempts"], 3);
    let listed = served.operator.get("/v1/tasks").json();
    assert!(listed["tasks"][0]["spec"].is_null(), "a list has no inputs");
    let because = json!({"reason": "not needed"});
    let cancelled = served.operator.post(&format!("{path}/cancel"), &because);
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let events = served.operator.get(&format!("{path}/events")).json();
    let events = events["events"].as_array().expect("events").clone();
    assert_eq!(events.len(), 2, "{events:?}");
    assert_eq!(events[0]["actions"][0], "task.cancel");
    assert_eq!(events[0]["detail"]["reason"], "not needed");
    assert_eq!(
        (&events[0]["version"], &events[1]["version"]),
        (&json!(2), &json!(1))
    );
}

#[test]
fn an_agent_is_read_and_removed() {
    let served = Served::new();
    let path = format!("/v1/agents/{AGENT}1");
    refused(&served.operator.get(&path), 404, "not_found");
    register(&served, &format!("{AGENT}1"));
    let performance = served.operator.get(&format!("{path}/performance")).json();
    assert_eq!(performance["kinds"], json!([]));
    let removed = served.operator.call("DELETE", &path, &[], b"");
    assert_eq!(removed.status, 204, "{removed:?}");
    let again = served.operator.call("DELETE", &path, &[], b"");
    refused(&again, 404, "not_found");
    assert_eq!(served.operator.get("/v1/agents").json()["agents"], json!([]));
}

#[test]
fn files_are_listed_and_counted() {
    let served = Served::new();
    let digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let headers = [("content-type", "application/octet-stream")];
    let put = served
        .operator
        .call("PUT", &format!("/v1/artifacts/{digest}"), &headers, b"hello");
    assert_eq!(put.status, 200, "{put:?}");
    let list = served.operator.get("/v1/artifacts").json();
    assert_eq!(list["artifacts"], json!([{"digest": digest, "size_bytes": 5}]));
    let quota = served.operator.get("/v1/artifacts/quota").json();
    assert_eq!(quota["used_bytes"], 5);
    assert!(quota["quota_bytes"].as_u64().expect("a quota") > 5);
}

#[test]
fn the_node_tells_how_it_stands() {
    let served = Served::new();
    served.submit(&task());
    let status = served.operator.get("/v1/system/status").json();
    assert_eq!(
        (&status["ready"], &status["tasks"]["queued"]),
        (&json!(true), &json!(1))
    );
    assert!(status["audit"]["entries"].as_u64().expect("entries") >= 1);
    assert_eq!(status["calls"]["taken"], 1, "this one");
    let operator = served.plain_operator();
    refused(&operator.get("/v1/audit/export"), 403, "forbidden");
    let backup = operator.post("/v1/system/backup", &json!(null));
    refused(&backup, 403, "forbidden");
}
