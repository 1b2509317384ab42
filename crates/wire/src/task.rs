//! A task as a submitter writes it: one JSON object, the same over HTTP, in a batch file and on the command line.
//!
//! Unknown fields are refused, so that a misspelt one is seen at once.

mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use arbiter_core::model::{
    ArtifactRef, Budget, CompliancePlan, Constraints, Digest, Json, OnPrerequisiteFailure, Priority, Ratio,
    Requires, ReviewPlan, SecurityLevel, TaskId, TaskKind, TaskSpec, Timestamp, TraceContext,
    VerificationPlan,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::object::Object;

/// A task to submit, read from its JSON form.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskInput {
    /// What is asked; its `after` is empty.
    pub spec: TaskSpec,
    /// What must have succeeded first.
    pub after: Vec<After>,
    /// Recognises a repeat.
    pub idempotency_key: Option<String>,
}

/// A prerequisite as it is written: a task id, or `#n` for the n-th task of the same submit, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// A task that exists already.
    Task(TaskId),
    /// Another task of the same submit, from 1.
    Item(usize),
}

/// Why a task cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskInputError {
    /// A field is not known.
    #[error("{0}")]
    UnsupportedField(String),
    /// It is not one JSON object of the right form.
    #[error("{0}")]
    Malformed(String),
    /// A field's value breaks a rule.
    #[error("`{field}`: {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl TaskInputError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnsupportedField(_) => "unsupported_field",
            Self::Malformed(_) | Self::Invalid { .. } => "invalid_task",
        }
    }
}

/// The JSON form of a task to submit. Absent fields have the defaults that are stated.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "TaskSpec")]
pub struct TaskForm {
    /// What sort of work it is: a namespaced word, such as `code-review`.
    pub kind: String,
    /// A line for people, 1–200 characters.
    pub title: String,
    /// What is to be done, at most 100 000 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instructions: String,
    /// Any JSON, at most 1 MiB; larger inputs are artifacts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Box<RawValue>>,
    /// Input files, stored before.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::object::many"
    )]
    pub artifacts: Vec<ArtifactForm>,
    /// How urgent it is; 50 (normal).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<PriorityForm>,
    /// What an agent must be able to do.
    #[serde(default, deserialize_with = "crate::object::one")]
    pub requires: RequiresForm,
    /// Limits of the work.
    #[serde(default, deserialize_with = "crate::object::one")]
    pub constraints: ConstraintsForm,
    /// The moment before which no attempt starts (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// What must have succeeded first: task ids, or `#n` for the n-th task of the same submit, from 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// What happens when one of them does not succeed; fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_prerequisite_failure: Option<OnFailureForm>,
    /// Which reviews the output must pass.
    #[serde(default, deserialize_with = "crate::object::one")]
    pub review: ReviewForm,
    /// Words for finding it again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How secret it is; internal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<SecurityForm>,
    /// Recognises a repeat, 1–255 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// The caller's trace (W3C Trace Context).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// A stored file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ArtifactRef")]
pub struct ArtifactForm {
    /// The name under which the agent finds it.
    pub name: String,
    /// Its SHA-256, as 64 hexadecimal digits.
    pub digest: String,
    /// Its size.
    pub size_bytes: u64,
}

/// How urgent a task is.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "a priority is a number from 0 to 100, or low, normal, high, critical"
)]
#[schemars(rename = "Priority")]
pub enum PriorityForm {
    /// 0–100.
    Number(#[schemars(range(min = 0, max = 100))] u8),
    /// A word for 25, 50, 75 or 100.
    Word(PriorityWord),
}

/// A word for a priority.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriorityWord {
    /// 25
    Low,
    /// 50
    Normal,
    /// 75
    High,
    /// 100
    Critical,
}

/// What an agent must be able to do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Requires")]
pub struct RequiresForm {
    /// Languages that it must know.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub languages: BTreeSet<String>,
    /// Specialisations that it must have.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub specialisations: BTreeSet<String>,
    /// Tools that it must have.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub tools: BTreeSet<String>,
    /// The success rate that it must have shown, 0–1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_success_rate: Option<f64>,
}

/// Limits of the work.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Constraints")]
pub struct ConstraintsForm {
    /// When it must have ended (RFC 3339).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// How long one attempt may take; 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_timeout_seconds: Option<f64>,
    /// How many attempts may count; 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u16>,
    /// What an attempt may use.
    #[serde(deserialize_with = "crate::object::one")]
    pub budget: BudgetForm,
}

/// What an attempt may use; absent means no limit.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Budget")]
pub struct BudgetForm {
    /// Files changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Lines changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Model tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Cost, in millionths of the deployment's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
}

/// What happens when a prerequisite does not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "OnPrerequisiteFailure")]
pub enum OnFailureForm {
    /// The task fails as well.
    Fail,
    /// It is held for a person.
    Hold,
}

/// Which reviews the output must pass.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Review")]
pub struct ReviewForm {
    /// Its claims are verified.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::object::optional"
    )]
    pub verification: Option<VerificationForm>,
    /// It is judged by this rubric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rubric: Option<String>,
    /// It is checked against gates and a working specification.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::object::optional"
    )]
    pub compliance: Option<ComplianceForm>,
}

/// How claims are verified.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "VerificationPlan")]
pub struct VerificationForm {
    /// By these methods; empty means the deployment's.
    pub methods: Vec<String>,
    /// The confidence below which the task is held, 0–1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_confidence: Option<f64>,
}

/// What the output is checked against.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "CompliancePlan")]
pub struct ComplianceForm {
    /// Quality gates.
    pub gates: Vec<String>,
    /// A working specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_spec: Option<String>,
}

/// How secret a task is. An agent must be cleared for it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SecurityLevel")]
pub enum SecurityForm {
    /// For everybody inside.
    Internal,
    /// For those cleared for it.
    Confidential,
    /// The same, and its inputs are kept out of logs and notifications whole.
    Restricted,
}

impl TaskInput {
    /// Reads one task.
    ///
    /// # Errors
    /// [`TaskInputError`] with the field and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, TaskInputError> {
        let Object(form): Object<TaskForm> = serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            if message.starts_with("unknown field") {
                TaskInputError::UnsupportedField(message)
            } else {
                TaskInputError::Malformed(message)
            }
        })?;
        form.read()
    }
}

impl TaskForm {
    /// A task with every optional part left out.
    pub fn new(kind: &str, title: &str, instructions: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            title: title.to_owned(),
            instructions: instructions.to_owned(),
            input: None,
            artifacts: Vec::new(),
            priority: None,
            requires: RequiresForm::default(),
            constraints: ConstraintsForm::default(),
            not_before: None,
            after: Vec::new(),
            on_prerequisite_failure: None,
            review: ReviewForm::default(),
            labels: BTreeMap::new(),
            security: None,
            idempotency_key: None,
            traceparent: None,
        }
    }

    /// Reads the values of the fields.
    ///
    /// # Errors
    /// [`TaskInputError::Invalid`] with the field and what is wrong with it.
    pub fn read(self) -> Result<TaskInput, TaskInputError> {
        let form = self;
        let mut spec = TaskSpec::new(
            or("kind", TaskKind::new(&form.kind))?,
            form.title,
            form.instructions,
        );
        spec.input = form
            .input
            .map(|raw| or("input", Json::parse(raw.get())))
            .transpose()?;
        spec.artifacts = form
            .artifacts
            .into_iter()
            .map(artifact)
            .collect::<Result<_, _>>()?;
        spec.priority = form.priority.map_or(Ok(Priority::default()), priority)?;
        spec.requires = requires(form.requires)?;
        spec.constraints = constraints(form.constraints)?;
        spec.not_before = time("not_before", form.not_before)?;
        spec.on_prerequisite_failure = match form.on_prerequisite_failure {
            Some(OnFailureForm::Hold) => OnPrerequisiteFailure::Hold,
            Some(OnFailureForm::Fail) | None => OnPrerequisiteFailure::Fail,
        };
        spec.review = review(form.review)?;
        spec.labels = form.labels;
        spec.security = match form.security {
            Some(SecurityForm::Restricted) => SecurityLevel::Restricted,
            Some(SecurityForm::Confidential) => SecurityLevel::Confidential,
            Some(SecurityForm::Internal) | None => SecurityLevel::Internal,
        };
        spec.trace = form
            .traceparent
            .map(|text| or("traceparent", TraceContext::parse(&text)))
            .transpose()?;
        let after = form
            .after
            .iter()
            .map(|text| prerequisite(text))
            .collect::<Result<_, _>>()?;
        Ok(TaskInput {
            spec,
            after,
            idempotency_key: form.idempotency_key,
        })
    }
}

fn or<T, E: std::fmt::Display>(field: &'static str, result: Result<T, E>) -> Result<T, TaskInputError> {
    result.map_err(|error| TaskInputError::Invalid {
        field,
        problem: error.to_string(),
    })
}

fn artifact(form: ArtifactForm) -> Result<ArtifactRef, TaskInputError> {
    Ok(ArtifactRef {
        name: form.name,
        digest: or("artifacts.digest", form.digest.parse::<Digest>())?,
        size_bytes: form.size_bytes,
    })
}

fn priority(form: PriorityForm) -> Result<Priority, TaskInputError> {
    match form {
        PriorityForm::Number(value) => or("priority", Priority::new(value)),
        PriorityForm::Word(PriorityWord::Low) => Ok(Priority::LOW),
        PriorityForm::Word(PriorityWord::Normal) => Ok(Priority::NORMAL),
        PriorityForm::Word(PriorityWord::High) => Ok(Priority::HIGH),
        PriorityForm::Word(PriorityWord::Critical) => Ok(Priority::CRITICAL),
    }
}

fn requires(form: RequiresForm) -> Result<Requires, TaskInputError> {
    Ok(Requires {
        languages: form.languages,
        specialisations: form.specialisations,
        tools: form.tools,
        minimum_success_rate: ratio("requires.minimum_success_rate", form.minimum_success_rate)?,
    })
}

fn constraints(form: ConstraintsForm) -> Result<Constraints, TaskInputError> {
    let default = Constraints::default();
    let attempt_timeout = match form.attempt_timeout_seconds {
        Some(seconds) => or(
            "constraints.attempt_timeout_seconds",
            Duration::try_from_secs_f64(seconds),
        )?,
        None => default.attempt_timeout,
    };
    let BudgetForm {
        files,
        lines,
        tokens,
        cost_micros,
    } = form.budget;
    Ok(Constraints {
        deadline: time("constraints.deadline", form.deadline)?,
        attempt_timeout,
        max_attempts: form.max_attempts.unwrap_or(default.max_attempts),
        budget: Budget {
            files,
            lines,
            tokens,
            cost_micros,
        },
    })
}

fn review(form: ReviewForm) -> Result<ReviewPlan, TaskInputError> {
    let verification = match form.verification {
        Some(plan) => Some(VerificationPlan {
            minimum_confidence: ratio("review.verification.minimum_confidence", plan.minimum_confidence)?,
            methods: plan.methods,
        }),
        None => None,
    };
    let compliance = form.compliance.map(|plan| CompliancePlan {
        gates: plan.gates,
        working_spec: plan.working_spec,
    });
    Ok(ReviewPlan {
        verification,
        rubric: form.rubric,
        compliance,
    })
}

fn prerequisite(text: &str) -> Result<After, TaskInputError> {
    match text.strip_prefix('#') {
        Some(number) => match number.parse::<usize>() {
            Ok(number) if number > 0 => Ok(After::Item(number)),
            _ => Err(TaskInputError::Invalid {
                field: "after",
                problem: format!("`{text}` is not `#` and the number of a task in the same submit, from 1"),
            }),
        },
        None => Ok(After::Task(or("after", text.parse())?)),
    }
}

fn ratio(field: &'static str, value: Option<f64>) -> Result<Option<Ratio>, TaskInputError> {
    value.map(|value| or(field, Ratio::new(value))).transpose()
}

fn time(field: &'static str, text: Option<String>) -> Result<Option<Timestamp>, TaskInputError> {
    text.map(|text| or(field, text.parse())).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_task_has_every_default() {
        let input = TaskInput::parse(r#"{"kind":"analysis","title":"Count"}"#).expect("task");
        assert_eq!(
            input.spec,
            TaskSpec::new(TaskKind::new("analysis").expect("kind"), "Count", "")
        );
        assert_eq!((input.after, input.idempotency_key), (Vec::new(), None));
    }

    #[test]
    fn every_field_is_read() {
        let id = TaskId::from_bytes([9; 16]);
        let text = format!(
            r##"{{"kind":"code-review","title":"t","instructions":"i","input":{{"a":[1.50]}},
            "artifacts":[{{"name":"document","digest":"{digest}","size_bytes":3}}],"priority":"high",
            "requires":{{"languages":["rust"],"minimum_success_rate":0.5}},
            "constraints":{{"deadline":"2030-01-01T00:00:00Z","attempt_timeout_seconds":1.5,"max_attempts":2,"budget":{{"tokens":7}}}},
            "not_before":"2029-01-01T00:00:00Z","after":["#2","{id}"],"on_prerequisite_failure":"hold",
            "review":{{"verification":{{"minimum_confidence":0.9}}}},"labels":{{"a":"b"}},"security":"restricted",
            "idempotency_key":"k","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}"##,
            digest = Digest::of(b"abc"),
        );
        let input = TaskInput::parse(&text).expect("task");
        assert_eq!(
            input.spec.input.as_ref().map(Json::as_str),
            Some(r#"{"a":[1.50]}"#)
        );
        assert_eq!(input.spec.priority, Priority::HIGH);
        assert_eq!(
            input.spec.constraints.attempt_timeout,
            Duration::from_millis(1500)
        );
        assert_eq!(input.spec.constraints.budget.tokens, Some(7));
        assert_eq!(input.after, [After::Item(2), After::Task(id)]);
        assert_eq!(input.spec.on_prerequisite_failure, OnPrerequisiteFailure::Hold);
        assert_eq!(input.spec.security, SecurityLevel::Restricted);
        assert_eq!(input.spec.review.stages().len(), 1);
        assert_eq!(input.idempotency_key.as_deref(), Some("k"));
        assert!(input.spec.trace.is_some());
        // And what was read is written such that it reads the same.
        let written = serde_json::to_string(&TaskForm::from(&input.spec)).expect("written");
        assert_eq!(
            TaskInput::parse(&written).expect("task").spec,
            input.spec,
            "{written}"
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, code, part) in [
            ("", "invalid_task", "EOF"),
            ("[]", "invalid_task", "invalid"),
            (r#"{"kind":"analysis"}"#, "invalid_task", "title"),
            (
                r#"{"kind":"analysis","title":"t","titel":1}"#,
                "unsupported_field",
                "titel",
            ),
            (r#"{"kind":"A b","title":"t"}"#, "invalid_task", "`kind`"),
            (
                r#"{"kind":"analysis","title":"t","priority":101}"#,
                "invalid_task",
                "priority",
            ),
            (
                r#"{"kind":"analysis","title":"t","priority":"urgent"}"#,
                "invalid_task",
                "priority",
            ),
            (
                r#"{"kind":"analysis","title":"t","constraints":{"attempt_timeout_seconds":-1}}"#,
                "invalid_task",
                "attempt_timeout",
            ),
            (
                r#"{"kind":"analysis","title":"t","constraints":{"timeout":1}}"#,
                "unsupported_field",
                "timeout",
            ),
            (
                r##"{"kind":"analysis","title":"t","after":["#0"]}"##,
                "invalid_task",
                "#0",
            ),
            (
                r#"{"kind":"analysis","title":"t","not_before":"tomorrow"}"#,
                "invalid_task",
                "tomorrow",
            ),
        ] {
            let error = TaskInput::parse(text).expect_err(text);
            assert_eq!(error.code(), code, "{text}");
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }
}
