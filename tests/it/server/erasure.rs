//! Erasures over HTTP: what was kept of a tenant, a person, a task is told nowhere, and stands in no file.

use std::io::Write as _;
use std::path::Path;

use arbiter_tests::http::{Caller, read};
use arbiter_tests::wait_until;
use serde_json::{Value, json};

use super::{Served, refused, task, work::agent_key};

/// What is to be erased. Nothing in it looks like a secret, so nothing redacts it before.
const CANARY: &str = "the heron of the north pond";
/// What a person wrote.
const OTTER: &str = "the otter by the old mill";

fn hits(folder: &Path) -> Vec<String> {
    hits_of(folder, CANARY)
}

fn hits_of(folder: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(hits_of(&path, text));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        let canary = text.as_bytes();
        if bytes.windows(canary.len()).any(|window| window == canary) {
            found.push(path.display().to_string());
        }
    }
    found
}

fn secret_task() -> Value {
    let mut task = task();
    task["title"] = json!(CANARY);
    task["instructions"] = json!(format!("{CANARY} ").repeat(500));
    task["input"] = json!({ "text": CANARY });
    // What hooks are told.
    task["labels"] = json!({ "customer": CANARY });
    task
}

/// A tenant, and a caller of it who is operator and submitter.
fn guest(served: &Served) -> (String, Caller) {
    let made = served.operator.post("/v1/tenants", &json!({"name": CANARY}));
    assert_eq!(made.status, 201, "{made:?}");
    let tenant = made.json()["id"].as_str().expect("an id").to_owned();
    let form = json!({"name": CANARY, "roles": ["operator", "submitter"]});
    let path = format!("/v1/principals?tenant={tenant}");
    let made = served.operator.post(&path, &form).json();
    let id = made["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/principals/{id}/keys?tenant={tenant}");
    let key = served.operator.post(&path, &json!({})).json();
    (tenant, Caller::new(&served.serving, key["secret"].as_str()))
}

fn post(caller: &Caller, path: &str, form: &Value) -> Value {
    let answer = caller.post(path, form);
    assert!((200..300).contains(&answer.status), "{path}: {answer:?}");
    answer.json()
}

#[test]
fn a_deleted_tenant_is_in_no_answer_and_in_no_file() {
    let served = Served::new();
    let (tenant, guest) = guest(&served);
    let hook = json!({"url": "https://example.invalid/x", "events": ["closed"]});
    post(&guest, "/v1/hooks", &hook);
    for _ in 0..20 {
        post(&guest, "/v1/tasks", &secret_task());
    }
    let cancel = json!({"reason": CANARY, "limit": 5});
    assert_eq!(post(&guest, "/v1/tasks/cancel-many", &cancel)["done"], 5);
    let digest = arbiter_core::model::Digest::of(CANARY.as_bytes()).to_string();
    let stored = guest.call("PUT", &format!("/v1/artifacts/{digest}"), &[], CANARY.as_bytes());
    assert_eq!(stored.status, 200, "{stored:?}");
    let schedule = json!({"name": CANARY, "cron": "0 3 * * *", "time_zone": "UTC", "task": secret_task()});
    post(&guest, "/v1/schedules", &schedule);
    let own = served.submit(&task());
    let folder = served.place.path("data");
    assert!(!hits(&folder).is_empty(), "there is something to erase");

    let path = format!("/v1/tenants/{tenant}");
    let because = json!({"reason": "the contract ended"});
    let early = served.operator.post(&format!("{path}/delete"), &because);
    refused(&early, 422, "invalid_value");
    post(&served.operator, &format!("{path}/suspend"), &because);
    let deleted = served.operator.post(&format!("{path}/delete"), &because);
    assert_eq!(deleted.status, 202, "{deleted:?}");
    assert!(deleted.header("etag").is_some());
    wait_until("the tenant's data is erased", || {
        served.operator.get(&path).json()["deleted"]["erased_at"].is_string()
    });
    let shown = served.operator.get(&path).json();
    assert_eq!(shown["name"], "");
    refused(&guest.get("/v1/tasks"), 401, "auth_failed");
    let listed = served.operator.get("/v1/tenants").json();
    assert_eq!(listed["tenants"].as_array().map(Vec::len), Some(1), "{listed}");
    refused(
        &served.operator.post(&format!("{path}/resume"), &because),
        422,
        "invalid_value",
    );
    let told = served
        .operator
        .get(&format!("/v1/erasures?tenant={tenant}"))
        .json();
    assert_eq!(told["erasures"][0]["subject"], "tenant");
    assert_eq!(told["erasures"][0]["stage"], "done");
    assert_eq!(
        served.operator.get(&format!("/v1/tasks/{own}")).status,
        200,
        "others' tasks stay"
    );
    // The server runs on: nothing was left for its end.
    assert_eq!(hits(&folder), [""; 0]);
    assert_eq!(served.serving.stop().code(), Some(0));
    assert_eq!(hits(&folder), [""; 0]);
    let verified = served.place.run(&["audit", "verify"]);
    assert_eq!(verified.code(), 0, "{verified:?}");
}

#[test]
fn a_task_and_a_person_are_erased_by_an_operator_of_their_tenant() {
    let place = arbiter_tests::Place::new();
    let key = agent_key(&place, "puller");
    let served = Served::at(place, "", &[]);
    let agent = Caller::new(&served.serving, Some(&key));
    let profile = json!({"name": "puller", "model_family": "none", "kinds": ["analysis"]});
    post(&agent, "/v1/agents", &profile);
    let operator = served.plain_operator();
    let erased = served.submit(&secret_task());
    let claim = json!({"slots": 1, "wait_seconds": 20});
    let work = post(&agent, "/v1/work/claim", &claim)["work"][0].clone();
    let attempt = json!({"task": work["task"], "tenant": work["tenant"], "fence": work["fence"]});
    let report = json!({"attempt": attempt, "output": {"text": CANARY}});
    assert_eq!(agent.post("/v1/work/report", &report).status, 204);
    let kept = served.submit(&task());

    let form = json!({"subject": "task", "id": erased, "reason": "asked for by letter"});
    let (_, stranger) = guest(&served);
    refused(&stranger.post("/v1/erasures", &form), 404, "not_found");
    refused(&agent.post("/v1/erasures", &form), 403, "forbidden");
    let none = json!({"subject": "task", "id": "018f1e6a-7b2c-7d3e-8f40-a1b2c3d4e5f6", "reason": "x"});
    refused(&operator.post("/v1/erasures", &none), 404, "not_found");
    let asked = operator.post("/v1/erasures", &form);
    assert_eq!(asked.status, 202, "{asked:?}");
    let path = asked.header("location").expect("a place").to_owned();
    wait_until("the task is erased", || {
        operator.get(&path).json()["stage"] == "done"
    });
    refused(&operator.get(&format!("/v1/tasks/{erased}")), 404, "not_found");
    assert_eq!(operator.get(&format!("/v1/tasks/{kept}")).status, 200);
    refused(&stranger.get(&path), 404, "not_found");

    let person = json!({"name": "ann", "roles": ["submitter", "operator"]});
    let person = post(&served.operator, "/v1/principals", &person)["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let key = post(
        &served.operator,
        &format!("/v1/principals/{person}/keys"),
        &json!({}),
    );
    let ann = Caller::new(&served.serving, key["secret"].as_str());
    let own = post(&ann, "/v1/tasks", &secret_task())["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let mut otter = secret_task();
    for field in ["title", "instructions"] {
        otter[field] = json!(OTTER);
    }
    post(&ann, "/v1/tasks", &otter);
    let schedule = json!({"name": OTTER, "cron": "0 3 * * *", "time_zone": "UTC", "task": otter});
    post(&ann, "/v1/schedules", &schedule);
    // Begins to send a task, and a file of her own that another one has not.
    let late = otter.to_string();
    let (head, tail) = late.split_at(10);
    let json_type = [("content-type", "application/json")];
    let mut slow = ann.open("POST", "/v1/tasks", &json_type, Some(late.len()));
    slow.get_mut().write_all(head.as_bytes()).expect("sent");
    let digest = arbiter_core::model::Digest::of(OTTER.as_bytes()).to_string();
    let path = format!("/v1/artifacts/{digest}");
    let mut upload = ann.open("PUT", &path, &[], Some(OTTER.len()));
    upload.get_mut().write_all(&OTTER.as_bytes()[..5]).expect("sent");

    let form = json!({"subject": "principal", "id": person, "reason": "she left"});
    let path = operator
        .post("/v1/erasures", &form)
        .header("location")
        .expect("a place")
        .to_owned();
    refused(&ann.get("/v1/tasks"), 401, "auth_failed");
    wait_until("the person is erased", || {
        operator.get(&path).json()["stage"] == "done"
    });
    refused(&operator.get(&format!("/v1/tasks/{own}")), 404, "not_found");
    refused(
        &operator.get(&format!("/v1/principals/{person}")),
        404,
        "not_found",
    );
    // What was begun before does not come in after it.
    slow.get_mut().write_all(tail.as_bytes()).expect("sent");
    refused(&read(&mut slow), 401, "auth_failed");
    upload.get_mut().write_all(&OTTER.as_bytes()[5..]).expect("sent");
    refused(&read(&mut upload), 403, "forbidden");
    let again = operator.post("/v1/erasures", &form);
    assert_eq!(
        (again.status, &again.json()["stage"]),
        (202, &json!("done")),
        "{again:?}"
    );
    let folder = served.place.path("data");
    assert_eq!(hits_of(&folder, OTTER), [""; 0]);
    assert_eq!(served.serving.stop().code(), Some(0));
    assert_eq!(hits_of(&folder, OTTER), [""; 0]);
    let verified = served.place.run(&["audit", "verify"]);
    assert_eq!(verified.code(), 0, "{verified:?}");
}

#[test]
fn closed_tasks_are_purged_by_a_filter_and_a_detail_is_redacted() {
    let served = Served::new();
    let operator = served.plain_operator();
    let ids: Vec<String> = (0..3).map(|_| served.submit(&task())).collect();
    for id in &ids[..2] {
        let reason = json!({ "reason": CANARY });
        post(&served.operator, &format!("/v1/tasks/{id}/cancel"), &reason);
    }
    let form = json!({"reason": "old", "limit": 10, "dry_run": true});
    let dry = post(&operator, "/v1/tasks/purge-many", &form);
    assert_eq!((&dry["matched"], &dry["done"]), (&json!(2), &json!(0)));
    let form = json!({"reason": "old", "limit": 10});
    let done = post(&operator, "/v1/tasks/purge-many", &form);
    assert_eq!((&done["matched"], &done["done"]), (&json!(2), &json!(2)));
    refused(&operator.get(&format!("/v1/tasks/{}", ids[0])), 404, "not_found");
    assert_eq!(operator.get(&format!("/v1/tasks/{}", ids[2])).status, 200);

    let query = format!("/v1/audit/entries?action=cancelled&resource={}", ids[0]);
    let entry = operator.get(&query).json()["entries"][0].clone();
    assert_eq!(entry["detail"]["reason"], CANARY, "{entry}");
    let path = format!("/v1/audit/entries/{}/redact", entry["index"]);
    let because = json!({"reason": "a name stood in it"});
    let (_, stranger) = guest(&served);
    refused(&stranger.post(&path, &because), 404, "not_found");
    refused(
        &operator.post("/v1/audit/entries/01/redact", &because),
        404,
        "not_found",
    );
    refused(
        &operator.post("/v1/audit/entries/999999/redact", &because),
        404,
        "not_found",
    );
    refused(&operator.post(&path, &json!({"reason": ""})), 422, "invalid_task");
    assert_eq!(post(&operator, &path, &because)["removed"], true);
    assert_eq!(post(&operator, &path, &because)["removed"], false);
    assert_eq!(operator.get(&query).json()["entries"][0]["detail"], Value::Null);
    assert_eq!(served.serving.stop().code(), Some(0));
    let verified = served.place.run(&["audit", "verify"]);
    assert_eq!(verified.code(), 0, "{verified:?}");
}
