//! Errors as every interface tells them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was wrong with a call (RFC 9457, `application/problem+json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// Names the sort of problem: `urn:arbiter:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The sort of problem in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: String,
    /// What was wrong with this call, and what to do.
    pub detail: String,
    /// The request's id, as in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// After so many milliseconds the call may be sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The limit that was reached, where the caller may know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The version of the server, where a newer one may know what this one does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_version: Option<String>,
}

impl Problem {
    /// The media type.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";

    /// A problem of a stable code; its status is that of [`crate::codes`].
    pub fn new(code: &str, detail: impl Into<String>) -> Self {
        let meaning = crate::codes::meaning(code);
        Self {
            kind: format!("urn:arbiter:problem:{}", meaning.word),
            title: meaning.word.replace('_', " "),
            status: meaning.status,
            code: meaning.word.to_owned(),
            detail: detail.into(),
            request_id: None,
            field: None,
            retry_after_ms: None,
            limit: None,
            server_version: None,
        }
    }
}
