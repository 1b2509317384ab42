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
pub struct ContentPolicy {
    redactor: Arc<Redactor>,
    detector: Arc<SuspicionDetector>,
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
        Self {
            redactor: Arc::new(redactor),
            detector: Arc::new(detector),
        }
    }

    /// The redactor, for what others log or send.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Redacts a specification in place and says what was found.
    pub(crate) fn task(&self, spec: &mut TaskSpec, policy: SuspicionPolicy) -> Result<Noted, QueueError> {
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

    /// Redacts what an agent hands in.
    pub(crate) fn report(&self, report: &mut Report) -> Result<Noted, QueueError> {
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

    /// Redacts a failure.
    pub(crate) fn failure(&self, failure: &mut Failure) -> Noted {
        let mut noted = Noted::default();
        self.text("message", &mut failure.message, &mut noted);
        if let Some(code) = &mut failure.code {
            self.text("code", code, &mut noted);
        }
        noted
    }

    /// Redacts progress.
    pub(crate) fn progress(&self, progress: &mut Progress) {
        self.text("progress", &mut progress.message, &mut Noted::default());
    }

    /// Redacts a text that a person gives.
    pub(crate) fn reason(&self, why: String) -> String {
        self.redactor.text(&why).into_owned()
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
