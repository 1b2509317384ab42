//! What a guard is made of.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::{
    Backoff, BreakerSettings, InvalidBreaker, InvalidRetryBudget, RetryBudgetSettings,
};
use arbiter_core::ports::{Clock, Entropy, Metrics};

/// The parts of a guard. A part that is `None` is absent; the default has none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GuardSettings {
    /// How many calls at once.
    pub bulkhead: Option<BulkheadSettings>,
    /// The longest that a call may take from the moment that the bulkhead lets it in, retries included.
    pub total_timeout: Option<Duration>,
    /// Whether and how to try again. At most one guard on the way of a call may have this.
    pub retry: Option<RetrySettings>,
    /// When to stop asking.
    pub breaker: Option<BreakerSettings>,
    /// The longest that one attempt may take.
    pub attempt_timeout: Option<Duration>,
}

/// How many calls at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkheadSettings {
    /// Calls under way, 1 to 65 536.
    pub concurrent: usize,
    /// Calls that wait for a place, in order of arrival; 0 refuses what cannot start at once.
    pub waiting: usize,
    /// The longest that a call waits for a place.
    pub longest_wait: Duration,
}

/// Whether and how to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetrySettings {
    /// How often after the first attempt, at least 1.
    pub retries: u32,
    /// The wait between attempts, with full jitter.
    pub backoff: Backoff,
    /// The longest wait between attempts. When the other side asks for more, its error is the answer.
    pub longest_wait: Duration,
    /// Retries in proportion to calls.
    pub budget: RetryBudgetSettings,
}

/// Settings that no guard can be made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGuard {
    /// The bulkhead lets nothing through, or more than it can count.
    #[error("a bulkhead must let 1 to 65536 calls through at once")]
    Bulkhead,
    /// A time-out is zero: no call could succeed.
    #[error("a time-out must be longer than zero")]
    Timeout,
    /// Retries were asked for, but none allowed.
    #[error("a guard that retries needs at least one retry; leave the part out instead")]
    Retries,
    /// The breaker cannot work.
    #[error("the circuit breaker's settings are not usable")]
    Breaker(#[from] InvalidBreaker),
    /// The budget cannot work.
    #[error("the retry budget's settings are not usable")]
    Budget(#[from] InvalidRetryBudget),
}

/// The most calls that a bulkhead lets through at once.
pub(crate) const MAX_CONCURRENT: usize = 65_536;

impl GuardSettings {
    pub(crate) fn check(&self) -> Result<(), InvalidGuard> {
        if self
            .bulkhead
            .is_some_and(|bulkhead| !(1..=MAX_CONCURRENT).contains(&bulkhead.concurrent))
        {
            return Err(InvalidGuard::Bulkhead);
        }
        if self.total_timeout.is_some_and(|time| time.is_zero())
            || self.attempt_timeout.is_some_and(|time| time.is_zero())
        {
            return Err(InvalidGuard::Timeout);
        }
        if self.retry.is_some_and(|retry| retry.retries == 0) {
            return Err(InvalidGuard::Retries);
        }
        Ok(())
    }
}

/// What a guard needs from outside.
#[derive(Clone)]
pub struct GuardPorts {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance, for the jitter.
    pub entropy: Arc<dyn Entropy>,
    /// Measurements.
    pub metrics: Arc<dyn Metrics>,
}

impl std::fmt::Debug for GuardPorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuardPorts").finish_non_exhaustive()
    }
}
