//! The only mapping from what happened to what the port says.

use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Timestamp;
use arbiter_core::ports::{Notified, NotifyError};
use arbiter_net::{Classify as _, NetError, WholeResponse, retry_after};
use serde::Deserialize;

use crate::text::said;

/// Words of the Web API after which another try may succeed (Slack, `chat.postMessage`, "Errors"). All others are final.
const LATER: [&str; 9] = [
    "ratelimited",
    "rate_limited",
    "message_limit_exceeded",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
    // the workspace is being moved
    "team_added_to_org",
    "org_login_required",
];

/// An answer that takes nothing, as the source of [`NotifyError::Later`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Slack answered with status {status}: {said}")]
pub struct SlackAnswer {
    /// The status.
    pub status: u16,
    /// What it says, cut to [`MAX_ANSWER_BYTES`](arbiter_core::ports::MAX_ANSWER_BYTES) and without the target's secrets.
    pub said: String,
}

/// How answers are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judge<'a> {
    pub(crate) secrets: &'a [SecretText],
    pub(crate) now: Timestamp,
    pub(crate) longest_wait: Duration,
}

/// The body of an answer of the Web API. Every part may be missing when somebody else answers in its place.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Body {
    ok: Option<bool>,
    error: Option<String>,
    needed: Option<String>,
    channel: Option<String>,
    ts: Option<String>,
    message: Option<Posted>,
    response_metadata: Option<Metadata>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Posted {
    thread_ts: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    messages: Vec<String>,
}

impl Judge<'_> {
    /// What an answer of an incoming webhook means.
    pub(crate) fn webhook(self, answer: &WholeResponse) -> Result<Notified, NotifyError> {
        if answer.status.as_u16() == 200 && answer.body.trim_ascii() == b"ok" {
            return Ok(Notified::default());
        }
        Err(self.by_status(answer, &String::from_utf8_lossy(&answer.body)))
    }

    /// What an answer of the Web API means.
    pub(crate) fn api(self, answer: &WholeResponse) -> Result<Notified, NotifyError> {
        let body: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
        let words = words(&body).unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned());
        match (answer.status.as_u16(), body.ok) {
            (200, Some(true)) => Ok(Notified {
                reference: reference(body),
            }),
            (200, Some(false)) if body.error.as_deref().is_some_and(|word| LATER.contains(&word)) => {
                Err(self.later(answer, &words))
            }
            (200, Some(false)) => Err(self.refused(answer, &words)),
            _ => Err(self.by_status(answer, &words)),
        }
    }

    fn by_status(self, answer: &WholeResponse, words: &str) -> NotifyError {
        match answer.status.as_u16() {
            // somebody else answers in Slack's place, and took nothing
            200..=299 | 408 | 425 | 429 | 500..=599 => self.later(answer, words),
            _ => self.refused(answer, words),
        }
    }

    fn later(self, answer: &WholeResponse, words: &str) -> NotifyError {
        let status = answer.status.as_u16();
        let said = said(words, self.secrets);
        NotifyError::Later {
            status: Some(status),
            after: retry_after(&answer.headers, self.now).map(|wait| wait.min(self.longest_wait)),
            source: Box::new(SlackAnswer { status, said }),
        }
    }

    fn refused(self, answer: &WholeResponse, words: &str) -> NotifyError {
        NotifyError::Refused {
            status: Some(answer.status.as_u16()),
            message: said(words, self.secrets),
        }
    }
}

/// The thread's first message, so that later steps find it: the message itself, if it began the thread.
fn reference(body: Body) -> Option<String> {
    let thread = body.message.and_then(|message| message.thread_ts);
    let (channel, ts) = (body.channel?, thread.or(body.ts)?);
    (!channel.is_empty() && !ts.is_empty()).then(|| format!("{channel}:{ts}"))
}

/// The word, with what it needs and what is wrong.
fn words(body: &Body) -> Option<String> {
    let mut words = body.error.clone()?;
    if let Some(needed) = &body.needed {
        words = format!("{words} (needs `{needed}`)");
    }
    let messages = body
        .response_metadata
        .iter()
        .flat_map(|metadata| &metadata.messages);
    Some(messages.fold(words, |words, message| format!("{words}; {message}")))
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
