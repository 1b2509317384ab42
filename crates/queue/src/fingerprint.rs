//! Recognising repeated submissions.

use arbiter_core::mechanism::{CanonicalError, canonical_json};
use arbiter_core::model::{
    Budget, Digest, Json, OnPrerequisiteFailure, ReviewPlan, SecurityLevel, TaskSpec, TenantId, TenantScope,
};
use arbiter_core::ports::{
    DocumentContent, DocumentError, DocumentKey, DocumentWrite, Documents, Effects, Entropy, Precondition,
    StoreError,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::submission::{Prerequisite, Submission};

const KIND: &str = "store_key";
const ID: &str = "submission_fingerprint";

/// The store's key for fingerprints: without it nobody can test guesses about a submission's content.
pub struct FingerprintKey([u8; 32]);

impl std::fmt::Debug for FingerprintKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FingerprintKey(hidden)")
    }
}

impl FingerprintKey {
    /// Makes a key of 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads the store's key, or makes it at first use.
    ///
    /// # Errors
    /// The store's; a stored key that cannot be read is [`StoreError::Corrupt`], never replaced.
    ///
    /// # Cancel safety
    /// Safe: a repeat finds the key that was stored first.
    pub async fn load_or_create(
        documents: &dyn Documents,
        entropy: &dyn Entropy,
    ) -> Result<Self, StoreError> {
        if let Some(key) = Self::load(documents).await? {
            return Ok(key);
        }
        let mut bytes = [0; 32];
        entropy.fill(&mut bytes);
        let write = DocumentWrite {
            key: Self::document(),
            precondition: Precondition::Absent,
            content: Some(DocumentContent {
                body: Json::of(&json!({"version": 1, "key": hex::encode(bytes)})),
                index: Vec::new(),
                expires_at: None,
            }),
        };
        match documents.write(vec![write], Effects::default()).await {
            Ok(_) => Ok(Self::from_bytes(bytes)),
            Err(DocumentError::Precondition { .. }) => Self::load(documents).await?.ok_or_else(corrupt),
            Err(DocumentError::Store(error)) => Err(error),
            Err(_) => Err(corrupt()),
        }
    }

    async fn load(documents: &dyn Documents) -> Result<Option<Self>, StoreError> {
        let found = documents.get(TenantScope::All, &[Self::document()]).await?;
        let Some(document) = found.into_iter().flatten().next() else {
            return Ok(None);
        };
        let bytes = document.body.value()["key"]
            .as_str()
            .and_then(|text| hex::decode(text).ok());
        let bytes: [u8; 32] = bytes
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(corrupt)?;
        Ok(Some(Self::from_bytes(bytes)))
    }

    fn document() -> DocumentKey {
        DocumentKey {
            kind: KIND,
            tenant: TenantId::SYSTEM,
            id: ID.to_owned(),
        }
    }

    /// HMAC-SHA-256 (RFC 2104) of the submission's canonical JSON (RFC 8785), before redaction and without its trace
    /// context.
    ///
    /// # Errors
    /// When the input has no canonical form (a number beyond IEEE 754 double).
    pub fn fingerprint(&self, submission: &Submission) -> Result<Digest, CanonicalError> {
        self.seal(&form(submission))
    }

    /// HMAC-SHA-256 of a value's canonical JSON.
    pub(crate) fn seal(&self, value: &Value) -> Result<Digest, CanonicalError> {
        let canonical = canonical_json(value)?;
        // A key shorter than the block is padded with zeros (RFC 2104 §2): the constructor takes the padded one.
        let mut padded = [0; 64];
        padded[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&padded.into());
        mac.update(&canonical);
        Ok(Digest::from_bytes(mac.finalize().into_bytes().into()))
    }
}

fn corrupt() -> StoreError {
    StoreError::Corrupt {
        operation: "reading the fingerprint key",
        what: "document `store_key/submission_fingerprint`",
        source: "it is not 32 bytes of hexadecimal digits".into(),
    }
}

/// The submission as one JSON value: every field, defaults written out, so that leaving one out and giving its default
/// are the same content.
fn form(submission: &Submission) -> Value {
    let TaskSpec {
        kind,
        title,
        instructions,
        input,
        artifacts,
        priority,
        requires,
        constraints,
        not_before,
        after: _,
        on_prerequisite_failure,
        review,
        labels,
        security,
        trace: _,
    } = &submission.spec;
    let after: Vec<Value> = submission
        .after
        .iter()
        .map(|prerequisite| match prerequisite {
            Prerequisite::Task(task) => json!({"task": task.to_string()}),
            Prerequisite::Sibling(place) => json!({"sibling": place}),
        })
        .collect();
    let artifacts: Vec<Value> = artifacts
        .iter()
        .map(|file| json!({"name": file.name, "digest": file.digest.to_string(), "size": file.size_bytes}))
        .collect();
    let Budget {
        files,
        lines,
        tokens,
        cost_micros,
    } = constraints.budget;
    json!({
        "kind": kind.as_str(),
        "title": title,
        "instructions": instructions,
        "input": input.as_ref().map(Json::value),
        "artifacts": artifacts,
        "priority": priority.get(),
        "requires": {
            "languages": requires.languages,
            "specialisations": requires.specialisations,
            "tools": requires.tools,
            "minimum_success_rate": requires.minimum_success_rate.map(arbiter_core::model::Ratio::millionths),
        },
        "constraints": {
            "deadline": constraints.deadline.map(|at| at.to_string()),
            "attempt_timeout_ms": constraints.attempt_timeout.as_millis().to_string(),
            "max_attempts": constraints.max_attempts,
            "budget": {"files": files, "lines": lines, "tokens": tokens, "cost_micros": cost_micros},
        },
        "not_before": not_before.map(|at| at.to_string()),
        "after": after,
        "on_prerequisite_failure": match on_prerequisite_failure {
            OnPrerequisiteFailure::Fail => "fail",
            OnPrerequisiteFailure::Hold => "hold",
        },
        "review": review_form(review),
        "labels": labels,
        "security": match security {
            SecurityLevel::Internal => "internal",
            SecurityLevel::Confidential => "confidential",
            SecurityLevel::Restricted => "restricted",
        },
    })
}

fn review_form(review: &ReviewPlan) -> Value {
    json!({
        "verification": review.verification.as_ref().map(|plan| json!({
            "methods": plan.methods,
            "minimum_confidence": plan.minimum_confidence.map(arbiter_core::model::Ratio::millionths),
        })),
        "rubric": review.rubric,
        "compliance": review.compliance.as_ref().map(|plan| json!({
            "gates": plan.gates,
            "working_spec": plan.working_spec,
        })),
    })
}

#[cfg(test)]
mod tests {
    use arbiter_core::model::{TaskKind, TraceContext};

    use super::*;

    fn submission(input: &str) -> Submission {
        let mut spec = TaskSpec::new(TaskKind::new("analysis").expect("kind"), "title", "do it");
        spec.input = Some(Json::parse(input).expect("json"));
        Submission::new(spec)
    }

    #[test]
    fn equal_content_has_equal_fingerprints_whatever_its_notation() {
        let key = FingerprintKey::from_bytes([1; 32]);
        let first = key
            .fingerprint(&submission(r#"{"a": 1, "b": [1.0]}"#))
            .expect("fingerprint");
        assert_eq!(
            key.fingerprint(&submission(r#"{"b":[1],"a":1}"#))
                .expect("fingerprint"),
            first
        );
        let mut traced = submission(r#"{"a":1,"b":[1]}"#);
        traced.spec.trace =
            TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").ok();
        assert_eq!(key.fingerprint(&traced).expect("fingerprint"), first);
        assert_ne!(
            key.fingerprint(&submission(r#"{"a": 2, "b": [1]}"#))
                .expect("fingerprint"),
            first
        );
        assert_ne!(
            FingerprintKey::from_bytes([2; 32])
                .fingerprint(&traced)
                .expect("fingerprint"),
            first
        );
    }
}
