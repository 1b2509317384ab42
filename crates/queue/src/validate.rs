//! Form and limits of submissions and reports: pure, and each field measured by itself.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_core::model::{ArtifactRef, Failure, Json, Report, TaskSpec};

use crate::error::QueueError;
use crate::settings::FieldLimits;
use crate::submission::{Prerequisite, Submission};

/// Checks one submission of a call with `siblings` tasks, of which this is number `place`.
pub(crate) fn submission(
    limits: &FieldLimits,
    submission: &Submission,
    place: usize,
    siblings: usize,
) -> Result<(), QueueError> {
    let spec = &submission.spec;
    texts(limits, spec)?;
    words(limits, spec)?;
    times(limits, spec)?;
    artifacts(limits.artifacts, &spec.artifacts)?;
    if !spec.after.is_empty() {
        return Err(QueueError::invalid(
            "after",
            "must be given as prerequisites of the submission",
        ));
    }
    at_most("after", submission.after.len(), limits.prerequisites)?;
    for prerequisite in &submission.after {
        match *prerequisite {
            Prerequisite::Sibling(other) if other >= siblings => {
                return Err(QueueError::invalid(
                    "after",
                    format!("names item {other} of a call with {siblings}"),
                ));
            }
            Prerequisite::Sibling(other) if other == place => {
                return Err(QueueError::invalid("after", "names the task itself"));
            }
            Prerequisite::Sibling(_) | Prerequisite::Task(_) => {}
        }
    }
    if let Some(key) = &submission.idempotency_key {
        if key.is_empty() || key.chars().any(char::is_control) {
            return Err(QueueError::invalid(
                "idempotency_key",
                "must not be empty or hold control characters",
            ));
        }
        at_most(
            "idempotency_key",
            key.chars().count(),
            limits.idempotency_key_chars,
        )?;
    }
    Ok(())
}

fn texts(limits: &FieldLimits, spec: &TaskSpec) -> Result<(), QueueError> {
    if spec.title.trim().is_empty() {
        return Err(QueueError::invalid("title", "must not be empty"));
    }
    if spec.title.chars().any(char::is_control) {
        return Err(QueueError::invalid(
            "title",
            "must be one line without control characters",
        ));
    }
    at_most("title", spec.title.chars().count(), limits.title_chars)?;
    at_most(
        "instructions",
        spec.instructions.chars().count(),
        limits.instructions_chars,
    )?;
    at_most(
        "input",
        spec.input.as_ref().map_or(0, Json::len_bytes),
        limits.input_bytes,
    )
}

fn words(limits: &FieldLimits, spec: &TaskSpec) -> Result<(), QueueError> {
    at_most("labels", spec.labels.len(), limits.labels)?;
    for (name, value) in &spec.labels {
        word(limits, "labels", name)?;
        at_most("labels", value.chars().count(), limits.label_value_chars)?;
    }
    let sets: [(&str, &BTreeSet<String>); 3] = [
        ("requires.languages", &spec.requires.languages),
        ("requires.specialisations", &spec.requires.specialisations),
        ("requires.tools", &spec.requires.tools),
    ];
    for (field, set) in sets {
        at_most(field, set.len(), limits.requirement_words)?;
        set.iter().try_for_each(|text| word(limits, field, text))?;
    }
    let review = &spec.review;
    if let Some(plan) = &review.verification {
        at_most(
            "review.verification.methods",
            plan.methods.len(),
            limits.requirement_words,
        )?;
        plan.methods
            .iter()
            .try_for_each(|text| word(limits, "review.verification.methods", text))?;
    }
    if let Some(rubric) = &review.rubric {
        word(limits, "review.rubric", rubric)?;
    }
    if let Some(plan) = &review.compliance {
        at_most("review.gates", plan.gates.len(), limits.requirement_words)?;
        plan.gates
            .iter()
            .chain(&plan.working_spec)
            .try_for_each(|text| word(limits, "review.compliance", text))?;
    }
    Ok(())
}

fn word(limits: &FieldLimits, field: &str, text: &str) -> Result<(), QueueError> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(QueueError::invalid(
            field,
            "must not hold empty words or control characters",
        ));
    }
    at_most(field, text.chars().count(), limits.word_chars)
}

fn times(limits: &FieldLimits, spec: &TaskSpec) -> Result<(), QueueError> {
    let constraints = &spec.constraints;
    if constraints.attempt_timeout < Duration::from_millis(1)
        || constraints.attempt_timeout > limits.attempt_timeout
    {
        let problem = format!("must lie between 1 ms and {} s", limits.attempt_timeout.as_secs());
        return Err(QueueError::invalid("constraints.attempt_timeout", problem));
    }
    if constraints.max_attempts == 0 || constraints.max_attempts > limits.attempts {
        return Err(QueueError::invalid(
            "constraints.max_attempts",
            format!("must lie in 1..={}", limits.attempts),
        ));
    }
    // Whether the deadline lies ahead is the store's to say, by its clock and after it has looked for a repeat.
    if let Some(deadline) = constraints.deadline
        && spec.not_before.is_some_and(|start| start >= deadline)
    {
        return Err(QueueError::invalid("not_before", "is not before the deadline"));
    }
    Ok(())
}

/// Checks what an agent hands in.
pub(crate) fn report(limits: &FieldLimits, report: &Report) -> Result<(), QueueError> {
    at_most(
        "output",
        report.output.as_ref().map_or(0, Json::len_bytes),
        limits.output_bytes,
    )?;
    for (field, items) in [("claims", &report.claims), ("evidence", &report.evidence)] {
        at_most(field, items.len(), limits.report_items)?;
        at_most(
            field,
            items.iter().map(Json::len_bytes).sum(),
            limits.output_bytes,
        )?;
    }
    artifacts(limits.report_items, &report.artifacts)
}

/// Checks a failure that an agent tells.
pub(crate) fn failure(limits: &FieldLimits, failure: &Failure) -> Result<(), QueueError> {
    at_most(
        "message",
        failure.message.chars().count(),
        limits.message_chars.saturating_mul(4),
    )?;
    at_most(
        "code",
        failure.code.as_ref().map_or(0, |code| code.chars().count()),
        limits.word_chars,
    )
}

/// Checks a reason that a person gives; operations that want one refuse its absence.
pub(crate) fn reason(limits: &FieldLimits, why: &str) -> Result<(), QueueError> {
    if why.trim().is_empty() {
        return Err(QueueError::invalid("reason", "must be given"));
    }
    at_most("reason", why.chars().count(), limits.message_chars)
}

fn artifacts(limit: usize, artifacts: &[ArtifactRef]) -> Result<(), QueueError> {
    at_most("artifacts", artifacts.len(), limit)?;
    let mut names = BTreeSet::new();
    for artifact in artifacts {
        if !ArtifactRef::is_name(&artifact.name) {
            let problem = "must have names of letters, digits, `.`, `_` and `-`, without a path";
            return Err(QueueError::invalid("artifacts", problem));
        }
        if !names.insert(&artifact.name) {
            return Err(QueueError::invalid("artifacts", "must not hold one name twice"));
        }
    }
    Ok(())
}

fn at_most(field: &str, actual: usize, limit: usize) -> Result<(), QueueError> {
    if actual > limit {
        return Err(QueueError::TooLarge {
            field: field.to_owned(),
            limit,
            actual,
        });
    }
    Ok(())
}
