//! The published schema says what the code does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arbiter_core::model::*;
use arbiter_core::ports::ContextItem;
use regex::Regex;
use serde_json::{Value, json};

use super::*;

const SCHEMA: &str = include_str!("../../../../docs/schemas/exec-1.schema.json");
const MANUAL: &str = include_str!("../../../../docs/exec-protocol.md");

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("the schema is JSON")
}

/// Whether `value` conforms to the definition `name`. A keyword that is not known here fails the test, so the schema
/// says nothing that is not checked.
fn conforms(name: &str, value: &Value) -> bool {
    let root = schema();
    holds(&root, &root["$defs"][name], value)
}

fn holds(root: &Value, schema: &Value, value: &Value) -> bool {
    let keywords = schema.as_object().expect("a schema is an object");
    keywords.iter().all(|(keyword, rule)| match keyword.as_str() {
        "description" => true,
        "$ref" => {
            let pointer = rule
                .as_str()
                .and_then(|text| text.strip_prefix('#'))
                .expect("a local reference");
            holds(root, root.pointer(pointer).expect(pointer), value)
        }
        "type" => match rule {
            Value::Array(any) => any.iter().any(|one| has_type(one, value)),
            one => has_type(one, value),
        },
        "const" => value == rule,
        "enum" => rule.as_array().expect("a list").contains(value),
        "oneOf" => {
            let all = rule.as_array().expect("a list").iter();
            all.filter(|one| holds(root, one, value)).count() == 1
        }
        "required" => value.as_object().is_none_or(|object| {
            rule.as_array()
                .expect("a list")
                .iter()
                .all(|key| object.contains_key(key.as_str().expect("a name")))
        }),
        "properties" => value.as_object().is_none_or(|object| {
            rule.as_object()
                .expect("a map")
                .iter()
                .all(|(key, rule)| object.get(key).is_none_or(|value| holds(root, rule, value)))
        }),
        "additionalProperties" => value.as_object().is_none_or(|object| {
            let mut others = object
                .iter()
                .filter(|(key, _)| schema["properties"].get(key).is_none());
            match rule {
                Value::Bool(false) => others.next().is_none(),
                rule => others.all(|(_, value)| holds(root, rule, value)),
            }
        }),
        "items" => value
            .as_array()
            .is_none_or(|items| items.iter().all(|item| holds(root, rule, item))),
        "maxItems" => value
            .as_array()
            .is_none_or(|items| items.len() as u64 <= rule.as_u64().expect("a number")),
        "uniqueItems" => value.as_array().is_none_or(|items| {
            let texts: BTreeSet<String> = items.iter().map(Value::to_string).collect();
            texts.len() == items.len()
        }),
        "maxLength" => value
            .as_str()
            .is_none_or(|text| text.chars().count() as u64 <= rule.as_u64().expect("a number")),
        "pattern" => value.as_str().is_none_or(|text| {
            Regex::new(rule.as_str().expect("a pattern"))
                .expect("a pattern")
                .is_match(text)
        }),
        "minimum" => value
            .as_f64()
            .is_none_or(|number| number >= rule.as_f64().expect("a number")),
        "maximum" => value
            .as_f64()
            .is_none_or(|number| number <= rule.as_f64().expect("a number")),
        other => panic!("the keyword `{other}` is not checked"),
    })
}

fn has_type(name: &Value, value: &Value) -> bool {
    match name.as_str().expect("a name") {
        "null" => value.is_null(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        other => panic!("the type `{other}` is not checked"),
    }
}

fn stored(spec: TaskSpec) -> StoredTask {
    let lane = LaneKey {
        tenant: TenantId::from_bytes([1; 16]),
        band: Band::HIGHEST,
        work: Work::Review(Stage::Judge),
    };
    let task = Task {
        id: TaskId::from_bytes([7; 16]),
        tenant: lane.tenant,
        submitter: PrincipalId::from_bytes([3; 16]),
        lane: lane.id(),
        order_key: None,
        submitted_at: Timestamp::default(),
        changed_at: Timestamp::default(),
        terms: Terms::of(&spec),
        state: State::Queued { wait: Wait::Ready },
        version: Version(1),
        fence: Fence(1),
        attempts: 1,
        returns: 0,
        losses: 0,
        lost_leases: 0,
        stage_errors: 0,
        attempt: None,
        result: None,
        avoid: Vec::new(),
        releases: Vec::new(),
        has_dependants: false,
        progress: None,
        last_command: None,
    };
    StoredTask {
        task,
        spec: Arc::new(spec),
    }
}

fn smallest() -> TaskSpec {
    TaskSpec::new(
        TaskKind::new("analysis").expect("kind"),
        "Count",
        "Count the words.",
    )
}

fn fullest() -> TaskSpec {
    let mut spec = smallest();
    spec.input = Json::parse(r#"{"deep":[1,{"x":null}]}"#).ok();
    spec.requires.languages = ["rust".to_owned()].into();
    spec.requires.specialisations = ["text".to_owned()].into();
    spec.requires.tools = ["git".to_owned()].into();
    spec.requires.minimum_success_rate = Ratio::new(0.75).ok();
    spec.constraints.budget = Budget {
        files: Some(1),
        lines: Some(2),
        tokens: Some(u64::MAX),
        cost_micros: Some(0),
    };
    spec.labels.insert("team".into(), "docs".into());
    spec.security = SecurityLevel::Restricted;
    spec
}

fn order_of(spec: TaskSpec) -> Value {
    let context = [ContextItem {
        kind: "review".into(),
        tenant: TenantId::from_bytes([1; 16]),
        text: "no".into(),
    }];
    let paths = BTreeMap::from([("document".to_owned(), "/x/in/document".to_owned())]);
    order(&stored(spec), 2, Timestamp::default(), &context, &paths)
}

#[test]
fn orders_hold_what_was_asked() {
    let order = order_of(fullest());
    assert_eq!(order["version"], 1);
    assert_eq!(
        order["task"],
        json!({
            "id": TaskId::from_bytes([7; 16]).to_string(), "kind": "analysis", "title": "Count",
            "instructions": "Count the words.", "input": {"deep": [1, {"x": null}]},
            "requires": {"languages": ["rust"], "specialisations": ["text"], "tools": ["git"],
                         "minimum_success_rate": 0.75},
            "budget": {"files": 1, "lines": 2, "tokens": u64::MAX, "cost_micros": 0},
            "labels": {"team": "docs"}, "security": "restricted",
        })
    );
    assert_eq!(
        order["attempt"],
        json!({"number": 2, "deadline": Timestamp::default().to_string()})
    );
    assert_eq!(order["context"], json!([{"kind": "review", "text": "no"}]));
    assert_eq!(order["artifacts"], json!({"document": "/x/in/document"}));
}

#[test]
fn orders_conform_and_the_schema_names_each_of_their_fields() {
    for spec in [smallest(), fullest()] {
        let order = order_of(spec);
        assert!(conforms("order", &order), "{order}");
    }
    let (root, order) = (schema(), order_of(fullest()));
    for (value, rules) in [
        ("", "/$defs/order"),
        ("/task", "/$defs/order/properties/task"),
        (
            "/task/requires",
            "/$defs/order/properties/task/properties/requires",
        ),
        ("/task/budget", "/$defs/order/properties/task/properties/budget"),
        ("/attempt", "/$defs/order/properties/attempt"),
        ("/context/0", "/$defs/order/properties/context/items"),
    ] {
        let rules = root.pointer(rules).expect(rules);
        let given: BTreeSet<&String> = order
            .pointer(value)
            .and_then(Value::as_object)
            .expect(value)
            .keys()
            .collect();
        let named: BTreeSet<&String> = rules["properties"].as_object().expect(value).keys().collect();
        let required = rules["required"].as_array().expect(value).len();
        assert_eq!((&given, given.len()), (&named, required), "{value}");
    }
}

#[test]
fn the_parser_and_the_schema_accept_the_same_answers() {
    let good = |fields: Value| {
        let mut answer = json!({"version": 1, "outcome": "succeeded"});
        answer
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        answer
    };
    let (most, more) = (vec![0; MAX_ITEMS], vec![0; MAX_ITEMS + 1]);
    let names = |count: usize| -> Vec<String> { (0..count).map(|number| format!("f{number}")).collect() };
    for (answer, accepted) in [
        (good(json!({})), true),
        (good(json!({"output": null, "error": null})), true),
        (
            good(json!({"output": [1], "artifacts": ["a.txt", "b"], "claims": [{}], "evidence": [null]})),
            true,
        ),
        (
            good(
                json!({"usage": {"files": 1, "lines": 0, "tokens": u64::MAX, "cost_micros": 2, "duration_ms": 3}}),
            ),
            true,
        ),
        (good(json!({"usage": {"tokens": null}})), true),
        (
            good(json!({"outcome": "failed", "error": {"message": "m"}})),
            true,
        ),
        (
            good(json!({"outcome": "failed", "error": {"message": "", "class": "no_data-1.x"}})),
            true,
        ),
        (
            good(json!({"outcome": "failed", "error": {"message": "m", "class": null}})),
            true,
        ),
        (
            good(
                json!({"outcome": "failed", "error": {"message": "m", "class": "x".repeat(MAX_CLASS_CHARS)}}),
            ),
            true,
        ),
        (
            good(json!({"claims": most, "evidence": most, "artifacts": names(MAX_ITEMS)})),
            true,
        ),
        (good(json!({"claims": more})), false),
        (good(json!({"evidence": more})), false),
        (good(json!({"artifacts": names(MAX_ITEMS + 1)})), false),
        (good(json!({"artifacts": ["a", "a"]})), false),
        (good(json!({"artifacts": [1]})), false),
        (good(json!({"artifacts": null})), false),
        (good(json!({"claims": {}})), false),
        (good(json!({"version": 2})), false),
        (good(json!({"version": "1"})), false),
        (good(json!({"outcome": "maybe"})), false),
        (good(json!({"ouput": 1})), false),
        (good(json!({"usage": {"token": 1}})), false),
        (good(json!({"usage": {"tokens": -1}})), false),
        (good(json!({"usage": {"tokens": 1.5}})), false),
        (good(json!({"usage": [1]})), false),
        (good(json!({"usage": null})), false),
        (good(json!({"outcome": "failed"})), false),
        (good(json!({"outcome": "failed", "error": null})), false),
        (good(json!({"outcome": "failed", "error": {"class": "c"}})), false),
        (
            good(json!({"outcome": "failed", "error": {"message": "m", "code": 1}})),
            false,
        ),
        (
            good(json!({"outcome": "failed", "error": {"message": "m", "class": "two words"}})),
            false,
        ),
        (
            good(json!({"outcome": "failed", "error": {"message": "m", "class": ""}})),
            false,
        ),
        (
            good(
                json!({"outcome": "failed", "error": {"message": "m", "class": "x".repeat(MAX_CLASS_CHARS + 1)}}),
            ),
            false,
        ),
        (good(json!({"error": {"message": "m"}})), false),
        (json!({"version": 1}), false),
        (json!({"outcome": "succeeded"}), false),
        (json!([]), false),
        (json!("succeeded"), false),
    ] {
        let parsed = Answer::parse(answer.to_string().as_bytes());
        let text: String = answer.to_string().chars().take(120).collect();
        assert_eq!(parsed.is_ok(), accepted, "{text}: {parsed:?}");
        assert_eq!(conforms("answer", &answer), accepted, "{text}");
    }
}

#[test]
fn the_schema_knows_names_of_files() {
    for name in [
        "a",
        "report-1.json",
        "_x",
        "-x",
        "",
        ".hidden",
        "../x",
        "a/b",
        "a b",
        "ä",
        &"x".repeat(128),
        &"x".repeat(129),
    ] {
        let answer = json!({"version": 1, "outcome": "succeeded", "artifacts": [name]});
        assert_eq!(conforms("answer", &answer), ArtifactRef::is_name(name), "{name}");
    }
}

#[test]
fn the_manuals_examples_conform() {
    let examples: Vec<Value> = MANUAL
        .split("```json\n")
        .skip(1)
        .map(|rest| serde_json::from_str(rest.split("```").next().expect("an example")).expect("JSON"))
        .collect();
    let [order, answer, line] = examples.as_slice() else {
        panic!("{} examples", examples.len())
    };
    assert!(conforms("order", order) && conforms("answer", answer) && conforms("progress", line));
    assert!(Answer::parse(answer.to_string().as_bytes()).is_ok());
    assert_ne!(parse_line(&line.to_string()), Line::Log);
}
