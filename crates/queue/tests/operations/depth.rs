//! Wherever a secret stands in JSON, and however its field is spelled, it is not stored.

use arbiter_core::model::{AttemptEnd, Json, Report};
use arbiter_core::services::WorkDesk as _;
use arbiter_testkit::builders::agent;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::world::{World, submission_with, submitter, worker};

/// One way further in.
#[derive(Debug, Clone, Copy)]
enum Step {
    Array,
    Map,
    /// JSON that stands in a string.
    Text,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![4 => Just(Step::Array), 4 => Just(Step::Map), 1 => Just(Step::Text)]
}

/// A field that is secret by its name.
fn by_name() -> impl Strategy<Value = Value> {
    let words = [
        "token",
        "secret",
        "authorization",
        "api_key",
        "apiKey",
        "password",
        "client_secret",
        "X-Api-Key",
        "access.token",
        "Private Key",
    ];
    let secret = prop_oneof![
        Just(json!("canary-plain")),
        Just(json!(["canary-one", {"two": "canary-two"}])),
        Just(json!({"value": "canary-inside"})),
    ];
    (prop::sample::select(words.to_vec()), any::<bool>(), secret).prop_map(|(word, upper, secret)| {
        let word = if upper {
            word.to_uppercase()
        } else {
            word.to_owned()
        };
        json!({word: secret, "kept": "as it was"})
    })
}

/// A text that holds a secret by its shape.
fn by_shape() -> impl Strategy<Value = Value> {
    let secrets = [
        "sk-ant-api03-canary0123456789abcdef",
        "AKIAIOSFODNN7CANARY9",
        "ghp_canary0123456789ABCDEFabcdef012345",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlLWNhbmFyeS0wMTIz",
    ];
    (prop::sample::select(secrets.to_vec()), "[a-z ]{0,12}").prop_map(
        |(secret, prose)| json!({"note": format!("{prose} {secret} is the one"), "kept": "as it was"}),
    )
}

/// A value with one secret in it, at some depth.
fn hidden() -> impl Strategy<Value = Value> {
    let deepest = prop_oneof![by_name(), by_shape()];
    (deepest, prop::collection::vec(step(), 0..40)).prop_map(|(deepest, steps)| {
        let mut texts = 0;
        steps.into_iter().fold(deepest, |inner, step| match step {
            Step::Array => json!([1, inner, "after"]),
            Step::Map => json!({"before": null, "field": inner}),
            // JSON in a string is looked into four times over
            Step::Text if texts < 3 => {
                texts += 1;
                json!({"text": inner.to_string()})
            }
            Step::Text => inner,
        })
    })
}

fn assert_clean(kept: &Json) {
    let text = kept.as_str();
    assert!(!text.to_lowercase().contains("canary"), "{text}");
    assert!(!text.contains("c2lnbmF0dXJl"), "{text}");
    assert!(
        text.contains("[redacted]") && text.contains("as it was"),
        "{text}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_secret_at_any_depth_of_input_or_report_is_not_stored(input in hidden(), output in hidden()) {
        let runtime = Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let world = World::new();
            let asked = submission_with(|spec| spec.input = Some(Json::of(&input)));
            let task = world.task_of(&submitter(), asked).await;
            let stored = world.stored(task).await;
            assert_clean(stored.spec.input.as_ref().expect("input"));
            let work = world.running(task, agent(1)).await;
            let report = Report {
                output: Some(Json::of(&output)),
                claims: vec![Json::of(&input)],
                evidence: vec![Json::of(&output)],
                ..Report::default()
            };
            world.queue.report(&worker(1), work, report).await.expect("reported");
            let history = world.history(task).await;
            let AttemptEnd::Reported(kept) = &history.attempts[0].outcome else {
                panic!("it was reported: {history:?}");
            };
            kept.output.iter().chain(&kept.claims).chain(&kept.evidence).for_each(assert_clean);
        });
    }
}
