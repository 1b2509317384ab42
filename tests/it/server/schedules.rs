//! Schedules over HTTP.

use serde_json::json;

use super::{Served, refused, task};

#[test]
fn a_schedule_is_made_once_read_changed_and_deleted() {
    let served = Served::new();
    let operator = &served.operator;
    let form = json!({
        "name": "report", "cron": "30 2 * * mon-fri", "time_zone": "europe/berlin", "task": task(),
        "catch_up": "all", "catch_up_limit": 5, "jitter_seconds": 60,
    });
    let key = [("idempotency-key", "s-1")];
    let made = operator.send("POST", "/v1/schedules", &key, &form);
    let again = operator.send("POST", "/v1/schedules", &key, &form);
    assert_eq!((made.status, again.status), (201, 200), "{made:?}");
    assert_eq!(made.json()["id"], again.json()["id"]);
    assert_eq!(made.header("etag"), Some("\"1\""));
    let path = made.header("location").expect("where it is").to_owned();
    let read = operator.get(&path).json();
    assert_eq!(read["time_zone"], "Europe/Berlin");
    assert_eq!(read["task"]["title"], "count");
    assert_eq!(read["catch_up_limit"], 5);
    assert!(
        read["next"]["local"]
            .as_str()
            .is_some_and(|local| local.contains("T02:30:00+0"))
    );
    let mut other = form.clone();
    other["name"] = json!("another");
    refused(
        &operator.send("POST", "/v1/schedules", &key, &other),
        409,
        "idempotency_conflict",
    );

    let pause = json!({"paused": true, "reason": "maintenance"});
    let stale = operator.send("PATCH", &path, &[("if-match", "\"7\"")], &pause);
    refused(&stale, 412, "precondition_failed");
    let paused = operator.send("PATCH", &path, &[("if-match", "\"1\"")], &pause);
    assert_eq!((paused.status, paused.header("etag")), (200, Some("\"2\"")));
    assert_eq!(paused.json()["paused"]["note"], "maintenance");
    assert!(paused.json()["next"].is_null());
    let next = operator.get(&format!("{path}/next?count=3")).json();
    assert_eq!(next["instants"].as_array().map(Vec::len), Some(3));
    let shown = operator.get("/v1/schedules/preview?cron=0%200%2029%202%20*&time_zone=Asia/Tokyo&count=1");
    assert!(
        shown.json()["instants"][0]["local"]
            .as_str()
            .is_some_and(|local| local.ends_with("-02-29T00:00:00+09:00"))
    );

    let second = operator.post("/v1/schedules", &other);
    assert_eq!(second.status, 201);
    let page = operator.get("/v1/schedules?limit=1").json();
    let cursor = page["next"].as_str().expect("there is more");
    let rest = operator.get(&format!("/v1/schedules?cursor={cursor}")).json();
    assert_eq!(rest["schedules"].as_array().map(Vec::len), Some(1));
    refused(&operator.get("/v1/schedules?cursor=x"), 400, "bad_cursor");

    let gone = operator.call("DELETE", &path, &[("if-match", "\"2\"")], b"");
    assert_eq!(gone.status, 204, "{gone:?}");
    refused(&operator.get(&path), 404, "not_found");
}

#[test]
fn what_breaks_a_rule_is_named() {
    let served = Served::new();
    let good = json!({"name": "report", "cron": "30 2 * * *", "task": task()});
    let with = |field: &str, value: serde_json::Value| {
        let mut form = good.clone();
        form[field] = value;
        served.operator.post("/v1/schedules", &form)
    };
    refused(&with("cron", json!("30 2 * *")), 422, "invalid_value");
    refused(&with("time_zone", json!("Mars/Olympus")), 422, "invalid_value");
    refused(&with("catch_up_limit", json!(5)), 422, "invalid_value");
    refused(&with("zone", json!("UTC")), 400, "unsupported_field");
    let mut later = task();
    later["not_before"] = json!("2030-01-01T00:00:00Z");
    let later = with("task", later);
    refused(&later, 422, "invalid_value");
    assert_eq!(later.json()["field"], "task");
}
