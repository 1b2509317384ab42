//! What notifiers of incidents over HTTP share: what an answer, or none, means to
//! [`IncidentNotifier`](arbiter_core::ports::IncidentNotifier).

use std::time::Duration;

use arbiter_core::mechanism::{REDACTED, SecretText, visible};
use arbiter_core::model::Timestamp;
use arbiter_core::ports::{MAX_ANSWER_BYTES, NotifyError};
use arbiter_layers::Classify as _;

use crate::error::NetError;
use crate::response::WholeResponse;
use crate::retry_after::retry_after;

/// The shortest part of an address that is taken for a secret; those that are have some twenty characters.
const SECRET_PART_LENGTH: usize = 16;

/// An answer that takes nothing, as the source of [`NotifyError::Later`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{target} answered with status {status}: {said}")]
pub struct TargetAnswer {
    /// Who answered.
    pub target: &'static str,
    /// The status.
    pub status: u16,
    /// What it says, cut to [`MAX_ANSWER_BYTES`] and without the target's secrets.
    pub said: String,
}

/// How answers of a target are read.
#[derive(Debug, Clone, Copy)]
pub struct Judge<'a> {
    /// Who answers, for texts.
    pub target: &'static str,
    /// What no answer may bring into an error, the longest first.
    pub secrets: &'a [SecretText],
    /// When the answer came.
    pub now: Timestamp,
    /// The longest wait that the target may ask for; more is cut to that.
    pub longest_wait: Duration,
}

impl Judge<'_> {
    /// What an answer that took nothing means by its status: another try may succeed after 408, 425, 429, 5xx, and after
    /// a 2xx that is not the target's own, by which somebody answers in its place; all else is final.
    pub fn not_taken(self, answer: &WholeResponse, words: &str) -> NotifyError {
        match answer.status.as_u16() {
            200..=299 | 408 | 425 | 429 | 500..=599 => self.later(answer, words),
            _ => self.refused(answer, words),
        }
    }

    /// Another try may succeed.
    pub fn later(self, answer: &WholeResponse, words: &str) -> NotifyError {
        let status = answer.status.as_u16();
        NotifyError::Later {
            status: Some(status),
            after: retry_after(&answer.headers, self.now).map(|wait| wait.min(self.longest_wait)),
            source: Box::new(TargetAnswer {
                target: self.target,
                status,
                said: said(words, self.secrets),
            }),
        }
    }

    /// No other try will succeed.
    pub fn refused(self, answer: &WholeResponse, words: &str) -> NotifyError {
        NotifyError::Refused {
            status: Some(answer.status.as_u16()),
            message: said(words, self.secrets),
        }
    }
}

/// What it means that there is no answer.
pub fn unanswered(error: NetError) -> NotifyError {
    if error.is_unsendable() {
        return unsendable(&error.to_string());
    }
    NotifyError::Later {
        status: None,
        after: error.retry_after(),
        source: Box::new(error),
    }
}

/// A notice that cannot be sent at all.
pub fn unsendable(why: &str) -> NotifyError {
    NotifyError::Refused {
        status: None,
        message: why.to_owned(),
    }
}

/// What no answer may bring into an error when the whole address is secret: the address, its path with what follows,
/// and the long parts of that; the longest first.
pub fn secrets_of_address(address: &SecretText) -> Vec<SecretText> {
    let text = address.expose();
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let path = rest.split_once('/').map_or("", |(_, path)| path);
    let whole = format!("/{path}");
    let parts = path.split(['/', '?', '&', '=', '#']);
    let long = std::iter::once(whole.as_str())
        .chain(parts)
        .filter(|part| part.len() >= SECRET_PART_LENGTH)
        .map(SecretText::new);
    std::iter::once(address.clone()).chain(long).collect()
}

/// What a target says: one line, without the secrets, at most [`MAX_ANSWER_BYTES`].
fn said(text: &str, secrets: &[SecretText]) -> String {
    let hidden = secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(text.to_owned(), |text, secret| {
            text.replace(secret.expose(), REDACTED)
        });
    let line: String = hidden.chars().map(visible).collect();
    let line = line.trim();
    if line.is_empty() {
        return "it says nothing more".to_owned();
    }
    if line.len() <= MAX_ANSWER_BYTES {
        return line.to_owned();
    }
    let end = line.floor_char_boundary(MAX_ANSWER_BYTES - '…'.len_utf8());
    format!("{}…", line.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_said_holds_no_secret_and_has_an_end() {
        let secrets = [SecretText::new("canary"), SecretText::new("")];
        assert_eq!(said("the canary\nsings", &secrets), "the [redacted] sings");
        assert_eq!(said(" \n", &secrets), "it says nothing more");
        // a secret across the place of the cut is hidden before the cut
        let long = format!("{}canary{}", "a".repeat(MAX_ANSWER_BYTES - 3), "ü".repeat(99));
        let said = said(&long, &secrets);
        assert!(
            said.len() <= MAX_ANSWER_BYTES && !said.contains("can") && said.ends_with('…'),
            "{said}"
        );
    }

    #[test]
    fn the_parts_of_an_address_that_are_secret_are_known() {
        let secrets = |address| secrets_of_address(&SecretText::new(address));
        let found = secrets("https://hooks.example/services/T0/B0/0123456789abcdef0123");
        let texts: Vec<&str> = found.iter().map(SecretText::expose).collect();
        assert_eq!(
            texts,
            [
                "https://hooks.example/services/T0/B0/0123456789abcdef0123",
                "/services/T0/B0/0123456789abcdef0123",
                "0123456789abcdef0123"
            ]
        );
        assert_eq!(secrets("https://hooks.example").len(), 1);
    }
}
