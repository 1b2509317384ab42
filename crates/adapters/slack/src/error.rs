//! The only mapping from what happened to what the port says.

use arbiter_core::ports::{Notified, NotifyError};
use arbiter_net::WholeResponse;
use arbiter_net::notice::Judge;
use serde::Deserialize;

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

/// What an answer of an incoming webhook means.
pub(crate) fn webhook(judge: Judge<'_>, answer: &WholeResponse) -> Result<Notified, NotifyError> {
    if answer.status.as_u16() == 200 && answer.body.trim_ascii() == b"ok" {
        return Ok(Notified::default());
    }
    Err(judge.not_taken(answer, &String::from_utf8_lossy(&answer.body)))
}

/// What an answer of the Web API means.
pub(crate) fn api(judge: Judge<'_>, answer: &WholeResponse) -> Result<Notified, NotifyError> {
    let body: Body = serde_json::from_slice(&answer.body).unwrap_or_default();
    let words = words(&body).unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned());
    match (answer.status.as_u16(), body.ok) {
        (200, Some(true)) => Ok(Notified {
            reference: reference(body),
        }),
        (200, Some(false)) if body.error.as_deref().is_some_and(|word| LATER.contains(&word)) => {
            Err(judge.later(answer, &words))
        }
        (200, Some(false)) => Err(judge.refused(answer, &words)),
        _ => Err(judge.not_taken(answer, &words)),
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
