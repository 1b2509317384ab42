//! The consumer's pact: what each call sends and what it needs of the answer. The file is what these calls really sent;
//! the provider's side verifies it against a running arbiter (`tests/it/pact.rs`).

mod interactions;

use std::path::Path;

use arbiter_testkit::StubAnswer;
use serde_json::{Value, json};

use crate::support::{KEY, World};
use interactions::{Interaction, all};

/// The committed pact (Pact specification, version 3).
const FILE: &str = "../../../docs/api/pacts/agent-registry.json";

#[tokio::test]
async fn the_pact_is_what_the_calls_send_and_need() {
    let mut written = Vec::new();
    for interaction in all() {
        written.push(play(interaction).await);
    }
    let pact = json!({
        "consumer": {"name": "arbiter-adapter-registry-http"},
        "provider": {"name": "arbiter"},
        "interactions": written,
        "metadata": {"pactSpecification": {"version": "3.0.0"}},
    });
    let text = format!("{}\n", serde_json::to_string_pretty(&pact).unwrap());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    if committed != text {
        let fresh = Path::new(env!("CARGO_TARGET_TMPDIR")).join("agent-registry.json");
        std::fs::write(&fresh, &text).unwrap();
        panic!(
            "the calls differ from the pact; if that is meant, copy `{}` to `{}`",
            fresh.display(),
            file.display()
        );
    }
}

/// Answers a call as the interaction says, and writes down what was sent.
async fn play(interaction: Interaction) -> Value {
    let mut answer = StubAnswer::reply(
        interaction.status,
        interaction
            .body
            .as_ref()
            .map(Value::to_string)
            .unwrap_or_default(),
    );
    if let Some(media) = interaction.media() {
        answer = answer.with("content-type", media);
    }
    let world = World::saying(answer).await;
    (interaction.call)(&world.registry).await;
    let seen = world.stub.seen();
    let sent = &seen[0];
    let (path, query) = sent.target.split_once('?').unwrap_or((&sent.target, ""));
    let mut request = json!({"method": sent.method, "path": path, "headers": {}});
    if !query.is_empty() {
        let mut all = serde_json::Map::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap();
            all.insert(name.to_owned(), json!([value.replace("%3A", ":")]));
        }
        request["query"] = all.into();
    }
    for name in ["accept", "content-type", "on-behalf-of"] {
        if let Some(value) = sent.header(name) {
            request["headers"][name] = json!(value);
        }
    }
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    request["headers"]["authorization"] = json!("Bearer the-key-of-the-peer");
    if !sent.body.is_empty() {
        request["body"] = serde_json::from_slice(&sent.body).unwrap();
    }
    let mut response = json!({"status": interaction.status});
    if let Some(media) = interaction.media() {
        response["headers"] = json!({"content-type": media});
    }
    if let Some(body) = interaction.body {
        response["body"] = body;
        let rules = interaction.rules.into_iter();
        let rules: serde_json::Map<String, Value> = rules
            .map(|(path, rule)| (path.to_owned(), json!({"combine": "AND", "matchers": [rule]})))
            .collect();
        if !rules.is_empty() {
            response["matchingRules"] = json!({"body": rules});
        }
    }
    json!({
        "description": interaction.description,
        "providerStates": [{"name": interaction.state}],
        "request": request,
        "response": response,
    })
}
