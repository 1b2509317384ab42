//! Helpers of all stored forms.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use arbiter_core::model::{ArtifactRef, Budget, Json, Timestamp, Usage};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::CodecError;
use super::primitive::Span;

pub(super) fn value(what: &'static str, value: impl Display) -> CodecError {
    CodecError::Value {
        what,
        value: value.to_string().chars().take(100).collect(),
    }
}

pub(super) fn parse<T: FromStr>(what: &'static str, text: &str) -> Result<T, CodecError> {
    text.parse().map_err(|_| value(what, text))
}

pub(super) fn word<T>(
    what: &'static str,
    text: &str,
    from: impl Fn(&str) -> Option<T>,
) -> Result<T, CodecError> {
    from(text).ok_or_else(|| value(what, text))
}

pub(super) fn version(found: u32, known: u32) -> Result<(), CodecError> {
    if found == known {
        Ok(())
    } else {
        Err(CodecError::Version(found))
    }
}

pub(super) const fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

pub(super) fn raw(json: &Json) -> Result<Box<RawValue>, CodecError> {
    Ok(RawValue::from_string(json.as_str().to_owned())?)
}

pub(super) fn json(raw: &RawValue) -> Result<Json, CodecError> {
    Json::parse(raw.get()).map_err(|_| value("JSON", "a value nested too deeply"))
}

#[derive(Serialize, Deserialize)]
pub(super) struct ArtifactForm {
    pub(super) name: String,
    pub(super) digest: String,
    pub(super) size: u64,
}

impl From<&ArtifactRef> for ArtifactForm {
    fn from(artifact: &ArtifactRef) -> Self {
        Self {
            name: artifact.name.clone(),
            digest: artifact.digest.to_string(),
            size: artifact.size_bytes,
        }
    }
}

impl ArtifactForm {
    pub(super) fn decode(self) -> Result<ArtifactRef, CodecError> {
        Ok(ArtifactRef {
            digest: parse("digest", &self.digest)?,
            name: self.name,
            size_bytes: self.size,
        })
    }
}

/// Budget and usage have the same parts.
#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
pub(super) struct AmountsForm {
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<Span>,
}

impl AmountsForm {
    pub(super) const fn is_empty(&self) -> bool {
        self.files.is_none()
            && self.lines.is_none()
            && self.tokens.is_none()
            && self.cost.is_none()
            && self.duration.is_none()
    }

    pub(super) const fn budget(&self) -> Budget {
        Budget {
            files: self.files,
            lines: self.lines,
            tokens: self.tokens,
            cost_micros: self.cost,
        }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage {
            files: self.files,
            lines: self.lines,
            tokens: self.tokens,
            cost_micros: self.cost,
            duration: self.duration.map(|span| span.0),
        }
    }
}

impl From<&Budget> for AmountsForm {
    fn from(budget: &Budget) -> Self {
        Self {
            files: budget.files,
            lines: budget.lines,
            tokens: budget.tokens,
            cost: budget.cost_micros,
            duration: None,
        }
    }
}

impl From<&Usage> for AmountsForm {
    fn from(usage: &Usage) -> Self {
        Self {
            files: usage.files,
            lines: usage.lines,
            tokens: usage.tokens,
            cost: usage.cost_micros,
            duration: usage.duration.map(Span),
        }
    }
}

pub(super) type Labels = BTreeMap<String, String>;
