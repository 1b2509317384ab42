//! PagerDuty's contract.

use jsonschema::Validator;
use serde_json::{Value, json};

/// What is wrong with `instance` as one of the contract's types.
pub(crate) fn violations(sort: &str, instance: &Value) -> Vec<String> {
    let contract: Value =
        serde_json::from_str(include_str!("../fixtures/pagerduty-events-v2.schema.json")).unwrap();
    let schema = json!({
        "$schema": contract["$schema"],
        "$defs": contract["$defs"],
        "$ref": format!("#/$defs/{sort}"),
    });
    let validator: Validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let errors = validator.iter_errors(instance);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// An event out of a request's body, checked.
pub(crate) fn event(body: &[u8]) -> Value {
    let event: Value = serde_json::from_slice(body).expect("JSON");
    let wrong = violations("Event", &event);
    assert!(wrong.is_empty(), "{wrong:?}");
    event
}

#[test]
fn the_contract_refuses_what_is_wrong() {
    let good = json!({
        "routing_key": "0".repeat(32), "event_action": "trigger", "dedup_key": "a",
        "payload": {"summary": "s", "severity": "info", "source": "x", "timestamp": "2026-01-01T00:00:00Z"},
    });
    assert_eq!(violations("Event", &good), Vec::<String>::new());
    for (place, bad) in [
        ("/dedup_key", json!("k".repeat(256))),
        ("/routing_key", json!("short")),
        ("/payload/summary", json!("s".repeat(1_025))),
        ("/payload/severity", json!("high")),
        ("/payload/timestamp", json!("9223372036854775807us")),
        ("/event_action", json!("open")),
    ] {
        let mut event = good.clone();
        *event.pointer_mut(place).unwrap() = bad;
        assert!(!violations("Event", &event).is_empty(), "{place}");
    }
}
