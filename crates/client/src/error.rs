//! How calls fail.

use std::time::Duration;

use arbiter_core::model::{Digest, Timestamp};
use arbiter_core::ports::{Applied, BoxError, Retry};
use arbiter_net::{Classify as _, NetError, WholeResponse, retry_after};
use arbiter_wire::http::Problem;

/// Why a call has no answer, or another one than was asked for. No text holds the key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server refused the call.
    #[error("{}", .0.detail)]
    Refused(Box<Refused>),
    /// There is no complete answer.
    #[error("`{operation}` was not answered")]
    Unanswered {
        /// The operation.
        operation: &'static str,
        /// Why.
        source: Box<NetError>,
    },
    /// The answer is not what the interface promises.
    #[error("the answer to `{operation}` cannot be read")]
    Answer {
        /// The operation.
        operation: &'static str,
        /// Its status.
        status: u16,
        /// What is wrong with it.
        source: BoxError,
    },
    /// What was to be sent cannot be.
    #[error("`{operation}` cannot be sent")]
    Request {
        /// The operation.
        operation: &'static str,
        /// Why.
        source: BoxError,
    },
    /// What was read is not what was asked for.
    #[error("the content that the server sent does not have the digest `{expected}`")]
    Damaged {
        /// The digest that it should have.
        expected: Digest,
    },
}

/// What the server said when it refused a call (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The operation.
    pub operation: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The stable code; see `arbiter_wire::codes`.
    pub code: String,
    /// What was wrong, and what to do.
    pub detail: String,
    /// The field that is wrong.
    pub field: Option<String>,
    /// After how long the call may be sent again.
    pub retry_after: Option<Duration>,
    /// The request's id, as in the server's log.
    pub request_id: Option<String>,
    /// The server's version, where a newer one may know what this one does not.
    pub server_version: Option<String>,
}

impl ClientError {
    /// The stable code: the server's own, `unavailable` without an answer, `internal` for one that makes no sense.
    pub fn code(&self) -> &str {
        match self {
            Self::Refused(refused) => &refused.code,
            Self::Unanswered { .. } => "unavailable",
            Self::Answer { .. } | Self::Damaged { .. } => "internal",
            Self::Request { .. } => "invalid_request",
        }
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(refused) => Some(refused.status),
            Self::Answer { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// After how long the call may be sent again, if anybody said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(refused) => refused.retry_after,
            Self::Unanswered { source, .. } => source.retry_after(),
            _ => None,
        }
    }

    /// The request's id, as in the server's log.
    pub fn request_id(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) => refused.request_id.as_deref(),
            _ => None,
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused(refused) => matches!(refused.status, 408 | 429 | 502..=504),
            Self::Unanswered { source, .. } => source.retry() == Retry::Transient,
            _ => false,
        }
    }

    /// Whether the server may have acted on the call.
    pub fn applied(&self) -> Applied {
        match self {
            // A gateway between may have lost the answer.
            Self::Refused(refused) if refused.status >= 500 => Applied::Unknown,
            Self::Refused(_) | Self::Request { .. } => Applied::No,
            Self::Unanswered { source, .. } => source.applied(),
            Self::Answer { .. } | Self::Damaged { .. } => Applied::Unknown,
        }
    }

    pub(crate) fn unanswered(operation: &'static str, source: NetError) -> Self {
        Self::Unanswered {
            operation,
            source: Box::new(source),
        }
    }

    /// What an answer other than a success says.
    pub(crate) fn refused(operation: &'static str, answer: &WholeResponse, now: Timestamp) -> Self {
        let status = answer.status.as_u16();
        let header_wait = retry_after(&answer.headers, now);
        let header_id = answer.header("x-request-id").map(str::to_owned);
        // Something between may answer in the server's place, with whatever it likes.
        let problem: Option<Problem> = answer
            .header("content-type")
            .filter(|media| media.starts_with(Problem::MEDIA_TYPE))
            .and_then(|_| serde_json::from_slice(&answer.body).ok());
        let refused = match problem {
            Some(problem) => Refused {
                operation,
                status,
                code: problem.code,
                detail: problem.detail,
                field: problem.field,
                retry_after: problem.retry_after_ms.map(Duration::from_millis).or(header_wait),
                request_id: problem.request_id.or(header_id),
                server_version: problem.server_version,
            },
            None => Refused {
                operation,
                status,
                code: code_of(status).to_owned(),
                detail: format!("`{operation}` was answered with status {status} and no explanation"),
                field: None,
                retry_after: header_wait,
                request_id: header_id,
                server_version: None,
            },
        };
        Self::Refused(Box::new(refused))
    }
}

/// The code that comes nearest to a status without a problem.
const fn code_of(status: u16) -> &'static str {
    match status {
        401 => "auth_failed",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        408 => "payload_timeout",
        412 => "precondition_failed",
        413 => "too_large",
        415 => "unsupported_media_type",
        416 => "range_not_satisfiable",
        429 => "rate_limited",
        400..=499 => "invalid_request",
        502..=504 => "unavailable",
        _ => "internal",
    }
}
