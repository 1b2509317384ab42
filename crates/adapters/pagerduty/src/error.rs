//! The only mapping from what happened to what the port says.

use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Timestamp;
use arbiter_core::ports::{Notified, NotifyError};
use arbiter_net::WholeResponse;
use arbiter_net::notice::Judge;
use serde::Deserialize;

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
    let judge = Judge {
        target: "PagerDuty",
        secrets: std::slice::from_ref(key),
        now,
        longest_wait,
    };
    Err(judge.not_taken(answer, &words(body, answer)))
}

/// PagerDuty's message with its list of errors; the text as it is, if it is nothing of PagerDuty's.
fn words(body: Option<Body>, answer: &WholeResponse) -> String {
    match body {
        Some(body) if !(body.message.is_empty() && body.errors.is_empty()) => {
            let parts = std::iter::once(body.message).chain(body.errors);
            parts
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join("; ")
        }
        _ => String::from_utf8_lossy(&answer.body).into_owned(),
    }
}
