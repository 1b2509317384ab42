//! Principals, keys, policies and operations on many tasks, as an operator calls them.

use arbiter_tests::http::Caller;
use serde_json::{Value, json};

use super::{Served, refused, task};

/// A principal with a key, and a caller that uses it.
fn principal(served: &Served, form: &Value) -> (String, String, Caller) {
    let made = served.operator.post("/v1/principals", form);
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let (key, caller) = key(served, &id);
    (id, key, caller)
}

fn key(served: &Served, principal: &str) -> (String, Caller) {
    let made = served
        .operator
        .post(&format!("/v1/principals/{principal}/keys"), &json!({}));
    assert_eq!(made.status, 201, "{made:?}");
    let told = made.json();
    let id = told["key"]["id"].as_str().expect("an id").to_owned();
    let secret = told["secret"].as_str().expect("a secret");
    (id, Caller::new(&served.serving, Some(secret)))
}

#[test]
fn a_principal_works_until_it_is_disabled() {
    let served = Served::new();
    let form = json!({"name": "Ada", "kind": "user", "roles": ["submitter"]});
    let (id, key, ada) = principal(&served, &form);
    assert_eq!(ada.post("/v1/tasks", &task()).status, 201);
    refused(&ada.get("/v1/principals"), 403, "forbidden");
    let path = format!("/v1/principals/{id}");
    let read = served.operator.get(&path);
    // Its key is a change of it too.
    assert_eq!(read.header("etag"), Some("\"2\""), "{read:?}");
    let keys = served.operator.get(&format!("{path}/keys")).json();
    assert_eq!(
        (&keys["keys"][0]["id"], &keys["keys"][0]["state"]),
        (&json!(key), &json!("live"))
    );
    assert!(keys["keys"][0]["last_used_at"].is_string(), "{keys}");
    let disable = json!({"disabled": true});
    let stale = [("if-match", "\"1\"")];
    let answer = served.operator.send("PATCH", &path, &stale, &disable);
    refused(&answer, 412, "precondition_failed");
    let answer = served.operator.send("PATCH", &path, &[], &disable);
    assert_eq!(answer.status, 200, "{answer:?}");
    refused(&ada.get("/v1/tasks"), 401, "auth_failed");
    let listed = served.operator.get("/v1/principals").json();
    let names = listed["principals"].as_array().expect("a page").iter();
    assert!(names.clone().any(|known| known["name"] == "Ada") && names.len() >= 2);
}

#[test]
fn nobody_rises_above_what_the_caller_may_give() {
    let served = Served::new();
    let (id, _, other) = principal(&served, &json!({"name": "Bob", "roles": ["operator"]}));
    let admin = json!({"name": "Eve", "roles": ["admin"]});
    refused(&other.post("/v1/principals", &admin), 403, "forbidden");
    let rise = json!({"roles": ["operator", "admin"]});
    let answer = other.send("PATCH", &format!("/v1/principals/{id}"), &[], &rise);
    refused(&answer, 403, "forbidden");
    let (boss, _, _) = principal(&served, &admin);
    refused(
        &other.post(&format!("/v1/principals/{boss}/keys"), &json!({})),
        403,
        "forbidden",
    );
    let foreign = "?tenant=00000000-0000-7000-8000-00000000beef";
    refused(&other.get(&format!("/v1/principals{foreign}")), 403, "forbidden");
    let made = served.operator.post(&format!("/v1/principals{foreign}"), &admin);
    refused(&made, 404, "not_found");
}

#[test]
fn keys_are_rotated_with_an_overlap_and_revoked_at_once() {
    let served = Served::new();
    let (id, old, caller) = principal(&served, &json!({"name": "job", "roles": ["submitter"]}));
    let path = format!("/v1/principals/{id}/keys");
    let rotated = served
        .operator
        .post(&format!("{path}/{old}/rotate"), &json!({"overlap_seconds": 600}));
    assert_eq!(rotated.status, 201, "{rotated:?}");
    let secret = rotated.json()["secret"].as_str().expect("a secret").to_owned();
    let new = Caller::new(&served.serving, Some(&secret));
    assert_eq!(
        (caller.get("/v1/tasks").status, new.get("/v1/tasks").status),
        (200, 200)
    );
    refused(&served.operator.post(&path, &json!({})), 413, "too_large");
    let revoked = served.operator.call("DELETE", &format!("{path}/{old}"), &[], b"");
    assert_eq!(
        (revoked.status, &revoked.json()["state"]),
        (200, &json!("revoked"))
    );
    refused(&caller.get("/v1/tasks"), 401, "auth_failed");
    assert_eq!(new.get("/v1/tasks").status, 200);
}

#[test]
fn a_policy_for_agents_opens_no_call_that_concerns_every_tenant() {
    let served = Served::new();
    let (_, _, operator) = principal(&served, &json!({"name": "Bob", "roles": ["operator"]}));
    let actions =
        ["list", "heartbeat", "learn", "remove"].map(|word| format!("Arbiter::Action::\"agent.{word}\""));
    let text = format!(
        "@id(\"wide\")\npermit(principal, action in [{}], resource);",
        actions.join(", ")
    );
    let activated = served
        .operator
        .post("/v1/policies/activate", &json!({"files": {"extra.cedar": text}}));
    assert_eq!(activated.status, 200, "{activated:?}");
    assert_eq!(operator.get("/v1/agents").status, 200, "of its own tenant");
    for path in ["changes", "heard"] {
        refused(&operator.get(&format!("/v1/agents/{path}")), 403, "forbidden");
    }
    let forms = [
        ("heartbeats", json!({"beats": []})),
        ("outcomes", json!({"outcomes": []})),
        ("remove-silent", json!({"since": "2100-01-01T00:00:00Z"})),
    ];
    for (path, form) in forms {
        refused(
            &operator.post(&format!("/v1/agents/{path}"), &form),
            403,
            "forbidden",
        );
    }
    assert_eq!(served.operator.get("/v1/agents/heard").status, 200, "an admin");
}

#[test]
fn policies_are_checked_by_operators_and_activated_by_admins() {
    let served = Served::new();
    let (_, _, operator) = principal(&served, &json!({"name": "Bob", "roles": ["operator"]}));
    let admin = &served.operator;
    let text = "@id(\"calm\")\nforbid(principal, action == Arbiter::Action::\"task.cancel\", resource);";
    let files = json!({"files": {"extra.cedar": text}});
    let checked = operator.post("/v1/policies/check", &files).json();
    assert_eq!(
        checked,
        json!({"valid": true, "problems": [], "policies": ["extra.cedar#calm"]})
    );
    let broken = json!({"files": {"extra.cedar": "\nforbid(principal action, resource);"}});
    let checked = operator.post("/v1/policies/check", &broken).json();
    assert_eq!(
        (&checked["valid"], &checked["problems"][0]["line"]),
        (&json!(false), &json!(2))
    );
    refused(&operator.post("/v1/policies/activate", &files), 403, "forbidden");
    refused(&operator.get("/v1/policies"), 403, "forbidden");
    let diff = admin.post("/v1/policies/diff", &files).json();
    assert_eq!(diff["added"], json!(["extra.cedar#calm"]));
    let task = served.submit(&task());
    let cancel = |path: &str| operator.post(path, &json!({"reason": "enough"}));
    let path = format!("/v1/tasks/{task}/cancel");
    let activated = admin.post("/v1/policies/activate", &files);
    assert_eq!((activated.status, activated.header("etag")), (200, Some("\"1\"")));
    refused(&cancel(&path), 403, "forbidden");
    refused(
        &admin.post("/v1/policies/activate", &broken),
        422,
        "invalid_value",
    );
    let lock_out = "forbid(principal, action, resource);";
    let lock_out = json!({"files": {"extra.cedar": lock_out}});
    refused(
        &admin.post("/v1/policies/activate", &lock_out),
        422,
        "invalid_value",
    );
    refused(&cancel(&path), 403, "forbidden");
    // It is in force after a restart too, until it is rolled back.
    let place = served.place;
    assert_eq!(served.serving.stop().code(), Some(0));
    let again = Served::at(place, "", &[]);
    let retried = again.operator.post(&path, &json!({"reason": "enough"}));
    refused(&retried, 403, "forbidden");
    let back = again
        .operator
        .post("/v1/policies/roll-back", &json!({"number": 0}));
    assert_eq!(back.status, 200, "{back:?}");
    let done = again.operator.post(&path, &json!({"reason": "enough"}));
    assert_eq!(done.status, 200, "{done:?}");
    let sets = again.operator.get("/v1/policies/sets").json();
    assert_eq!(sets["sets"][0]["number"], 1);
}

#[test]
fn many_tasks_are_cancelled_after_a_dry_run() {
    let served = Served::new();
    let ids: Vec<String> = (0..3).map(|_| served.submit(&task())).collect();
    let dry = json!({"kind": "analysis", "dry_run": true, "reason": "a mistake"});
    let told = served.operator.post("/v1/tasks/cancel-many", &dry).json();
    assert_eq!(
        (&told["matched"], &told["done"], &told["sample"]),
        (&json!(3), &json!(0), &json!(ids))
    );
    let real = json!({"kind": "analysis", "reason": "a mistake"});
    let told = served.operator.post("/v1/tasks/cancel-many", &real).json();
    assert_eq!((&told["matched"], &told["done"]), (&json!(3), &json!(3)));
    for id in ids {
        let task = served.operator.get(&format!("/v1/tasks/{id}")).json();
        assert_eq!(task["state"], "cancelled");
    }
    let bare = served
        .operator
        .post("/v1/tasks/cancel-many", &json!({"dry_run": true}));
    refused(&bare, 422, "invalid_value");
}
