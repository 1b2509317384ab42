//! Delivering a message to a webhook of a tenant.

use std::time::Duration;

use async_trait::async_trait;

use crate::mechanism::SecretText;
use crate::model::{Json, TraceContext};

/// Delivers signed messages.
///
/// # Contract
/// - One call is at most one try: who calls owns the retries.
/// - The message is signed with every secret of the endpoint; the receiver accepts any of them.
/// - The call ends by itself within a time that the transport is configured with.
/// - What cannot be delivered is an answer, never a panic, and no answer carries a byte that the receiver sent.
#[async_trait]
pub trait HookTransport: Send + Sync + 'static {
    /// Makes one try.
    ///
    /// # Cancel safety
    /// The receiver may get the message although the future is dropped; it drops repeats by the message's id.
    async fn deliver(&self, endpoint: &HookEndpoint, message: &HookMessage) -> HookAnswer;
}

/// Where to deliver to.
#[derive(Debug, Clone)]
pub struct HookEndpoint {
    /// The address; its path often holds a token.
    pub url: SecretText,
    /// What messages are signed with: 1 or more texts `whsec_…`.
    pub secrets: Vec<SecretText>,
}

/// What to deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookMessage {
    /// Names the message, the same at every try: 1–256 visible characters without a dot.
    pub id: String,
    /// The body.
    pub body: Json,
    /// How many tries were made before.
    pub tries: u16,
    /// The trace that it is part of: that of the task's submitter.
    pub trace: Option<TraceContext>,
}

/// How a try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookAnswer {
    /// The receiver took the message.
    Delivered {
        /// Its status, 200–299.
        status: u16,
    },
    /// Another try may succeed.
    Retry {
        /// How long the receiver asked to be left alone.
        after: Option<Duration>,
        /// What happened.
        trouble: HookTrouble,
    },
    /// No other try of this message will succeed.
    GiveUp {
        /// What happened.
        trouble: HookTrouble,
    },
}

/// Why a message was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookTrouble {
    /// The receiver says that it is gone for good (410): it should be switched off.
    Gone,
    /// It redirects, which is not followed.
    Redirect {
        /// The status.
        status: u16,
    },
    /// It refused the message.
    Refused {
        /// The status.
        status: u16,
    },
    /// It cannot take messages now.
    Unavailable {
        /// The status.
        status: u16,
    },
    /// There was no answer.
    Unreachable,
    /// Nothing was sent: the address is not one that may be asked, or address, secret or message has a wrong form.
    NotAllowed,
}

impl HookTrouble {
    /// The stable word of logs and delivery lists.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Redirect { .. } => "redirect",
            Self::Refused { .. } => "refused",
            Self::Unavailable { .. } => "unavailable",
            Self::Unreachable => "unreachable",
            Self::NotAllowed => "not_allowed",
        }
    }

    /// The status that the receiver answered with, if it answered.
    pub const fn status(self) -> Option<u16> {
        match self {
            Self::Gone => Some(410),
            Self::Redirect { status } | Self::Refused { status } | Self::Unavailable { status } => {
                Some(status)
            }
            Self::Unreachable | Self::NotAllowed => None,
        }
    }
}
