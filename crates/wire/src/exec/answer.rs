//! What a command gives.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_core::model::{Json, Usage};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{MAX_CLASS_CHARS, MAX_ITEMS, VERSION};
use crate::object::Object;

/// The object that a command wrote to standard output.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// How it ended.
    pub outcome: Outcome,
    /// What it used.
    pub usage: Usage,
}

/// How a command says that it ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It succeeded.
    Succeeded {
        /// The output.
        output: Option<Json>,
        /// Names of files in its working folder that become artifacts.
        artifacts: Vec<String>,
        /// What it claims.
        claims: Vec<Json>,
        /// What supports the claims.
        evidence: Vec<Json>,
    },
    /// It failed.
    Failed {
        /// Its own word for the error.
        class: Option<String>,
        /// What went wrong.
        message: String,
    },
}

/// An answer that is not what the protocol says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Nothing was written.
    #[error("the command wrote no answer")]
    Empty,
    /// It is not text.
    #[error("the answer is not UTF-8")]
    NotText,
    /// It is not exactly one object of the protocol.
    #[error("the answer is not one object of exec protocol 1: {0}")]
    Malformed(String),
    /// It is of another version of the protocol.
    #[error("the answer has version {0}; this node speaks version 1")]
    Version(u32),
    /// A list is longer than [`MAX_ITEMS`].
    #[error("`{field}` has {count} items where {MAX_ITEMS} is the limit")]
    TooMany {
        /// The list.
        field: &'static str,
        /// How many it has.
        count: usize,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    version: u32,
    outcome: OutcomeWord,
    output: Option<Box<RawValue>>,
    #[serde(default)]
    artifacts: Vec<String>,
    #[serde(default)]
    claims: Vec<Box<RawValue>>,
    #[serde(default)]
    evidence: Vec<Box<RawValue>>,
    #[serde(default)]
    usage: Object<UsageForm>,
    error: Option<Object<ErrorForm>>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum OutcomeWord {
    Succeeded,
    Failed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ErrorForm {
    class: Option<String>,
    message: String,
}

/// Usage as commands tell it.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UsageForm {
    files: Option<u64>,
    lines: Option<u64>,
    tokens: Option<u64>,
    cost_micros: Option<u64>,
    duration_ms: Option<u64>,
}

impl From<UsageForm> for Usage {
    fn from(form: UsageForm) -> Self {
        Self {
            files: form.files,
            lines: form.lines,
            tokens: form.tokens,
            cost_micros: form.cost_micros,
            duration: form.duration_ms.map(Duration::from_millis),
        }
    }
}

impl Answer {
    /// Reads what a command wrote.
    ///
    /// The names in `artifacts` are distinct, but only who opens the files knows whether they can be file names.
    ///
    /// # Errors
    /// [`AnswerError`] for everything but exactly one object of the protocol.
    pub fn parse(bytes: &[u8]) -> Result<Self, AnswerError> {
        let text = std::str::from_utf8(bytes).map_err(|_| AnswerError::NotText)?;
        if text.trim().is_empty() {
            return Err(AnswerError::Empty);
        }
        let Object(form): Object<Form> =
            serde_json::from_str(text).map_err(|error| AnswerError::Malformed(error.to_string()))?;
        if form.version != VERSION {
            return Err(AnswerError::Version(form.version));
        }
        for (field, count) in [
            ("artifacts", form.artifacts.len()),
            ("claims", form.claims.len()),
            ("evidence", form.evidence.len()),
        ] {
            if count > MAX_ITEMS {
                return Err(AnswerError::TooMany { field, count });
            }
        }
        let malformed = |text: &str| AnswerError::Malformed(text.to_owned());
        let json = |raw: &RawValue| {
            Json::parse(raw.get()).map_err(|error| AnswerError::Malformed(error.to_string()))
        };
        let outcome = match (form.outcome, form.error) {
            (OutcomeWord::Succeeded, Some(_)) => return Err(malformed("`succeeded` has an `error`")),
            (OutcomeWord::Failed, None) => return Err(malformed("`failed` has no `error`")),
            (OutcomeWord::Failed, Some(Object(error))) => Outcome::Failed {
                class: error.class.map(word).transpose()?,
                message: error.message,
            },
            (OutcomeWord::Succeeded, None) => Outcome::Succeeded {
                output: form.output.as_deref().map(json).transpose()?,
                artifacts: distinct(form.artifacts)?,
                claims: form
                    .claims
                    .iter()
                    .map(|claim| json(claim))
                    .collect::<Result<_, _>>()?,
                evidence: form
                    .evidence
                    .iter()
                    .map(|item| json(item))
                    .collect::<Result<_, _>>()?,
            },
        };
        Ok(Self {
            outcome,
            usage: form.usage.0.into(),
        })
    }
}

fn distinct(names: Vec<String>) -> Result<Vec<String>, AnswerError> {
    let mut seen = BTreeSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(twice) => Err(AnswerError::Malformed(format!(
            "`artifacts` names `{twice}` twice"
        ))),
        None => Ok(names),
    }
}

/// An error's class becomes a code: a word, not a text.
fn word(class: String) -> Result<String, AnswerError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=MAX_CLASS_CHARS).contains(&class.len()) && class.bytes().all(plain) {
        return Ok(class);
    }
    Err(AnswerError::Malformed(format!(
        "`error.class` is not 1-{MAX_CLASS_CHARS} letters, digits, `.`, `_` and `-`"
    )))
}
