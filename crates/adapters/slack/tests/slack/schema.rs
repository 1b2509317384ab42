//! Slack's contract: the schema, and the lengths that Slack documents beside it.

use serde_json::{Value, json};

/// What is wrong with a message.
pub(crate) fn violations(message: &Value) -> Vec<String> {
    let schema: Value = serde_json::from_str(include_str!("../fixtures/slack-webhook.schema.json")).unwrap();
    let validator = jsonschema::options().build(&schema).unwrap();
    let errors = validator.iter_errors(message);
    let mut wrong: Vec<String> = errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    lengths(message, &mut wrong);
    wrong
}

/// A message out of a request's body, checked. That of a bot names its channel, which the schema does not know.
pub(crate) fn message(body: &[u8]) -> Value {
    let message: Value = serde_json::from_slice(body).expect("JSON");
    let mut plain = message.clone();
    plain.as_object_mut().unwrap().remove("channel");
    let wrong = violations(&plain);
    assert!(wrong.is_empty(), "{wrong:?}");
    message
}

fn lengths(message: &Value, wrong: &mut Vec<String>) {
    let blocks = message["blocks"].as_array().cloned().unwrap_or_default();
    if !(1..=50).contains(&blocks.len()) {
        wrong.push(format!("{} blocks", blocks.len()));
    }
    if message["text"].as_str().unwrap_or_default().is_empty() {
        wrong.push("no text for notifications".to_owned());
    }
    for block in &blocks {
        let most = if block["type"] == "header" { 150 } else { 3_000 };
        let own = block.get("text").into_iter().map(|text| (text, most));
        let listed = ["fields", "elements"].into_iter().flat_map(|name| {
            let list = block[name].as_array().map_or(&[][..], Vec::as_slice);
            list.iter().map(|text| (text, 2_000))
        });
        for (text, most) in own.chain(listed) {
            let length = text["text"].as_str().unwrap().encode_utf16().count();
            if !(1..=most).contains(&length) {
                wrong.push(format!("{length} units in {}", block["type"]));
            }
        }
        for name in ["fields", "elements"] {
            let length = block[name].as_array().map_or(1, Vec::len);
            if !(1..=10).contains(&length) {
                wrong.push(format!("{length} {name}"));
            }
        }
    }
}

#[test]
fn the_contract_refuses_what_is_wrong() {
    let text = |length: usize| json!({"type": "mrkdwn", "text": "x".repeat(length)});
    let with = |block: Value| json!({"text": "t", "blocks": [block]});
    let good = with(json!({"type": "section", "fields": [text(2_000)], "text": text(3_000)}));
    assert_eq!(violations(&good), Vec::<String>::new());
    for bad in [
        json!({"text": "", "blocks": [{"type": "divider"}]}),
        json!({"text": "t", "blocks": []}),
        json!({"text": "t", "blocks": vec![json!({"type": "divider"}); 51]}),
        json!({"text": "t", "blocks": [{"type": "divider"}], "link_names": true}),
        with(json!({"type": "header", "text": text(3)})),
        with(json!({"type": "header", "text": {"type": "plain_text", "text": "x".repeat(151)}})),
        with(json!({"type": "section", "text": text(3_001)})),
        with(json!({"type": "section", "text": text(0)})),
        with(json!({"type": "section", "fields": [text(2_001)]})),
        with(json!({"type": "section", "fields": vec![text(1); 11]})),
        with(json!({"type": "section", "fields": []})),
        with(json!({"type": "poem", "text": text(3)})),
    ] {
        assert!(!violations(&bad).is_empty(), "{bad}");
    }
}
