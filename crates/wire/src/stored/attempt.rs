//! Finished attempts and reports of review stages, written once.

use arbiter_core::model::{
    Attempt, AttemptEnd, Failure, FailureClass, Fence, HoldReason, Report, StageOutcome, StageReport,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::CodecError;
use super::common::{AmountsForm, ArtifactForm, at, json, parse, raw, version, word};
use super::spec::stage;
use super::status::{OpenForm, decode_open, encode_open};

#[derive(Serialize, Deserialize)]
struct Form<'a> {
    v: u32,
    #[serde(borrow)]
    open: OpenForm<'a>,
    ended: i64,
    command: String,
    outcome: EndForm,
    #[serde(default, skip_serializing_if = "AmountsForm::is_empty")]
    usage: AmountsForm,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EndForm {
    Reported(ReportForm),
    Failed(FailureForm),
    Lost,
    Returned(String),
    Ended(String),
}

#[derive(Serialize, Deserialize)]
struct ReportForm {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    artifacts: Vec<ArtifactForm>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    claims: Vec<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "AmountsForm::is_empty")]
    usage: AmountsForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_enforced: Option<Vec<String>>,
}

#[derive(Serialize, Deserialize)]
struct FailureForm {
    class: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    message: String,
    #[serde(default, skip_serializing_if = "AmountsForm::is_empty")]
    usage: AmountsForm,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_enforced: Option<Vec<String>>,
}

/// Writes a finished attempt.
///
/// # Errors
/// Never for an attempt that was made by this program.
pub fn encode_attempt(attempt: &Attempt) -> Result<String, CodecError> {
    let outcome = match &attempt.outcome {
        AttemptEnd::Reported(report) => EndForm::Reported(ReportForm {
            output: report.output.as_ref().map(raw).transpose()?,
            artifacts: report.artifacts.iter().map(Into::into).collect(),
            claims: report.claims.iter().map(raw).collect::<Result<_, _>>()?,
            evidence: report.evidence.iter().map(raw).collect::<Result<_, _>>()?,
            usage: (&report.usage).into(),
            not_enforced: report.not_enforced.clone(),
        }),
        AttemptEnd::Failed(failure) => EndForm::Failed(FailureForm {
            class: failure.class.word().to_owned(),
            code: failure.code.clone(),
            message: failure.message.clone(),
            usage: (&failure.usage).into(),
            not_enforced: failure.not_enforced.clone(),
        }),
        AttemptEnd::Lost => EndForm::Lost,
        AttemptEnd::Returned { why } => EndForm::Returned(why.clone()),
        AttemptEnd::Ended { why } => EndForm::Ended(why.clone()),
    };
    let form = Form {
        v: 1,
        open: encode_open(&attempt.open),
        ended: attempt.ended_at.as_micros(),
        command: attempt.command.to_string(),
        outcome,
        usage: (&attempt.usage).into(),
    };
    Ok(serde_json::to_string(&form)?)
}

/// Reads a finished attempt.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_attempt(text: &str) -> Result<Attempt, CodecError> {
    let form: Form<'_> = serde_json::from_str(text)?;
    version(form.v, 1)?;
    let outcome = match form.outcome {
        EndForm::Reported(report) => AttemptEnd::Reported(Report {
            output: report.output.as_deref().map(json).transpose()?,
            artifacts: report
                .artifacts
                .into_iter()
                .map(ArtifactForm::decode)
                .collect::<Result<_, _>>()?,
            claims: report
                .claims
                .iter()
                .map(|claim| json(claim))
                .collect::<Result<_, _>>()?,
            evidence: report
                .evidence
                .iter()
                .map(|item| json(item))
                .collect::<Result<_, _>>()?,
            usage: report.usage.usage(),
            not_enforced: report.not_enforced,
        }),
        EndForm::Failed(failure) => AttemptEnd::Failed(Failure {
            class: word("failure class", &failure.class, FailureClass::from_word)?,
            code: failure.code,
            message: failure.message,
            usage: failure.usage.usage(),
            not_enforced: failure.not_enforced,
        }),
        EndForm::Lost => AttemptEnd::Lost,
        EndForm::Returned(why) => AttemptEnd::Returned { why },
        EndForm::Ended(why) => AttemptEnd::Ended { why },
    };
    Ok(Attempt {
        open: decode_open(form.open),
        ended_at: at(form.ended),
        command: parse("command id", &form.command)?,
        outcome,
        usage: form.usage.usage(),
    })
}

#[derive(Serialize, Deserialize)]
struct StageForm {
    v: u32,
    stage: String,
    fence: u64,
    command: String,
    at: i64,
    outcome: OutcomeForm,
    schema: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Box<RawValue>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutcomeForm {
    Passed,
    Failed(Vec<String>),
    Unsure(String),
    Errored(String),
}

/// Writes the report of a review stage.
///
/// # Errors
/// Never for a report that was made by this program.
pub fn encode_stage_report(report: &StageReport) -> Result<String, CodecError> {
    let outcome = match &report.outcome {
        StageOutcome::Passed => OutcomeForm::Passed,
        StageOutcome::Failed { reasons } => OutcomeForm::Failed(reasons.clone()),
        StageOutcome::Unsure { why } => OutcomeForm::Unsure(why.word().to_owned()),
        StageOutcome::Errored { message } => OutcomeForm::Errored(message.clone()),
    };
    let form = StageForm {
        v: 1,
        stage: report.stage.word().to_owned(),
        fence: report.fence.0,
        command: report.command.to_string(),
        at: report.at.as_micros(),
        outcome,
        schema: report.schema.clone(),
        body: report.body.as_ref().map(raw).transpose()?,
    };
    Ok(serde_json::to_string(&form)?)
}

/// Reads the report of a review stage.
///
/// # Errors
/// See [`CodecError`].
pub fn decode_stage_report(text: &str) -> Result<StageReport, CodecError> {
    let form: StageForm = serde_json::from_str(text)?;
    version(form.v, 1)?;
    let outcome = match form.outcome {
        OutcomeForm::Passed => StageOutcome::Passed,
        OutcomeForm::Failed(reasons) => StageOutcome::Failed { reasons },
        OutcomeForm::Unsure(why) => StageOutcome::Unsure {
            why: word("hold reason", &why, HoldReason::from_word)?,
        },
        OutcomeForm::Errored(message) => StageOutcome::Errored { message },
    };
    Ok(StageReport {
        stage: stage(&form.stage)?,
        fence: Fence(form.fence),
        command: parse("command id", &form.command)?,
        at: at(form.at),
        outcome,
        schema: form.schema,
        body: form.body.as_deref().map(json).transpose()?,
    })
}
