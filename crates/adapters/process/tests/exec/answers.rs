//! What commands answer, and what becomes of it.

use arbiter_core::model::*;
use arbiter_core::ports::*;
use serde_json::{Value, json};

use crate::bench::*;

#[tokio::test]
async fn an_honest_command_is_reported() {
    let mut bench = Bench::script(
        r#"
        cat > order.json
        cp order.json result.json
        echo "some log" >&2
        echo '{"progress":{"fraction":0.5,"message":"half","usage":{"tokens":3}}}' >&2
        printf '{"version":1,"outcome":"succeeded","output":{"text":"%s"},' "$(cat "$ARBITER_INPUT/document")"
        printf '"artifacts":["result.json"],"claims":[{"a":1}],"evidence":[2],"usage":{"tokens":7}}'"#,
    );
    bench.input("document", b"hello");
    let report = bench.reports().await;
    assert_eq!(
        report.output.as_ref().map(Json::value),
        Some(json!({"text": "hello"}))
    );
    assert_eq!(
        (report.claims.len(), report.evidence.len(), report.usage.tokens),
        (1, 1, Some(7))
    );
    assert_eq!(report.artifacts[0].name, "result.json");
    let kept = bench.artifacts.kept.lock().unwrap();
    let order: Value = serde_json::from_slice(&kept[&report.artifacts[0].digest]).expect("order");
    assert_eq!(order["version"], 1);
    assert_eq!(order["task"]["title"], bench.spec.title);
    assert_eq!(order["attempt"]["number"], 1);
    assert_eq!(
        order["context"],
        json!([{"kind": "failed_attempt", "text": "try harder"}])
    );
    let path = order["artifacts"]["document"].as_str().expect("path");
    assert!(path.starts_with('/') && path.ends_with("/in/document"), "{path}");
    let told = bench.told.all.lock().unwrap();
    let [(Some(progress), Some(usage))] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(
        (progress.fraction, progress.message.as_str()),
        (Ratio::new(0.5).ok(), "half")
    );
    assert!(progress.at > Timestamp::default());
    assert_eq!(usage.tokens, Some(3));
}

#[tokio::test]
async fn a_command_that_says_that_it_failed_is_believed() {
    let bench = Bench::script(
        r#"echo '{"version":1,"outcome":"failed","usage":{"tokens":2},
        "error":{"class":"no_data","message":"nothing there, password=hunter2hunter2"}}'"#,
    );
    let failure = bench.fails().await;
    assert_eq!(
        (failure.class, failure.code.as_deref()),
        (FailureClass::Agent, Some("no_data"))
    );
    assert!(
        failure.message.starts_with("nothing there") && !failure.message.contains("hunter2"),
        "{failure:?}"
    );
    assert_eq!(failure.usage.tokens, Some(2));
}

#[tokio::test]
async fn a_crash_carries_the_redacted_end_of_the_log_and_the_usage() {
    let bench = Bench::script(
        r#"
        echo '{"progress":{"usage":{"tokens":5}}}' >&2
        yes 'filler line of the log' | head -n 4000 >&2
        echo "password=hunter2hunter2" >&2
        echo "last words" >&2
        exit 3"#,
    );
    let failure = bench.fails().await;
    assert_eq!(failure.class, FailureClass::Crash);
    assert!(
        failure
            .message
            .starts_with("the command ended with status 3; its log ends with: "),
        "{failure:?}"
    );
    assert!(
        failure.message.ends_with("last words") && !failure.message.contains("hunter2"),
        "{failure:?}"
    );
    assert!(failure.message.len() < 4_200, "{}", failure.message.len());
    assert_eq!(failure.usage.tokens, Some(5));
}

#[tokio::test]
async fn a_signal_is_a_crash() {
    let failure = Bench::script("kill -KILL $$").fails().await;
    assert_eq!(
        (failure.class, failure.message.as_str()),
        (FailureClass::Crash, "the command was ended by signal 9")
    );
}

#[tokio::test]
async fn output_that_is_no_answer_is_a_breach_of_the_protocol() {
    for (script, part) in [
        ("echo hello", "not one object"),
        ("true", "no answer"),
        (
            r#"echo '{"version":1,"outcome":"succeeded"}{"version":1,"outcome":"succeeded"}'"#,
            "trailing",
        ),
        (
            r#"echo '{"version":1,"outcome":"succeeded","ouput":1}'"#,
            "`ouput`",
        ),
        (r#"echo '{"version":2,"outcome":"succeeded"}'"#, "version 2"),
        (
            r#"echo '{"version":1,"outcome":"succeeded","artifacts":["absent"]}'"#,
            "`absent` cannot be read",
        ),
        (
            r#"ln -s /etc/passwd link; echo '{"version":1,"outcome":"succeeded","artifacts":["link"]}'"#,
            "`link` is a symbolic link",
        ),
        (
            r#"echo '{"version":1,"outcome":"succeeded","artifacts":["../in/document"]}'"#,
            "`../in/document` is no plain file name",
        ),
    ] {
        let failure = Bench::script(script).fails().await;
        assert_eq!(failure.class, FailureClass::Protocol, "{script}: {failure:?}");
        assert!(failure.message.contains(part), "{part}: {failure:?}");
    }
}

#[tokio::test]
async fn artifacts_over_the_quota_are_a_limit() {
    let mut bench =
        Bench::script(r#"echo 12345 > f; echo '{"version":1,"outcome":"succeeded","artifacts":["f"]}'"#);
    bench.artifacts = Artifacts {
        quota_bytes: Some(5),
        ..Artifacts::default()
    }
    .into();
    let failure = bench.fails().await;
    assert_eq!(failure.class, FailureClass::Limit);
    assert!(
        failure.message.contains("`f`") && failure.message.contains("5 bytes"),
        "{failure:?}"
    );
}

#[tokio::test]
async fn an_order_that_is_not_read_does_no_harm() {
    let mut bench = Bench::script(r#"exec <&-; echo '{"version":1,"outcome":"succeeded"}'"#);
    bench.spec.input = Json::parse(format!("\"{}\"", "x".repeat(1 << 20))).ok();
    bench.reports().await;
    // A command that reads late and answers early does not stand in its own way either.
    bench.command = vec!["/bin/sh".into(), "-c".into()];
    bench.command.push(
        r#"head -c 200000 /dev/zero | tr '\0' ' '; echo '{"version":1,"outcome":"succeeded"}'; wc -c >/dev/null"#.into(),
    );
    bench.reports().await;
}

#[tokio::test]
async fn another_agent_is_not_served() {
    let bench = Bench::script("true");
    let mut delivery = bench.delivery();
    delivery.agent = AgentId::from_bytes([9; 16]);
    let error = bench.transport().deliver(delivery).await.expect_err("refused");
    assert!(matches!(error, TransportError::UnknownAgent(agent) if agent == AgentId::from_bytes([9; 16])));
}

#[tokio::test]
async fn input_that_is_absent_gives_the_attempt_back() {
    let mut bench = Bench::script("true");
    bench.input("document", b"x");
    bench.artifacts.kept.lock().unwrap().clear();
    let error = bench
        .transport()
        .deliver(bench.delivery())
        .await
        .expect_err("refused");
    assert!(
        matches!(
            error,
            TransportError::Unreachable {
                operation: "bringing its input",
                ..
            }
        ),
        "{error:?}"
    );
    assert!(is_empty(&bench.work_root()));
}
