//! Reading, naming and validating policies.

use std::str::FromStr as _;

use arbiter_core::ports::{NamedPolicy, PolicyFile, PolicyProblem, PolicyProblems};
use cedar_policy::{Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator};

use crate::error::{line, problem, syntax, unfit};

const SCHEMA: &str = include_str!("../policies/schema.cedarschema");
const SCHEMA_NAME: &str = "schema.cedarschema";
const DEFAULTS: &str = include_str!("../policies/default.cedar");
const DEFAULTS_NAME: &str = "default.cedar";

/// Policies that were read.
pub(crate) struct Loaded {
    /// All of them.
    pub(crate) set: PolicySet,
    /// Those of the files that were given last, in order.
    pub(crate) named: Vec<NamedPolicy>,
}

/// The published schema.
pub(crate) fn schema() -> Result<Schema, PolicyProblems> {
    match Schema::from_cedarschema_str(SCHEMA) {
        Ok((schema, _)) => Ok(schema),
        Err(error) => {
            let at = line(SCHEMA, &error);
            Err(PolicyProblems(vec![problem(SCHEMA_NAME, at, error.to_string())]))
        }
    }
}

/// The default policies, those of the configuration, and `files`, all validated.
pub(crate) fn load(
    schema: &Schema,
    base: &[PolicyFile],
    files: &[PolicyFile],
) -> Result<Loaded, PolicyProblems> {
    let mut loaded = Loaded {
        set: PolicySet::new(),
        named: Vec::new(),
    };
    let mut problems = Vec::new();
    let defaults = PolicyFile {
        name: DEFAULTS_NAME.to_owned(),
        text: DEFAULTS.to_owned(),
    };
    let fixed = std::iter::once(&defaults).chain(base);
    for file in fixed.clone() {
        add(&mut loaded.set, file, &mut problems);
    }
    for file in files {
        let named = add(&mut loaded.set, file, &mut problems);
        loaded.named.extend(named);
    }
    if problems.is_empty() {
        let all: Vec<&PolicyFile> = fixed.chain(files).collect();
        let result = Validator::new(schema.clone()).validate(&loaded.set, ValidationMode::Strict);
        problems.extend(result.validation_errors().map(|error| {
            let id: &str = error.policy_id().as_ref();
            let of = |file: &&&PolicyFile| id.rsplit_once('#').is_some_and(|(name, _)| name == file.name);
            match all.iter().find(of) {
                Some(file) => unfit(&file.name, &file.text, error),
                None => problem(id, None, error.to_string()),
            }
        }));
        problems.sort_by(|one, other| (&one.file, one.line).cmp(&(&other.file, other.line)));
    }
    if problems.is_empty() {
        Ok(loaded)
    } else {
        Err(PolicyProblems(problems))
    }
}

/// Adds the policies of a file to a set, under their names. Gives them in the order of the file.
fn add(set: &mut PolicySet, file: &PolicyFile, problems: &mut Vec<PolicyProblem>) -> Vec<NamedPolicy> {
    let parsed = match PolicySet::from_str(&file.text) {
        Ok(parsed) => parsed,
        Err(errors) => {
            problems.extend(syntax(&file.name, &file.text, &errors));
            return Vec::new();
        }
    };
    if parsed.templates().next().is_some() {
        let message = "templates are not supported: write policies";
        problems.push(problem(&file.name, None, message));
        return Vec::new();
    }
    let mut policies: Vec<&Policy> = parsed.policies().collect();
    policies.sort_by_key(|policy| place(policy));
    let mut named = Vec::with_capacity(policies.len());
    for (number, policy) in policies.into_iter().enumerate() {
        let id = name(&file.name, number, policy);
        let text = plain(policy);
        match set.add(policy.new_id(PolicyId::new(&id))) {
            Ok(()) => named.push(NamedPolicy { id, text }),
            Err(error) => problems.push(problem(&file.name, None, error.to_string())),
        }
    }
    named
}

/// The text of a policy, without comments and always written the same way.
fn plain(policy: &Policy) -> String {
    let rewritten = policy
        .to_json()
        .ok()
        .and_then(|json| Policy::from_json(None, json).ok());
    rewritten.as_ref().unwrap_or(policy).to_string()
}

/// The place of a policy in its file: the parser numbers them.
fn place(policy: &Policy) -> u64 {
    let id: &str = policy.id().as_ref();
    id.trim_start_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .unwrap_or(u64::MAX)
}

/// Names a policy by its file and its `@id`, or its place.
fn name(file: &str, number: usize, policy: &Policy) -> String {
    match policy.annotation("id") {
        Some(id) if !id.is_empty() => format!("{file}#{id}"),
        _ => format!("{file}#{}", number + 1),
    }
}
