//! Tenants and pauses, as the operator of one tenant sees them.

use serde_json::json;

use super::{Served, refused};

const HOME: &str = "00000000-0000-7000-8000-000000000001";
const OTHER: &str = "00000000-0000-7000-8000-000000000002";

#[test]
fn an_operator_reads_its_tenant_and_changes_none() {
    let served = Served::new();
    let operator = served.plain_operator();
    let listed = operator.get("/v1/tenants").json();
    assert_eq!(listed["tenants"][0]["id"], HOME);
    assert_eq!(listed["tenants"].as_array().map(Vec::len), Some(1));
    let home = operator.get(&format!("/v1/tenants/{HOME}"));
    assert_eq!((home.status, home.header("etag")), (200, Some("\"1\"")));
    assert_eq!(home.json()["name"], "default");
    for absent in [OTHER, "no-id", "00000000-0000-0000-0000-000000000000"] {
        refused(&operator.get(&format!("/v1/tenants/{absent}")), 404, "not_found");
        let change = operator.send(
            "PATCH",
            &format!("/v1/tenants/{absent}"),
            &[],
            &json!({"weight": 2}),
        );
        refused(&change, 404, "not_found");
    }
    let change = operator.send(
        "PATCH",
        &format!("/v1/tenants/{HOME}"),
        &[],
        &json!({"weight": 2}),
    );
    refused(&change, 403, "forbidden");
    let because = json!({"reason": "why"});
    let suspend = operator.post(&format!("/v1/tenants/{HOME}/suspend"), &because);
    refused(&suspend, 403, "forbidden");
    let made = operator.post("/v1/tenants", &json!({"name": "mine"}));
    refused(&made, 403, "forbidden");
    refused(&operator.get("/v1/tenants?cursor=x"), 400, "bad_cursor");
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
