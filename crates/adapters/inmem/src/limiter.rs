//! Rate limits of one process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::mechanism::{self, Bucket, BucketState, DrawError};
use arbiter_core::model::Timestamp;
use arbiter_core::ports::{Clock, Draw, Drawn, RateLimiter, Retry, StoreError};
use async_trait::async_trait;

/// How many buckets are kept before those that are full again are forgotten.
const SWEEP_AT: usize = 16_384;

/// Token buckets in memory, by name.
///
/// Time is monotonic: setting the clock back grants nothing and refuses nothing.
pub struct InProcessRateLimiter {
    clock: Arc<dyn Clock>,
    buckets: Mutex<Buckets>,
}

#[derive(Default)]
struct Buckets {
    states: HashMap<String, BucketState>,
    /// The number of buckets at which full ones are forgotten next: doubled when few were.
    sweep_at: usize,
}

impl std::fmt::Debug for InProcessRateLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InProcessRateLimiter").finish_non_exhaustive()
    }
}

impl InProcessRateLimiter {
    /// A limiter whose buckets are all full.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            buckets: Mutex::new(Buckets {
                states: HashMap::new(),
                sweep_at: SWEEP_AT,
            }),
        }
    }

    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.clock.monotonic().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(micros)
    }
}

impl Buckets {
    /// Forgets buckets that are full: they would be full anyway.
    fn sweep(&mut self, now: Timestamp) {
        if self.states.len() < self.sweep_at {
            return;
        }
        self.states.retain(|_, state| !state.is_full(now));
        self.sweep_at = SWEEP_AT.max(self.states.len() * 2);
    }
}

#[async_trait]
impl RateLimiter for InProcessRateLimiter {
    async fn draw(&self, draws: &[Draw]) -> Result<Drawn, StoreError> {
        let now = self.now();
        let mut limits = Vec::with_capacity(draws.len());
        for draw in draws {
            limits.push(Bucket::new(draw.per_second, Duration::from_secs(1), draw.burst).map_err(invalid)?);
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.sweep(now);
        let mut states: Vec<BucketState> = draws
            .iter()
            .map(|draw| {
                buckets
                    .states
                    .get(&draw.bucket)
                    .copied()
                    .unwrap_or(BucketState::FULL)
            })
            .collect();
        let mut together: Vec<mechanism::Draw<'_>> = limits
            .iter()
            .zip(&mut states)
            .zip(draws)
            .map(|((bucket, state), draw)| mechanism::Draw {
                bucket,
                state,
                cost: draw.cost,
            })
            .collect();
        match mechanism::draw_all(&mut together, now) {
            Ok(()) => {
                for (draw, state) in draws.iter().zip(states) {
                    buckets.states.insert(draw.bucket.clone(), state);
                }
                Ok(Drawn::Allowed)
            }
            Err(DrawError::RetryAfter(retry_after)) => Ok(Drawn::Refused { retry_after }),
            Err(error) => Err(invalid(error)),
        }
    }

    fn remaining(&self, draw: &Draw) -> Option<u32> {
        let bucket = Bucket::new(draw.per_second, Duration::from_secs(1), draw.burst).ok()?;
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let state = buckets.states.get(&draw.bucket).copied();
        Some(bucket.available(state.unwrap_or(BucketState::FULL), self.now()))
    }
}

/// A limit that cannot be kept is a mistake of configuration; waiting does not help.
fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Backend {
        operation: "drawing from a rate limit",
        applied: arbiter_core::ports::Applied::No,
        retry: Retry::Permanent,
        source: Box::new(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[derive(Default)]
    struct Hand(AtomicU64);

    #[async_trait]
    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            Timestamp::default()
        }
        fn monotonic(&self) -> Duration {
            Duration::from_millis(self.0.load(Ordering::Relaxed))
        }
        async fn sleep_until(&self, _: Duration) {}
    }

    fn draw(bucket: &str, cost: u32) -> Draw {
        Draw {
            bucket: bucket.to_owned(),
            per_second: 10,
            burst: 3,
            cost,
        }
    }

    #[tokio::test]
    async fn a_burst_is_granted_then_the_rate_and_refusals_take_nothing() {
        let clock = Arc::new(Hand::default());
        let limiter = InProcessRateLimiter::new(clock.clone());
        for _ in 0..3 {
            assert_eq!(
                limiter.draw(&[draw("a", 1)]).await.expect("drawn"),
                Drawn::Allowed
            );
        }
        let refused = Drawn::Refused {
            retry_after: Duration::from_millis(100),
        };
        assert_eq!(limiter.draw(&[draw("a", 1)]).await.expect("drawn"), refused);
        // Both or none: `b` is full, and stays so because `a` refuses.
        assert_eq!(
            limiter.draw(&[draw("b", 3), draw("a", 1)]).await.expect("drawn"),
            refused
        );
        assert_eq!(
            limiter.draw(&[draw("b", 3)]).await.expect("drawn"),
            Drawn::Allowed
        );
        clock.0.store(100, Ordering::Relaxed);
        assert_eq!(
            limiter.draw(&[draw("a", 1)]).await.expect("drawn"),
            Drawn::Allowed
        );
        assert!(
            limiter.draw(&[draw("a", 4)]).await.is_err(),
            "more than the burst can never be had"
        );
    }

    #[tokio::test]
    async fn buckets_that_are_full_again_are_forgotten() {
        let clock = Arc::new(Hand::default());
        let limiter = InProcessRateLimiter::new(clock.clone());
        for number in 0..SWEEP_AT {
            limiter
                .draw(&[draw(&number.to_string(), 1)])
                .await
                .expect("drawn");
        }
        clock.0.store(60_000, Ordering::Relaxed);
        limiter.draw(&[draw("last", 1)]).await.expect("drawn");
        assert_eq!(limiter.buckets.lock().expect("lock").states.len(), 1);
    }
}
