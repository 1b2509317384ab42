//! How calls fail, and what the port is told of it.

use std::time::Duration;

use arbiter_core::ports::{BoxError, RegistryError};
use arbiter_net::{Classify as _, NetError, WholeResponse, retry_after};
use arbiter_wire::http::Problem;

/// Why a call of the registry did not give what was asked for. No text holds the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// There is no complete answer.
    #[error("the registry was not reached, or did not answer")]
    Unanswered(#[from] NetError),
    /// The registry, or something in its place, answered with an error.
    #[error("the registry answered `{operation}` with status {status}{}", said(.code.as_deref(), .detail.as_deref()))]
    Refused {
        /// The operation.
        operation: &'static str,
        /// The HTTP status.
        status: u16,
        /// The stable code, if the answer is the registry's own problem (RFC 9457).
        code: Option<String>,
        /// What it says, cut short.
        detail: Option<String>,
        /// The limit that was reached, if it says so.
        limit: Option<u64>,
        /// After how long the call may be sent again, if it says so.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the contract promises.
    #[error("the answer to `{operation}` with status {status} cannot be read")]
    Answer {
        /// The operation.
        operation: &'static str,
        /// The HTTP status.
        status: u16,
        /// What is wrong with it.
        source: BoxError,
    },
}

fn said(code: Option<&str>, detail: Option<&str>) -> String {
    match (code, detail) {
        (Some(code), Some(detail)) => format!(" (`{code}`: {detail})"),
        _ => " and no explanation; is this the address of an arbiter?".to_owned(),
    }
}

impl CallError {
    /// Whether nobody answered for the registry: what was read before may be given for a while. A refusal is an answer.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Unanswered(_) | Self::Answer { .. } => true,
            Self::Refused { status, .. } => *status == 429 || *status >= 500,
        }
    }

    /// Whether the registry itself refuses what this one call says: another call may be taken.
    pub fn is_about_the_call(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 400 | 413 | 422,
                code: Some(_),
                ..
            }
        )
    }

    /// Whether the answer is larger than an answer may be.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self, Self::Unanswered(NetError::ResponseTooLarge { .. }))
    }

    /// Whether the registry may have done what it was asked. It has not when it says no.
    pub(crate) fn may_be_done(&self) -> bool {
        self.is_away()
    }

    /// Whether this is the registry's own refusal of this code.
    pub fn is_code(&self, word: &str) -> bool {
        matches!(self, Self::Refused { code: Some(code), .. } if code == word)
    }

    /// After how long the call may be sent again, if anybody said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Unanswered(error) => error.retry_after(),
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Answer { .. } => None,
        }
    }

    /// What an answer other than the promised one says.
    pub(crate) fn refused(
        operation: &'static str,
        answer: &WholeResponse,
        now: arbiter_core::model::Timestamp,
    ) -> Self {
        // Something between may answer in the registry's place, with whatever it likes.
        let problem: Option<Problem> = answer
            .header("content-type")
            .filter(|media| media.starts_with(Problem::MEDIA_TYPE))
            .and_then(|_| serde_json::from_slice(&answer.body).ok());
        let told = problem.as_ref().and_then(|problem| problem.retry_after_ms);
        let header = retry_after(&answer.headers, now);
        Self::Refused {
            operation,
            status: answer.status.as_u16(),
            retry_after: told.map(Duration::from_millis).or(header),
            limit: problem.as_ref().and_then(|problem| problem.limit),
            code: problem.as_ref().map(|problem| short(&problem.code)),
            detail: problem.as_ref().map(|problem| short(&problem.detail)),
        }
    }

    /// An answer that breaks the contract.
    pub(crate) fn answer(operation: &'static str, status: u16, source: impl Into<BoxError>) -> Self {
        Self::Answer {
            operation,
            status,
            source: source.into(),
        }
    }

    /// What the port says of it, where it has no word of its own, and the call is about something that the caller named.
    pub(crate) fn failed(self, operation: &'static str) -> RegistryError {
        if !self.is_about_the_call() {
            return self.unavailable(operation);
        }
        RegistryError::Refused {
            operation,
            source: Box::new(self),
        }
    }

    /// What the port says of it, where it has no word of its own.
    pub(crate) fn unavailable(self, operation: &'static str) -> RegistryError {
        RegistryError::Unavailable {
            operation,
            retry_after: self.retry_after(),
            source: Box::new(self),
        }
    }
}

/// A text of the other side, as far as a log needs it.
fn short(text: &str) -> String {
    text.chars()
        .filter(|letter| !letter.is_control())
        .take(200)
        .collect()
}
