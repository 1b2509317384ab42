//! The specification of a task, written once.

use arbiter_core::model::{
    CompliancePlan, Constraints, Json, OnPrerequisiteFailure, Priority, Ratio, ReviewPlan, SecurityLevel,
    Stage, TaskKind, TaskSpec, TraceContext, VerificationPlan,
};
use arbiter_core::ports::{BoxError, SpecCodec};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::CodecError;
use super::common::{AmountsForm, ArtifactForm, Labels, at, json, parse, raw, value, version};
use super::lane::{RequiresForm, ratio};
use super::primitive::Span;

/// The stored form of specifications, for domains that keep them inside of other documents.
#[derive(Debug, Clone, Copy, Default)]
pub struct StoredSpecs;

impl SpecCodec for StoredSpecs {
    fn encode(&self, spec: &TaskSpec) -> Result<Json, BoxError> {
        Ok(Json::parse(encode_spec(spec)?)?)
    }

    fn decode(&self, body: &Json) -> Result<TaskSpec, BoxError> {
        Ok(decode_spec(body.as_str())?)
    }
}

#[derive(Serialize, Deserialize)]
struct Form {
    v: u32,
    kind: String,
    title: String,
    instructions: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<ArtifactForm>,
    priority: u8,
    #[serde(default)]
    requires: RequiresForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<i64>,
    attempt_timeout: Span,
    max_attempts: u16,
    #[serde(default, skip_serializing_if = "AmountsForm::is_empty")]
    budget: AmountsForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    after: Vec<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    hold_on_prerequisite_failure: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verification: Option<VerificationForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rubric: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    compliance: Option<ComplianceForm>,
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    labels: Labels,
    security: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct VerificationForm {
    methods: Vec<String>,
    minimum_confidence: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct ComplianceForm {
    gates: Vec<String>,
    working_spec: Option<String>,
}

pub(super) const fn security_word(level: SecurityLevel) -> &'static str {
    match level {
        SecurityLevel::Internal => "internal",
        SecurityLevel::Confidential => "confidential",
        SecurityLevel::Restricted => "restricted",
    }
}

pub(super) fn security(word: &str) -> Result<SecurityLevel, CodecError> {
    match word {
        "internal" => Ok(SecurityLevel::Internal),
        "confidential" => Ok(SecurityLevel::Confidential),
        "restricted" => Ok(SecurityLevel::Restricted),
        other => Err(value("security level", other)),
    }
}

pub(super) fn stage(word: &str) -> Result<Stage, CodecError> {
    Stage::ALL
        .into_iter()
        .find(|stage| stage.word() == word)
        .ok_or_else(|| value("stage", word))
}

/// Writes a specification.
///
/// # Errors
/// Never for a specification that was made by this program.
pub fn encode_spec(spec: &TaskSpec) -> Result<String, CodecError> {
    let form = Form {
        v: 1,
        kind: spec.kind.to_string(),
        title: spec.title.clone(),
        instructions: spec.instructions.clone(),
        input: spec.input.as_ref().map(raw).transpose()?,
        artifacts: spec.artifacts.iter().map(Into::into).collect(),
        priority: spec.priority.get(),
        requires: (&spec.requires).into(),
        deadline: spec
            .constraints
            .deadline
            .map(arbiter_core::model::Timestamp::as_micros),
        attempt_timeout: Span(spec.constraints.attempt_timeout),
        max_attempts: spec.constraints.max_attempts,
        budget: (&spec.constraints.budget).into(),
        not_before: spec.not_before.map(arbiter_core::model::Timestamp::as_micros),
        after: spec.after.iter().map(ToString::to_string).collect(),
        hold_on_prerequisite_failure: spec.on_prerequisite_failure == OnPrerequisiteFailure::Hold,
        verification: spec.review.verification.as_ref().map(|plan| VerificationForm {
            methods: plan.methods.clone(),
            minimum_confidence: plan.minimum_confidence.map(Ratio::millionths),
        }),
        rubric: spec.review.rubric.clone(),
        compliance: spec.review.compliance.as_ref().map(|plan| ComplianceForm {
            gates: plan.gates.clone(),
            working_spec: plan.working_spec.clone(),
        }),
        labels: spec.labels.clone(),
        security: security_word(spec.security).to_owned(),
        trace: spec.trace.as_ref().map(|trace| trace.as_str().to_owned()),
    };
    Ok(serde_json::to_string(&form)?)
}

/// Reads a specification.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_spec(text: &str) -> Result<TaskSpec, CodecError> {
    let form: Form = serde_json::from_str(text)?;
    version(form.v, 1)?;
    let verification = match form.verification {
        Some(plan) => Some(VerificationPlan {
            methods: plan.methods,
            minimum_confidence: plan.minimum_confidence.map(ratio).transpose()?,
        }),
        None => None,
    };
    Ok(TaskSpec {
        kind: TaskKind::new(&form.kind).map_err(|_| value("task kind", &form.kind))?,
        title: form.title,
        instructions: form.instructions,
        input: form.input.as_deref().map(json).transpose()?,
        artifacts: form
            .artifacts
            .into_iter()
            .map(ArtifactForm::decode)
            .collect::<Result<_, _>>()?,
        priority: Priority::new(form.priority).map_err(|_| value("priority", form.priority))?,
        requires: form.requires.decode()?,
        constraints: Constraints {
            deadline: form.deadline.map(at),
            attempt_timeout: form.attempt_timeout.0,
            max_attempts: form.max_attempts,
            budget: form.budget.budget(),
        },
        not_before: form.not_before.map(at),
        after: form
            .after
            .iter()
            .map(|text| parse("task id", text))
            .collect::<Result<_, _>>()?,
        on_prerequisite_failure: if form.hold_on_prerequisite_failure {
            OnPrerequisiteFailure::Hold
        } else {
            OnPrerequisiteFailure::Fail
        },
        review: ReviewPlan {
            verification,
            rubric: form.rubric,
            compliance: form.compliance.map(|plan| CompliancePlan {
                gates: plan.gates,
                working_spec: plan.working_spec,
            }),
        },
        labels: form.labels,
        security: security(&form.security)?,
        trace: match form.trace {
            Some(text) => Some(TraceContext::parse(&text).map_err(|_| value("traceparent", &text))?),
            None => None,
        },
    })
}
