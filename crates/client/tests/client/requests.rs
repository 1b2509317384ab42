//! What is sent.

use arbiter_client::{AuditFilter, Client, ClientConfig, TaskFilter};
use arbiter_core::mechanism::SecretText;
use arbiter_core::model::TraceContext;
use arbiter_testkit::StubAnswer;
use arbiter_testkit::builders::task;
use arbiter_wire::http::Because;

use crate::support::{Impatient, World, ports, problem};

#[tokio::test]
async fn calls_carry_key_trace_version_and_query() {
    let world = World::answering(vec![problem("not_found")]).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let client = world.client.in_trace(TraceContext::parse(trace).unwrap());
    let because = Because {
        reason: "why".to_owned(),
    };
    let _refused = client.task_cancel(task(7), Some(5), &because).await;
    let filter = TaskFilter {
        limit: Some(3),
        label: Some("team=a b".to_owned()),
        ..TaskFilter::default()
    };
    let _refused = client.task_list(&filter).await;
    let _refused = client.audit_proof(9).await;
    let filter = AuditFilter {
        from: Some("2026-01-01T00:00:00Z".to_owned()),
        ..AuditFilter::default()
    };
    let _refused = client.audit_query(&filter).await;
    assert_eq!(
        world.asked(),
        [
            format!("POST /v1/tasks/{}/cancel", task(7)),
            "GET /v1/tasks?limit=3&label=team%3Da%20b".to_owned(),
            "GET /v1/audit/entries/9/proof".to_owned(),
            "GET /v1/audit/entries?from=2026-01-01T00%3A00%3A00Z".to_owned(),
        ]
    );
    let seen = world.stub.seen();
    assert_eq!(seen[0].header("if-match"), Some("\"5\""));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(seen[0].body, br#"{"reason":"why"}"#);
    assert!(
        seen.iter()
            .all(|request| request.header("traceparent") == Some(trace))
    );
}

#[tokio::test]
async fn a_node_that_is_not_ready_is_an_answer() {
    let told = r#"{"ready":false,"version":"1","parts":[{"name":"store","ready":false,"why":"away"}]}"#;
    let world = World::answering(vec![
        StubAnswer::reply(503, told),
        StubAnswer::reply(503, "<html>"),
    ])
    .await;
    let ready = world.client.system_ready().await.unwrap();
    assert_eq!(
        (ready.ready, ready.parts[0].why.as_deref()),
        (false, Some("away"))
    );
    let error = world.client.system_ready().await.unwrap_err();
    assert_eq!(error.code(), "unavailable");
    assert_eq!(world.stub.seen().len(), 2);
}

#[tokio::test]
async fn keys_that_no_header_carries_are_refused_and_not_shown() {
    for key in ["", "two words", "line\nbreak", "canary\u{e9}"] {
        let config = ClientConfig {
            key: Some(SecretText::new(key)),
            ..ClientConfig::new("http://127.0.0.1:1")
        };
        let error = Client::new(&config, ports(std::sync::Arc::new(Impatient::default()))).unwrap_err();
        let shown = format!("{error} {error:?} {config:?}");
        assert!(!shown.contains("canary"), "{shown}");
    }
}
