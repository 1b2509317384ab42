//! Tenants and pauses.

use arbiter_tests::http::Caller;
use serde_json::{Value, json};

use super::{Served, refused, task};

const HOME: &str = "00000000-0000-7000-8000-000000000001";
const OTHER: &str = "00000000-0000-7000-8000-000000000002";

impl Served {
    /// A caller of a tenant with one role.
    fn someone(&self, tenant: &str, role: &str) -> Caller {
        let form = json!({"name": role, "roles": [role]});
        let made = self
            .operator
            .post(&format!("/v1/principals?tenant={tenant}"), &form);
        assert_eq!(made.status, 201, "{made:?}");
        let id = made.json()["id"].as_str().expect("an id").to_owned();
        let key = format!("/v1/principals/{id}/keys?tenant={tenant}");
        let key = self.operator.post(&key, &json!({}));
        assert_eq!(key.status, 201, "{key:?}");
        Caller::new(&self.serving, key.json()["secret"].as_str())
    }

    /// A new tenant, made by the admin.
    fn tenant(&self, form: &Value) -> String {
        let made = self.operator.post("/v1/tenants", form);
        assert_eq!(made.status, 201, "{made:?}");
        let id = made.json()["id"].as_str().expect("an id").to_owned();
        assert_eq!(
            made.header("location"),
            Some(format!("/v1/tenants/{id}").as_str())
        );
        id
    }
}

#[test]
fn an_operator_reads_its_tenant_and_changes_none() {
    let served = Served::new();
    let operator = served.plain_operator();
    served.tenant(&json!({"name": "other"}));
    let listed = operator.get("/v1/tenants").json();
    assert_eq!(listed["tenants"][0]["id"], HOME);
    assert_eq!(listed["tenants"].as_array().map(Vec::len), Some(1));
    let home = operator.get(&format!("/v1/tenants/{HOME}"));
    assert_eq!((home.status, home.header("etag")), (200, Some("\"1\"")));
    assert_eq!(home.json()["name"], "default");
    let (weight, because) = (json!({"weight": 2}), json!({"reason": "why"}));
    for (id, status, code) in [
        (HOME, 403, "forbidden"),
        (OTHER, 404, "not_found"),
        ("no-id", 404, "not_found"),
        ("00000000-0000-0000-0000-000000000000", 404, "not_found"),
    ] {
        let path = format!("/v1/tenants/{id}");
        if status == 404 {
            refused(&operator.get(&path), status, code);
        }
        refused(&operator.send("PATCH", &path, &[], &weight), status, code);
        refused(&operator.post(&format!("{path}/suspend"), &because), status, code);
        refused(&operator.post(&format!("{path}/resume"), &because), status, code);
    }
    let made = operator.post("/v1/tenants", &json!({"name": "mine"}));
    refused(&made, 403, "forbidden");
    refused(&operator.get("/v1/tenants?cursor=x"), 400, "bad_cursor");
}

#[test]
fn an_admin_makes_limits_and_suspends_a_tenant() {
    let served = Served::new();
    let limits = json!({"open_tasks": 1, "running_per_kind": {"writing": 2}});
    let id = served.tenant(&json!({"name": "guests", "weight": 3, "limits": limits}));
    let path = format!("/v1/tenants/{id}");
    let read = served.operator.get(&path);
    assert_eq!(
        (&read.json()["weight"], &read.json()["limits"]),
        (&json!(3), &limits)
    );
    let first = served.operator.get("/v1/tenants?limit=1").json();
    let next = first["next"].as_str().expect("more");
    let rest = served.operator.get(&format!("/v1/tenants?limit=1&cursor={next}"));
    assert_eq!(rest.json()["tenants"][0]["id"], json!(id));

    let guest = served.someone(&id, "submitter");
    assert_eq!(guest.post("/v1/tasks", &task()).status, 201);
    refused(&guest.post("/v1/tasks", &task()), 503, "backlog_full");
    let kinds = json!({"limits": {"kinds": ["acme/paint"]}});
    let tag = read.header("etag").expect("a version");
    let changed = served.operator.send("PATCH", &path, &[("if-match", tag)], &kinds);
    assert_eq!(changed.status, 200, "{changed:?}");
    let stale = served.operator.send("PATCH", &path, &[("if-match", tag)], &kinds);
    refused(&stale, 412, "precondition_failed");
    refused(&guest.post("/v1/tasks", &task()), 422, "kind_not_allowed");

    let because = json!({"reason": "unpaid"});
    let suspended = served.operator.post(&format!("{path}/suspend"), &because);
    assert_eq!(suspended.json()["suspended"]["reason"], "unpaid");
    for asked in ["/v1/tasks", "/v1/queue", "/v1/tasks/no-id", "/v1/hooks"] {
        let answer = guest.get(asked);
        assert!([403, 404].contains(&answer.status), "{asked}: {answer:?}");
    }
    refused(&guest.post("/v1/tasks", &task()), 403, "forbidden");
    let own = served
        .operator
        .post(&format!("/v1/tenants/{HOME}/suspend"), &because);
    refused(&own, 422, "invalid_value");
    let resumed = served.operator.post(&format!("{path}/resume"), &because);
    assert_eq!(resumed.json()["suspended"], Value::Null);
    assert_eq!(guest.get("/v1/tasks").status, 200);
}

#[test]
fn an_operator_pauses_its_tenant_until_it_resumes_it() {
    let served = Served::new();
    let operator = served.plain_operator();
    let pause = |form| operator.post("/v1/queue/pause", &form);
    let paused = pause(json!({"what": "tenant", "reason": "upkeep"}));
    assert_eq!(paused.status, 200, "{paused:?}");
    assert_eq!(paused.json()["tenant"], HOME);
    let kind = pause(json!({"what": "kind", "kind": "writing", "reason": "upkeep"}));
    assert_eq!(kind.json()["kind"], "writing");
    let status = operator.get("/v1/queue").json();
    assert_eq!(status["pauses"].as_array().map(Vec::len), Some(2), "{status}");
    assert_eq!(
        (&status["tenant"], &status["tasks"]["open"]),
        (&json!(HOME), &json!(0))
    );
    let resume = json!({"what": "tenant", "reason": "done"});
    assert_eq!(operator.post("/v1/queue/resume", &resume).status, 204);
    refused(&operator.post("/v1/queue/resume", &resume), 404, "not_found");

    refused(&pause(json!({"what": "queue", "reason": "x"})), 403, "forbidden");
    let everywhere = json!({"what": "kind", "kind": "writing", "everywhere": true, "reason": "x"});
    refused(&pause(everywhere), 403, "forbidden");
    let other = json!({"what": "tenant", "tenant": OTHER, "reason": "x"});
    refused(&pause(other), 404, "not_found");
    refused(
        &pause(json!({"what": "tenant", "reason": " "})),
        422,
        "invalid_task",
    );
    for stray in [
        json!({"what": "queue", "tenant": HOME, "reason": "x"}),
        json!({"what": "tenant", "kind": "writing", "reason": "x"}),
        json!({"what": "agent", "everywhere": true, "reason": "x"}),
        json!({"what": "kind", "kind": "writing", "tenant": HOME, "everywhere": true, "reason": "x"}),
        json!({"what": "kind", "reason": "x"}),
        json!({"what": "agent", "reason": "x"}),
    ] {
        refused(&pause(stray), 422, "invalid_value");
    }
}

#[test]
fn nothing_of_a_paused_queue_is_given_out_over_a_restart() {
    let served = Served::new();
    let pause = json!({"what": "queue", "reason": "upkeep"});
    assert_eq!(served.operator.post("/v1/queue/pause", &pause).status, 200);
    let Served { place, serving, .. } = served;
    assert_eq!(serving.stop().code(), Some(0));
    let served = Served::at(place, "", &[]);
    let status = served.operator.get("/v1/queue").json();
    assert_eq!(status["pauses"][0]["what"], "queue");
    served.submit(&task());
    let agent = served.someone(HOME, "agent");
    let form = json!({"name": "a", "model_family": "none", "kinds": ["analysis"], "slots": 1});
    let registered = agent.post("/v1/agents", &form);
    assert_eq!(registered.status, 200, "{registered:?}");
    let claim = json!({"slots": 1, "wait_seconds": 1});
    let given = agent.post("/v1/work/claim", &claim);
    assert_eq!(given.json()["work"], json!([]), "{given:?}");
    assert_eq!(served.operator.post("/v1/queue/resume", &pause).status, 204);
    let given = agent.post("/v1/work/claim", &json!({"slots": 1, "wait_seconds": 20}));
    assert_eq!(
        given.json()["work"].as_array().map(Vec::len),
        Some(1),
        "{given:?}"
    );
}
