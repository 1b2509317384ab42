//! The content policy: secrets are replaced before anything is stored, suspicious text is marked.

use std::borrow::Cow;
use std::sync::Arc;

use arbiter_core::mechanism::{Finding, REDACTED, Redactor, SuspicionDetector};
use arbiter_core::model::{Failure, Json, Progress, Report, TaskSpec};
use serde_json::json;

use crate::error::QueueError;

/// What happens to suspicious text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SuspicionPolicy {
    /// It is stored and marked in the audit log.
    #[default]
    Flag,
    /// It is refused.
    Refuse,
}

/// Redacts and inspects text. A clone shares the compiled patterns.
#[derive(Debug, Clone)]
pub struct ContentPolicy(Option<Arc<Patterns>>);

#[derive(Debug)]
struct Patterns {
    redactor: Redactor,
    detector: SuspicionDetector,
}

/// What the policy found in a text that was let through.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Noted {
    /// How many fields had secrets replaced.
    pub(crate) redacted_fields: Vec<&'static str>,
    /// What looked suspicious, by field.
    pub(crate) suspicious: Vec<(&'static str, &'static str)>,
}

impl Noted {
    pub(crate) fn is_empty(&self) -> bool {
        self.redacted_fields.is_empty() && self.suspicious.is_empty()
    }

    /// What is kept beside the audit leaf: names of fields and patterns, never the text.
    pub(crate) fn detail(&self) -> Json {
        let suspicious: Vec<_> = self
            .suspicious
            .iter()
            .map(|(field, pattern)| json!({"field": field, "pattern": pattern}))
            .collect();
        Json::of(&json!({
            "schema": "content/1",
            "redacted": self.redacted_fields,
            "suspicious": suspicious,
        }))
    }
}

impl ContentPolicy {
    /// A policy of a redactor and a detector.
    pub fn new(redactor: Redactor, detector: SuspicionDetector) -> Self {
        Self(Some(Arc::new(Patterns { redactor, detector })))
    }

    /// A policy that lets everything through as it is: for a service that embeds the queue behind a boundary of its
    /// own, and for measuring what redaction costs. No setting of the binary leads here.
    pub const fn none() -> Self {
        Self(None)
    }

    /// Redacts a specification in place and says what was found.
    pub(crate) fn task(&self, spec: &mut TaskSpec, policy: SuspicionPolicy) -> Result<Noted, QueueError> {
        let patterns = self.0.as_ref();
        patterns.map_or_else(|| Ok(Noted::default()), |patterns| patterns.task(spec, policy))
    }

    /// Redacts what an agent hands in.
    pub(crate) fn report(&self, report: &mut Report) -> Result<Noted, QueueError> {
        let patterns = self.0.as_ref();
        patterns.map_or_else(|| Ok(Noted::default()), |patterns| patterns.report(report))
    }

    /// Redacts a failure.
    pub(crate) fn failure(&self, failure: &mut Failure) -> Noted {
        let patterns = self.0.as_ref();
        patterns.map_or_else(Noted::default, |patterns| patterns.failure(failure))
    }

    /// Redacts progress.
    pub(crate) fn progress(&self, progress: &mut Progress) {
        if let Some(patterns) = &self.0 {
            patterns.text("progress", &mut progress.message, &mut Noted::default());
        }
    }

    /// Redacts a text that a person gives.
    pub(crate) fn reason(&self, why: String) -> String {
        match &self.0 {
            Some(patterns) => patterns.redactor.text(&why).into_owned(),
            None => why,
        }
    }

    /// An idempotency key is kept as it is, so it must hold no secret.
    pub(crate) fn key(&self, key: &String) -> Result<(), QueueError> {
        let patterns = self.0.as_ref();
        patterns.map_or(Ok(()), |patterns| {
            patterns.without_secret("idempotency_key", [key])
        })
    }
}

impl Patterns {
    fn task(&self, spec: &mut TaskSpec, policy: SuspicionPolicy) -> Result<Noted, QueueError> {
        self.names(spec)?;
        let mut noted = Noted::default();
        self.inspect("title", &spec.title, policy, &mut noted)?;
        self.inspect("instructions", &spec.instructions, policy, &mut noted)?;
        if let Some(input) = &spec.input {
            self.inspect("input", input.as_str(), policy, &mut noted)?;
        }
        self.text("title", &mut spec.title, &mut noted);
        self.text("instructions", &mut spec.instructions, &mut noted);
        if let Some(input) = &mut spec.input {
            self.json("input", input, &mut noted);
        }
        if self.redactor.map(&mut spec.labels) > 0 {
            noted.redacted_fields.push("labels");
        }
        Ok(noted)
    }

    fn report(&self, report: &mut Report) -> Result<Noted, QueueError> {
        self.without_secret("artifacts", report.artifacts.iter().map(|file| &file.name))?;
        let mut noted = Noted::default();
        if let Some(output) = &mut report.output {
            self.json("output", output, &mut noted);
        }
        for claim in &mut report.claims {
            self.json("claims", claim, &mut noted);
        }
        for evidence in &mut report.evidence {
            self.json("evidence", evidence, &mut noted);
        }
        noted.redacted_fields.dedup();
        Ok(noted)
    }

    fn failure(&self, failure: &mut Failure) -> Noted {
        let mut noted = Noted::default();
        self.text("message", &mut failure.message, &mut noted);
        if let Some(code) = &mut failure.code {
            self.text("code", code, &mut noted);
        }
        noted
    }

    /// Names say what is meant: one with a secret in it cannot be replaced, so it is refused.
    fn names(&self, spec: &TaskSpec) -> Result<(), QueueError> {
        let TaskSpec {
            artifacts,
            requires,
            labels,
            review,
            ..
        } = spec;
        self.without_secret("artifacts", artifacts.iter().map(|file| &file.name))?;
        self.without_secret("labels", labels.keys())?;
        self.without_secret("requires.languages", &requires.languages)?;
        self.without_secret("requires.specialisations", &requires.specialisations)?;
        self.without_secret("requires.tools", &requires.tools)?;
        let methods = review.verification.iter().flat_map(|plan| &plan.methods);
        let gates = review
            .compliance
            .iter()
            .flat_map(|plan| plan.gates.iter().chain(&plan.working_spec));
        self.without_secret("review", methods.chain(&review.rubric).chain(gates))
    }

    fn without_secret<'a>(
        &self,
        field: &'static str,
        names: impl IntoIterator<Item = &'a String>,
    ) -> Result<(), QueueError> {
        for name in names {
            if let Cow::Owned(_) = self.redactor.text(name) {
                return Err(QueueError::invalid(field, "must not have a secret in a name"));
            }
        }
        Ok(())
    }

    fn inspect(
        &self,
        field: &'static str,
        text: &str,
        policy: SuspicionPolicy,
        noted: &mut Noted,
    ) -> Result<(), QueueError> {
        for Finding { pattern, .. } in self.detector.inspect(text) {
            if policy == SuspicionPolicy::Refuse {
                return Err(QueueError::SuspiciousContent {
                    field: field.to_owned(),
                    pattern,
                });
            }
            noted.suspicious.push((field, pattern));
        }
        Ok(())
    }

    fn text(&self, field: &'static str, text: &mut String, noted: &mut Noted) {
        if let Cow::Owned(clean) = self.redactor.text(text) {
            *text = clean;
            noted.redacted_fields.push(field);
        }
    }

    fn json(&self, field: &'static str, value: &mut Json, noted: &mut Noted) {
        let clean = match self.redactor.json_text(value.as_str()) {
            Ok(Cow::Borrowed(_)) => return,
            Ok(Cow::Owned(clean)) => Json::parse(clean).ok(),
            Err(_) => None,
        };
        // What cannot be redacted is not stored at all.
        *value = clean.unwrap_or_else(|| Json::of(&json!(REDACTED)));
        noted.redacted_fields.push(field);
    }
}
