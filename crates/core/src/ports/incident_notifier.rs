//! Telling people outside of an incident.

use std::time::Duration;

use async_trait::async_trait;

use super::BoxError;
use crate::model::task_words as words;
use crate::model::{IncidentSummary, Timestamp};

/// Tells one target outside (a pager, a channel, a mailbox, a webhook) of incidents.
///
/// # Contract
/// - One call is at most one try: who calls owns the retries.
/// - What the target did not take is an error. There is no made-up reference: [`Notified::reference`] is the target's own.
/// - Steps of one incident carry one [`IncidentNotice::key`]; a target that knows keys has at most one open alert for it,
///   whatever is repeated. A repeat carries the same [`IncidentNotice::id`].
/// - The call ends by itself within a time that the notifier is configured with.
/// - No secret (address, token, password) is in an error; what the target itself says is in it, cut to
///   [`MAX_ANSWER_BYTES`].
#[async_trait]
pub trait IncidentNotifier: Send + Sync + 'static {
    /// Makes one try.
    ///
    /// # Errors
    /// See [`NotifyError`].
    ///
    /// # Cancel safety
    /// The target may get the notice although the future is dropped.
    async fn notify(&self, notice: &IncidentNotice) -> Result<Notified, NotifyError>;
}

/// The most bytes of a target's own answer that an error holds.
pub const MAX_ANSWER_BYTES: usize = 1_024;

/// What to tell.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentNotice {
    /// Names the notice, the same at every try: 1–128 visible characters.
    pub id: String,
    /// What happened to the incident.
    pub step: NoticeStep,
    /// Names the incident to targets that keep one alert for each: 1–255 visible characters.
    pub key: String,
    /// When the step happened.
    pub at: Timestamp,
    /// The incident as it was then.
    pub incident: IncidentSummary,
    /// Why somebody is told now: the rule or the person behind the step. One line.
    pub why: String,
    /// What the target answered to the opening of the incident, if it did.
    pub reference: Option<String>,
}

words! {
    /// What happened to an incident.
    NoticeStep {
        /// It was opened, or the target is told of it for the first time.
        Open = "open",
        /// It got worse, or failures went on.
        Update = "update",
        /// Somebody took note of it.
        Acknowledge = "acknowledge",
        /// What failed works again.
        Resolve = "resolve",
    }
}

/// The target took the notice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Notified {
    /// What the target calls it, where it says so: a message's time stamp, an alert's key.
    pub reference: Option<String>,
}

/// Why a notice was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotifyError {
    /// The target cannot take it now; another try may succeed.
    #[error("the target cannot take the notice now{}", answered(*status))]
    Later {
        /// The status that it answered with, if it answered.
        status: Option<u16>,
        /// How long it asked to be left alone.
        after: Option<Duration>,
        /// What happened.
        source: BoxError,
    },
    /// The target refuses the notice: its repeat is of no use until somebody changes something.
    #[error("the target refuses the notice{}: {message}", answered(*status))]
    Refused {
        /// The status that it answered with, if it answered.
        status: Option<u16>,
        /// What it says, cut to [`MAX_ANSWER_BYTES`]; what is wrong with the notice, if it was not sent.
        message: String,
    },
}

impl NotifyError {
    /// The status that the target answered with, if it answered.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Later { status, .. } | Self::Refused { status, .. } => *status,
        }
    }

    /// Whether another try may succeed.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Later { .. })
    }
}

fn answered(status: Option<u16>) -> String {
    status.map_or_else(String::new, |status| format!(" (status {status})"))
}
