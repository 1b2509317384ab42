//! The history of measurements, as a server keeps it in its store.

use arbiter_tests::http::Caller;
use arbiter_tests::{Place, wait_until};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::{Served, refused, task};

/// What `/metrics` shows of a metric with one label.
fn shown(caller: &Caller, line: &str) -> Option<f64> {
    let answer = caller.get("/metrics");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    text.lines()
        .find_map(|told| told.strip_prefix(line)?.trim().parse().ok())
}

const STORED: &str = "telemetry_samples_total{outcome=\"stored\"}";

#[test]
fn a_server_adds_what_it_measures_to_the_history() {
    let served = Served::with("[telemetry]\nsample_seconds = 1", &[]);
    let caller = Caller::new(&served.serving, None);
    let mut counts = Vec::new();
    wait_until("samples are stored again and again", || {
        let stored = shown(&caller, STORED);
        if stored.is_some() && stored != counts.last().copied() {
            counts.extend(stored);
        }
        counts.len() > 2
    });
    assert!(counts.is_sorted(), "{counts:?}");
    for outcome in ["late", "without_room", "invalid", "lost"] {
        let line = format!("telemetry_samples_total{{outcome=\"{outcome}\"}}");
        assert_eq!(shown(&caller, &line), None, "{outcome}");
    }
    assert!(served.serving.stop().success());
    let database = Connection::open(served.place.path("data/arbiter.db")).expect("the store");
    let kept = database.query_row(
        "SELECT labels, count(*), max(last) FROM metric_series s JOIN metric_point p ON p.series = s.id
         WHERE name = 'telemetry.samples_total' GROUP BY s.id",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    );
    let (labels, points, last): (String, i64, f64) = kept.expect("its own measurement is one of them");
    assert_eq!(labels, "\nnode\tlocal\noutcome\tstored\n");
    assert!(points >= 2, "{points}");
    assert!(last >= counts[0], "{last} {counts:?}");
}

/// An agent that does everything at once.
const AGENT: &str = r#"
[[agent]]
name = "prompt"
command = ["sh", "-c", "cat > /dev/null; printf '{\"version\":1,\"outcome\":\"succeeded\",\"usage\":{\"cost_micros\":7}}'"]
model_family = "none"
kinds = ["analysis"]
"#;

#[test]
fn what_an_agent_did_is_read_by_kind_and_span_of_time() {
    let place = Place::new();
    let file = place.write("agents.toml", AGENT);
    let arguments = ["--agents", file.to_str().expect("a path")];
    let served = Served::at(place, "[telemetry]\nsample_seconds = 1", &arguments);
    for _ in 0..3 {
        served.submit(&task());
    }
    let agents = served.operator.get("/v1/agents").json();
    let id = agents["agents"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/agents/{id}/performance");
    let since = |text: &str| served.operator.get(&format!("{path}?{text}")).json()["period"]["kinds"].clone();
    wait_until("the attempts are in the history", || {
        since("from=2026-01-01T00:00:00Z")[0]["attempts"] == 3
    });
    let told = &since("from=2026-01-01T00:00:00Z")[0];
    assert_eq!(
        (&told["kind"], &told["succeeded"]),
        (&json!("analysis"), &json!(3))
    );
    assert_eq!((&told["success_rate"], &told["judged"]), (&json!(1.0), &json!(0)));
    assert_eq!(
        (&told["mean_cost_micros"], &told["quality"]),
        (&json!(7.0), &Value::Null)
    );
    assert_eq!(
        since("to=2026-01-01T00:00:00Z"),
        json!([]),
        "before there was anything"
    );
    assert_eq!(since("from=2026-01-01T00:00:00Z&kind=writing"), json!([]));
    let all = served.operator.get(&path).json();
    assert_eq!(
        (&all["kinds"][0]["attempts"], &all["period"]),
        (&json!(3), &Value::Null)
    );
    for bad in [
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "from=yesterday",
        "kind=A%20b",
    ] {
        refused(
            &served.operator.get(&format!("{path}?{bad}")),
            422,
            "invalid_value",
        );
    }
    let shown = served.place.run(&[
        "agent",
        "performance",
        &id,
        "--from",
        "2026-01-01T00:00:00Z",
        "--json",
    ]);
    let shown = shown.json();
    assert_eq!(shown["period"]["kinds"][0]["attempts"], 3);
    assert!(served.serving.stop().success());
    // The same without a server.
    let shown = served
        .place
        .run(&["agent", "performance", &id, "--from", "2026-01-01T00:00:00Z"]);
    let text = &shown.stdout;
    assert!(
        text.lines()
            .any(|line| line.contains("analysis") && line.contains("asked")),
        "{text}"
    );
}

#[test]
fn without_a_history_no_span_of_time_is_told() {
    let place = Place::new();
    let file = place.write("agents.toml", AGENT);
    let arguments = ["--agents", file.to_str().expect("a path")];
    let served = Served::at(place, "[telemetry]\nsample_seconds = 0", &arguments);
    let agents = served.operator.get("/v1/agents").json();
    let id = agents["agents"][0]["id"].as_str().expect("an id").to_owned();
    let answer = served
        .operator
        .get(&format!("/v1/agents/{id}/performance?from=2026-01-01T00:00:00Z"));
    refused(&answer, 422, "invalid_value");
    assert!(
        answer.json()["detail"]
            .as_str()
            .is_some_and(|text| text.contains("telemetry.sample_seconds"))
    );
}

#[test]
fn when_an_agent_of_every_tenant_worked_is_told_to_admins_only() {
    let served = Served::new();
    let admin = &served.operator;
    let system = "tenant=00000000-0000-0000-0000-000000000000";
    let form = json!({"name": "elsewhere", "roles": ["peer"]});
    let peer = admin.post(&format!("/v1/principals?{system}"), &form).json();
    let path = format!(
        "/v1/principals/{}/keys?{system}",
        peer["id"].as_str().expect("an id")
    );
    let key = admin.post(&path, &json!({})).json();
    let peer = Caller::new(&served.serving, key["secret"].as_str());
    let id = "018f1e6a-7b2c-7d3e-8f40-a1b2c3d4e5f6";
    let profile = json!({"id": id, "name": "shared", "model_family": "none", "kinds": ["analysis"]});
    assert_eq!(peer.post("/v1/agents", &profile).status, 200);
    let operator = served.plain_operator();
    let path = format!("/v1/agents/{id}/performance");
    assert_eq!(operator.get(&path).status, 200);
    let since = format!("{path}?from=2026-01-01T00:00:00Z");
    refused(&operator.get(&since), 403, "forbidden");
    assert_eq!(admin.get(&since).json()["period"]["kinds"], json!([]));
}
