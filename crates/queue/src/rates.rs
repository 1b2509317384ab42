//! How much of its limits a caller has left.

use std::time::Duration;

use arbiter_core::model::{Operation, Principal, Target};

use crate::service::SecureQueue;

/// A rate limit of a caller, and how much of it is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateState {
    /// Whose limit it is: `principal` or `tenant`.
    pub of: &'static str,
    /// How many calls may be made at once.
    pub quota: u32,
    /// In what time so many are granted again.
    pub window: Duration,
    /// How many are left.
    pub remaining: u32,
    /// When it is full again, if nothing more is taken.
    pub reset: Duration,
}

impl SecureQueue {
    /// The limits that an operation of a principal draws from, as far as this process knows them. Takes nothing.
    pub fn rates(&self, principal: &Principal, operation: Operation) -> Vec<RateState> {
        let draws = self.draws(principal, operation, &Target::of(principal.tenant));
        let of = ["principal", "tenant"];
        of.into_iter()
            .zip(draws)
            .filter_map(|(of, draw)| {
                let remaining = self.ports.limiter.remaining(&draw)?;
                let seconds = |count: u32| Duration::from_secs(count.div_ceil(draw.per_second.max(1)).into());
                Some(RateState {
                    of,
                    quota: draw.burst,
                    window: seconds(draw.burst),
                    remaining,
                    reset: seconds(draw.burst.saturating_sub(remaining)),
                })
            })
            .collect()
    }
}
