//! Reading, naming and validating policies.

use std::str::FromStr as _;

use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};

use crate::error::PolicyError;

const SCHEMA: &str = include_str!("../policies/schema.cedarschema");
const DEFAULTS: &str = include_str!("../policies/default.cedar");
const DEFAULTS_NAME: &str = "default.cedar";

/// The published schema.
pub(crate) fn schema() -> Result<Schema, PolicyError> {
    match Schema::from_cedarschema_str(SCHEMA) {
        Ok((schema, _)) => Ok(schema),
        Err(error) => Err(syntax("schema.cedarschema", SCHEMA, &error, error.to_string())),
    }
}

/// The default policies and the operator's, all validated.
pub(crate) fn load(schema: &Schema, extra: &[(String, String)]) -> Result<PolicySet, PolicyError> {
    let mut all = PolicySet::new();
    let defaults = std::iter::once((DEFAULTS_NAME, DEFAULTS));
    let files = defaults.chain(extra.iter().map(|(name, text)| (name.as_str(), text.as_str())));
    for (file, text) in files {
        let parsed =
            PolicySet::from_str(text).map_err(|error| syntax(file, text, &error, error.to_string()))?;
        if parsed.templates().next().is_some() {
            let message = "templates are not supported: write policies".to_owned();
            return Err(PolicyError::Syntax {
                file: file.to_owned(),
                line: 1,
                message,
            });
        }
        for (number, policy) in parsed.policies().enumerate() {
            let named = policy.new_id(PolicyId::new(name(file, number, policy)));
            all.add(named)
                .map_err(|error| PolicyError::Invalid(vec![error.to_string()]))?;
        }
    }
    let result = Validator::new(schema.clone()).validate(&all, ValidationMode::Strict);
    let problems: Vec<String> = result.validation_errors().map(ToString::to_string).collect();
    if problems.is_empty() {
        Ok(all)
    } else {
        Err(PolicyError::Invalid(problems))
    }
}

/// Names a policy by its file and its `@id`, or its place.
fn name(file: &str, number: usize, policy: &Policy) -> String {
    match policy.annotation("id") {
        Some(id) if !id.is_empty() => format!("{file}#{id}"),
        _ => format!("{file}#{}", number + 1),
    }
}

fn syntax(file: &str, text: &str, error: &dyn miette::Diagnostic, message: String) -> PolicyError {
    let offset = error
        .labels()
        .and_then(|mut labels| labels.next())
        .map_or(0, |label| label.offset());
    let line = text
        .as_bytes()
        .iter()
        .take(offset)
        .map(|byte| usize::from(*byte == b'\n'))
        .sum::<usize>()
        + 1;
    PolicyError::Syntax {
        file: file.to_owned(),
        line,
        message,
    }
}
