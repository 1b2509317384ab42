//! How an answer is compared with what a pact needs (Pact specification, version 3): members that the consumer does not
//! name are left alone, lists have the same length, and rules say where only the sort or the form of a value counts.

use regex::Regex;
use serde_json::Value;

/// What differs, in words. `rules` are those of the body, by path.
pub(super) fn differences(expected: &Value, told: &Value, rules: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(expected, told, "$", rules, &mut found);
    found
}

fn compare(expected: &Value, told: &Value, path: &str, rules: &Value, found: &mut Vec<String>) {
    if let Some(rule) = rules.get(path) {
        for matcher in rule["matchers"].as_array().expect("matchers") {
            if !fits(matcher, expected, told) {
                found.push(format!("`{path}` is {told}, which does not fit {matcher}"));
            }
        }
        return;
    }
    match (expected, told) {
        (Value::Object(members), Value::Object(has)) => {
            for (name, value) in members {
                let path = format!("{path}.{name}");
                match has.get(name) {
                    Some(told) => compare(value, told, &path, rules, found),
                    None => found.push(format!("`{path}` is absent")),
                }
            }
        }
        (Value::Array(items), Value::Array(has)) => {
            if items.len() != has.len() {
                found.push(format!("`{path}` has {} items, not {}", has.len(), items.len()));
            }
            for (item, told) in items.iter().zip(has) {
                compare(item, told, &format!("{path}[*]"), rules, found);
            }
        }
        // 5 and 5.0 are the same number
        (Value::Number(number), Value::Number(has)) if number.as_f64() == has.as_f64() => {}
        _ if expected == told => {}
        _ => found.push(format!("`{path}` is {told}, not {expected}")),
    }
}

fn fits(matcher: &Value, expected: &Value, told: &Value) -> bool {
    match matcher["match"].as_str() {
        Some("type") => std::mem::discriminant(expected) == std::mem::discriminant(told),
        Some("regex") => {
            let form = Regex::new(matcher["regex"].as_str().expect("a form")).expect("a form");
            told.as_str().is_some_and(|text| form.is_match(text))
        }
        other => panic!("{other:?} is no rule that is known here"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_difference_is_found_and_what_is_left_open_is_none() {
        let rule = |matcher: Value| json!({"combine": "AND", "matchers": [matcher]});
        let rules = json!({
            "$.agents[*].at": rule(json!({"match": "regex", "regex": "^\\d+Z$"})),
            "$.size": rule(json!({"match": "type"})),
        });
        let expected = json!({"agents": [{"id": "a", "at": "1Z", "n": 5}], "size": 1});
        let same = json!({"agents": [{"id": "a", "at": "77Z", "n": 5.0, "more": 1}], "size": 9, "more": []});
        assert_eq!(differences(&expected, &same, &rules), Vec::<String>::new());
        for (told, part) in [
            (
                json!({"agents": [{"id": "b", "at": "1Z", "n": 5}], "size": 1}),
                "$.agents[*].id",
            ),
            (
                json!({"agents": [{"id": "a", "at": "1", "n": 5}], "size": 1}),
                "$.agents[*].at",
            ),
            (
                json!({"agents": [{"id": "a", "at": 1, "n": 5}], "size": 1}),
                "$.agents[*].at",
            ),
            (json!({"agents": [{"at": "1Z", "n": 5}], "size": 1}), "absent"),
            (
                json!({"agents": [{"id": "a", "at": "1Z", "n": "5"}], "size": 1}),
                "$.agents[*].n",
            ),
            (json!({"agents": [], "size": 1}), "0 items"),
            (json!({"agents": {}, "size": 1}), "$.agents"),
            (
                json!({"agents": [{"id": "a", "at": "1Z", "n": 5}], "size": "1"}),
                "$.size",
            ),
            (json!(null), "`$` is null"),
        ] {
            let found = differences(&expected, &told, &rules);
            assert!(found.iter().any(|text| text.contains(part)), "{told}: {found:?}");
        }
    }
}
