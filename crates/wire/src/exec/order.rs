//! What a command gets.

use std::collections::BTreeMap;

use arbiter_core::model::{Budget, Json, Ratio, SecurityLevel, StoredTask, Timestamp};
use arbiter_core::ports::ContextItem;
use serde_json::{Value, json};

use super::VERSION;

/// The object that a command reads from standard input. `artifacts` maps names of input artifacts to paths.
pub fn order(
    stored: &StoredTask,
    number: u16,
    deadline: Timestamp,
    context: &[ContextItem],
    artifacts: &BTreeMap<String, String>,
) -> Value {
    let spec = &stored.spec;
    let Budget {
        files,
        lines,
        tokens,
        cost_micros,
    } = spec.constraints.budget;
    let context: Vec<Value> = context
        .iter()
        .map(|item| json!({"kind": item.kind, "text": item.text}))
        .collect();
    json!({
        "version": VERSION,
        "task": {
            "id": stored.task.id.to_string(),
            "kind": spec.kind.as_str(),
            "title": spec.title,
            "instructions": spec.instructions,
            "input": spec.input.as_ref().map(Json::value),
            "requires": {
                "languages": spec.requires.languages,
                "specialisations": spec.requires.specialisations,
                "tools": spec.requires.tools,
                "minimum_success_rate": spec.requires.minimum_success_rate.map(Ratio::get),
            },
            "budget": {"files": files, "lines": lines, "tokens": tokens, "cost_micros": cost_micros},
            "labels": spec.labels,
            "security": match spec.security {
                SecurityLevel::Internal => "internal",
                SecurityLevel::Confidential => "confidential",
                SecurityLevel::Restricted => "restricted",
            },
        },
        "attempt": {"number": number, "deadline": deadline.to_string()},
        "context": context,
        "artifacts": artifacts,
    })
}
