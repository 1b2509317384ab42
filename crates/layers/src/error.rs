//! How a guarded call fails.

use std::time::Duration;

use arbiter_core::ports::{Applied, Retry};

use crate::Classify;

/// Why a guard ended a call by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// As many calls are under way and waiting as the bulkhead takes.
    #[error("as many calls are under way and waiting as the bulkhead takes; try again later")]
    Full,
    /// The circuit breaker is open.
    #[error("the circuit breaker is open; try again in {} ms", retry_after.as_millis())]
    Open {
        /// When it may let a probe through; zero while probes are under way.
        retry_after: Duration,
    },
    /// The time for all attempts together is over.
    #[error("no answer within {} ms, retries included", after.as_millis())]
    TotalTimeout {
        /// The limit.
        after: Duration,
    },
    /// The time of the last attempt is over.
    #[error("no answer to the last attempt within {} ms", after.as_millis())]
    AttemptTimeout {
        /// The limit.
        after: Duration,
    },
}

impl Stopped {
    /// Whether the call may have taken effect.
    pub const fn applied(&self) -> Applied {
        match self {
            Self::Full | Self::Open { .. } => Applied::No,
            Self::TotalTimeout { .. } | Self::AttemptTimeout { .. } => Applied::Unknown,
        }
    }

    /// The value of the metrics' label `outcome`.
    pub(crate) const fn outcome(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Open { .. } => "open",
            Self::TotalTimeout { .. } => "total_timeout",
            Self::AttemptTimeout { .. } => "attempt_timeout",
        }
    }
}

/// Why a guarded call failed.
#[derive(Debug, thiserror::Error)]
pub enum GuardError<E> {
    /// The guard ended it.
    #[error(transparent)]
    Stopped(Stopped),
    /// The call itself failed; if it was tried more than once, this is the last error.
    #[error(transparent)]
    Call(E),
}

impl<E> GuardError<E> {
    /// The call's own error, or the guard's reason made into one.
    pub fn flatten(self, stopped: impl FnOnce(Stopped) -> E) -> E {
        match self {
            Self::Stopped(reason) => stopped(reason),
            Self::Call(error) => error,
        }
    }
}

/// What a guard stopped may succeed later; it speaks against the other side only when there was no answer in time.
impl Classify for Stopped {
    fn retry(&self) -> Retry {
        Retry::Transient
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Open { retry_after } if !retry_after.is_zero() => Some(*retry_after),
            _ => None,
        }
    }

    fn counts_as_failure(&self) -> bool {
        matches!(self, Self::TotalTimeout { .. } | Self::AttemptTimeout { .. })
    }
}

impl<E: Classify> Classify for GuardError<E> {
    fn retry(&self) -> Retry {
        match self {
            Self::Stopped(stopped) => stopped.retry(),
            Self::Call(error) => error.retry(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Stopped(stopped) => stopped.retry_after(),
            Self::Call(error) => error.retry_after(),
        }
    }

    fn counts_as_failure(&self) -> bool {
        match self {
            Self::Stopped(stopped) => stopped.counts_as_failure(),
            Self::Call(error) => error.counts_as_failure(),
        }
    }
}
