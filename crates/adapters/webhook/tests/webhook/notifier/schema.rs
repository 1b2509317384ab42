//! Alertmanager's own description of its API.

use serde_json::{Value, json};

/// What is wrong with a body of `POST /alerts`.
pub(crate) fn violations(alerts: &Value) -> Vec<String> {
    let contract: Value =
        serde_json::from_str(include_str!("../../fixtures/alertmanager-v2.openapi.json")).unwrap();
    let schema = json!({
        "$schema": "http://json-schema.org/draft-04/schema#",
        "definitions": contract["definitions"],
        "allOf": [{"$ref": "#/definitions/postableAlerts"}],
    });
    let validator = jsonschema::options()
        .should_validate_formats(true)
        .build(&schema)
        .unwrap();
    let errors = validator.iter_errors(alerts);
    errors
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

/// Alerts out of a request's body, checked.
pub(crate) fn alerts(body: &[u8]) -> Vec<Value> {
    let alerts: Value = serde_json::from_slice(body).expect("JSON");
    let wrong = violations(&alerts);
    assert!(wrong.is_empty(), "{wrong:?}");
    let alerts = alerts.as_array().unwrap().clone();
    for alert in &alerts {
        // what Alertmanager checks beside its description
        assert!(alert["startsAt"].as_str() <= alert["endsAt"].as_str(), "{alert}");
        let labels = alert["labels"].as_object().unwrap();
        assert!(labels.values().all(|label| label != ""), "{alert}");
    }
    alerts
}

#[test]
fn the_contract_refuses_what_is_wrong() {
    let good = json!([{
        "labels": {"alertname": "a"}, "annotations": {"b": "c"}, "startsAt": "2026-01-01T00:00:00Z",
        "endsAt": "2026-01-01T00:00:00Z", "generatorURL": "https://a.example/",
    }]);
    assert_eq!(violations(&good), Vec::<String>::new());
    for (place, bad) in [
        ("/0/labels", json!({"alertname": 7})),
        ("/0/labels", json!(null)),
        ("/0/annotations/b", json!(null)),
        ("/0/startsAt", json!("9223372036854775807us")),
        ("/0/endsAt", json!("yesterday")),
        ("/0/generatorURL", json!("no address")),
    ] {
        let mut alerts = good.clone();
        *alerts.pointer_mut(place).unwrap() = bad;
        assert!(!violations(&alerts).is_empty(), "{place}");
    }
    assert!(!violations(&good[0]).is_empty(), "an alert that is in no list");
}
