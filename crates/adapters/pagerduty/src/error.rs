//! The only mapping from what happened to what the port says.

use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Timestamp;
use arbiter_core::ports::{Notified, NotifyError};
use arbiter_net::{Classify as _, NetError, WholeResponse, retry_after};
use serde::Deserialize;

use crate::text::said;

/// An answer that takes nothing, as the source of [`NotifyError::Later`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("PagerDuty answered with status {status}: {said}")]
pub struct PagerDutyAnswer {
    /// The status.
    pub status: u16,
    /// What it says, cut to [`MAX_ANSWER_BYTES`](arbiter_core::ports::MAX_ANSWER_BYTES) and without the routing key.
    pub said: String,
}

/// The body of an answer. Every part may be missing when somebody else answers in PagerDuty's place.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    status: String,
    message: String,
    errors: Vec<String>,
    dedup_key: Option<String>,
}

/// What an answer means.
pub(crate) fn judge(
    answer: &WholeResponse,
    key: &SecretText,
    now: Timestamp,
    longest_wait: Duration,
) -> Result<Notified, NotifyError> {
    let status = answer.status.as_u16();
    let body: Option<Body> = serde_json::from_slice(&answer.body).ok();
    if status == 202
        && let Some(body) = &body
        && body.status == "success"
    {
        let reference = body.dedup_key.clone().filter(|key| !key.is_empty());
        return Ok(Notified { reference });
    }
    let message = words(body, answer, key);
    match status {
        200..=299 | 408 | 425 | 429 | 500..=599 => Err(NotifyError::Later {
            status: Some(status),
            after: retry_after(&answer.headers, now).map(|wait| wait.min(longest_wait)),
            source: Box::new(PagerDutyAnswer {
                status,
                said: message,
            }),
        }),
        _ => Err(NotifyError::Refused {
            status: Some(status),
            message,
        }),
    }
}

/// PagerDuty's message with its list of errors; the text as it is, if it is nothing of PagerDuty's.
fn words(body: Option<Body>, answer: &WholeResponse, key: &SecretText) -> String {
    let text = match body {
        Some(body) if !(body.message.is_empty() && body.errors.is_empty()) => {
            let parts = std::iter::once(body.message).chain(body.errors);
            parts
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("; ")
        }
        _ => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    let text = said(&text, key);
    if text.is_empty() {
        return "it says nothing more".to_owned();
    }
    text
}

/// What it means that there is no answer.
pub(crate) fn unanswered(error: NetError) -> NotifyError {
    match error {
        NetError::Url(_)
        | NetError::Header { .. }
        | NetError::RequestTooLarge { .. }
        | NetError::RequestHeadersTooLarge { .. }
        | NetError::Denied(_) => unsendable(&error.to_string()),
        _ => NotifyError::Later {
            status: None,
            after: error.retry_after(),
            source: Box::new(error),
        },
    }
}

/// A notice that cannot be sent at all.
pub(crate) fn unsendable(why: &str) -> NotifyError {
    NotifyError::Refused {
        status: None,
        message: why.to_owned(),
    }
}
