//! What the answers of a notifier's target mean.

use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Timestamp;
use arbiter_core::ports::{Notified, NotifyError};
use arbiter_net::{Classify as _, NetError, WholeResponse, retry_after};

use crate::delivery::{Worth, worth};
use crate::text::said;

/// An answer that takes nothing, as the source of [`NotifyError::Later`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the target answered with status {status}: {said}")]
pub struct TargetAnswer {
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

impl Judge<'_> {
    /// The answer of the receiver of a signed message: any 2xx takes it.
    pub(crate) fn receiver(self, answer: &WholeResponse) -> Result<Notified, NotifyError> {
        if answer.status.is_success() {
            return Ok(Notified::default());
        }
        Err(self.not_taken(answer, &String::from_utf8_lossy(&answer.body)))
    }

    /// The answer of an Alertmanager: 200 takes the alerts; its errors are JSON texts.
    pub(crate) fn alertmanager(self, answer: &WholeResponse) -> Result<Notified, NotifyError> {
        if answer.status.as_u16() == 200 {
            return Ok(Notified::default());
        }
        let words: Option<String> = serde_json::from_slice(&answer.body).ok();
        let words = words.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned());
        Err(self.not_taken(answer, &words))
    }

    fn not_taken(self, answer: &WholeResponse, words: &str) -> NotifyError {
        let status = answer.status.as_u16();
        let said = said(words, self.secrets);
        match status {
            // another 2xx than the one that takes it: somebody answers in the target's place
            200..=299 | 408 | 425 | 429 | 500..=599 => NotifyError::Later {
                status: Some(status),
                after: retry_after(&answer.headers, self.now).map(|wait| wait.min(self.longest_wait)),
                source: Box::new(TargetAnswer { status, said }),
            },
            _ => NotifyError::Refused {
                status: Some(status),
                message: said,
            },
        }
    }
}

/// What it means that there is no answer.
pub(crate) fn unanswered(error: NetError) -> NotifyError {
    if worth(&error) == Worth::Nothing {
        return unsendable(&error.to_string());
    }
    NotifyError::Later {
        status: None,
        after: error.retry_after(),
        source: Box::new(error),
    }
}

/// A notice that cannot be sent at all.
pub(crate) fn unsendable(why: &str) -> NotifyError {
    NotifyError::Refused {
        status: None,
        message: why.to_owned(),
    }
}
