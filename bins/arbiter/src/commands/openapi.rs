//! `arbiter openapi`.

use std::fmt::Write as _;

use serde_json::Value;

use crate::config::Config;
use crate::exit::Failure;
use crate::output;

/// Prints the document of the interface, or of one of its groups, with the limits of the configuration.
pub(super) fn run(config: &Config, group: Option<&str>, json: bool) -> Result<(), Failure> {
    let limits = &config.server.api;
    let document = match group {
        None => arbiter_api::document(limits),
        Some(group) => arbiter_api::group_document(limits, group).ok_or_else(|| {
            Failure::usage(format!(
                "there is no group `{group}`; the groups are the first words of the operations' ids"
            ))
        })?,
    };
    if json {
        output::json(&document);
    } else {
        let mut text = String::new();
        write(&mut text, &document, 0);
        output::line(text.trim_end());
    }
    Ok(())
}

/// Writes a value as YAML 1.2 in block style. Texts are in double quotes, whose escapes are those of JSON.
fn write(text: &mut String, value: &Value, depth: usize) {
    // Writing to a text does not fail.
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (key, value) in members {
                let _written = write!(text, "{indent}{}:", name(key));
                member(text, value, depth);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let _written = write!(text, "{indent}-");
                member(text, item, depth);
            }
        }
        plain => {
            let _written = writeln!(text, "{indent}{plain}");
        }
    }
}

/// What follows a key or a dash: on the same line if it has no parts.
fn member(text: &mut String, value: &Value, depth: usize) {
    let has_parts = match value {
        Value::Object(members) => !members.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    };
    if has_parts {
        text.push('\n');
        write(text, value, depth + 1);
    } else {
        let _written = writeln!(text, " {value}");
    }
}

/// A key, in quotes unless it is a plain word.
fn name(key: &str) -> String {
    let is_plain = key.starts_with(|first: char| first.is_ascii_alphabetic())
        && key.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter))
        // words that mean something else in some readers
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"].contains(&key.to_ascii_lowercase().as_str());
    if is_plain {
        key.to_owned()
    } else {
        Value::from(key).to_string()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn yaml(value: &Value) -> String {
        let mut text = String::new();
        write(&mut text, value, 0);
        text
    }

    #[test]
    fn the_text_says_what_the_value_says() {
        let value = json!({
            "plain": "a: b # c",
            "no": null,
            "200": {"/v1/{id}": [1, 1.5, true, "", [], {}]},
            "$ref": [["x"], {"deep": [{"er": "\u{7}\n\"\\ü"}]}],
        });
        let read: Value = serde_saphyr::from_str(&yaml(&value)).expect("YAML");
        assert_eq!(read, value);
        let document = arbiter_api::document(&arbiter_api::ApiSettings::default());
        let read: Value = serde_saphyr::from_str(&yaml(&document)).expect("YAML");
        assert_eq!(read, document);
    }

    #[test]
    fn a_group_has_its_operations_and_the_forms_that_they_use() {
        let limits = arbiter_api::ApiSettings::default();
        let document = arbiter_api::group_document(&limits, "agent").expect("the group");
        let operations = document["paths"].as_object().expect("paths").values();
        let operations = operations.flat_map(|methods| methods.as_object().expect("methods").values());
        let operations: Vec<&str> = operations
            .map(|operation| operation["operationId"].as_str().expect("an id"))
            .collect();
        assert!(operations.len() >= 12 && operations.iter().all(|id| id.starts_with("agent.")));
        let schemas = document["components"]["schemas"].as_object().expect("schemas");
        assert!(schemas.contains_key("AgentForm") && schemas.contains_key("Problem"));
        assert!(!schemas.contains_key("TaskView"), "nothing of other groups");
        assert_eq!(arbiter_api::group_document(&limits, "weather"), None);
    }
}
