//! What to make of a try.

use std::time::Duration;

use arbiter_net::NetError;

/// How a try ended.
#[derive(Debug)]
pub enum Delivery {
    /// The endpoint took the message.
    Delivered {
        /// Its status, 200 to 299.
        status: u16,
    },
    /// Another try may succeed.
    Retry {
        /// How long the endpoint asked to be left alone.
        after: Option<Duration>,
        /// What happened.
        why: Trouble,
    },
    /// No other try will.
    GiveUp {
        /// What happened.
        why: Trouble,
    },
}

/// Why a message was not taken. Texts name scheme, host and port at most.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// The endpoint says that it is gone for good (410); it should be switched off.
    #[error("the endpoint is gone")]
    Gone,
    /// The endpoint redirects, which is not followed.
    #[error("the endpoint redirects with status {status}, which is not followed")]
    Redirect {
        /// The status.
        status: u16,
    },
    /// The endpoint refused the message.
    #[error("the endpoint refused the message with status {status}")]
    Refused {
        /// The status.
        status: u16,
    },
    /// The endpoint cannot take messages now.
    #[error("the endpoint cannot take messages now, status {status}")]
    Unavailable {
        /// The status.
        status: u16,
    },
    /// There was no answer.
    #[error("the endpoint could not be reached")]
    Net(#[from] NetError),
}

/// What a status means, if the message was not taken: [`Trouble`], and whether only a set number of tries is worth it.
pub(crate) fn trouble(status: u16) -> (Trouble, Worth) {
    match status {
        410 => (Trouble::Gone, Worth::Nothing),
        300..=399 => (Trouble::Redirect { status }, Worth::SomeTries),
        408 | 425 | 429 | 500..=599 => (Trouble::Unavailable { status }, Worth::AllTries),
        _ => (Trouble::Refused { status }, Worth::SomeTries),
    }
}

/// What another try is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worth {
    Nothing,
    SomeTries,
    AllTries,
}

/// What another try is worth after this error.
pub(crate) const fn worth(error: &NetError) -> Worth {
    if error.is_unsendable() {
        Worth::Nothing
    } else {
        Worth::AllTries
    }
}
