//! Rate limits: the generic cell rate algorithm.
//!
//! GCRA (ITU-T I.371, "virtual scheduling") is the token bucket kept as one number: the theoretical arrival time, at
//! which the bucket will be full again. All arithmetic is on integers; the time per token is rounded up to a whole
//! nanosecond, so a bucket never grants more than its rate.

use std::time::Duration;

use crate::model::Timestamp;

/// Settings of a bucket that cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBucket {
    /// The rate is nothing: no token would ever come.
    #[error("a rate limit needs at least one token per period")]
    NoRate,
    /// The burst is nothing: no draw could ever succeed.
    #[error("a rate limit needs a burst of at least one token")]
    NoBurst,
    /// More than one token per nanosecond.
    #[error("a rate limit is at most one token per nanosecond")]
    TooFast,
    /// The time to fill the bucket exceeds 146 years.
    #[error("a rate limit must fill its burst within 146 years")]
    TooSlow,
}

/// Why a draw was refused. Nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DrawError {
    /// There are not enough tokens yet.
    #[error("rate limit reached, retry after {0:?}")]
    RetryAfter(Duration),
    /// The cost exceeds what the bucket can ever hold, so waiting does not help.
    #[error("the cost of {cost} exceeds the burst of {burst}")]
    CostAboveBurst {
        /// Tokens asked for.
        cost: u32,
        /// Tokens the full bucket holds.
        burst: u32,
    },
}

/// What a bucket remembers: its theoretical arrival time in nanoseconds since the epoch.
///
/// It only ever grows, so a clock that steps back grants nothing twice (draws are refused until the clock has caught
/// up). Times after 2262 count as 2262.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketState(i64);

impl BucketState {
    /// A full bucket.
    pub const FULL: Self = Self(i64::MIN);

    /// Restores a state from its stored number.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The number to store.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whether the bucket is full at `now`, so that forgetting it changes nothing.
    pub fn is_full(self, now: Timestamp) -> bool {
        self.0 <= nanos(now)
    }
}

/// A rate limit: `burst` tokens at once, refilled evenly at `count` per period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    burst: u32,
    /// Nanoseconds per token, rounded up.
    interval: i64,
    /// Nanoseconds to fill the empty bucket: `interval · burst`.
    tolerance: i64,
}

impl Bucket {
    /// Makes a limit of `count` tokens per `per`, `burst` of them at once.
    ///
    /// # Errors
    /// [`InvalidBucket`] if one of the numbers is zero, or the rate is outside of what nanoseconds can express.
    pub fn new(count: u32, per: Duration, burst: u32) -> Result<Self, InvalidBucket> {
        if count == 0 {
            return Err(InvalidBucket::NoRate);
        }
        if burst == 0 {
            return Err(InvalidBucket::NoBurst);
        }
        if per.as_nanos() < u128::from(count) {
            return Err(InvalidBucket::TooFast);
        }
        let interval = i64::try_from(per.as_nanos().div_ceil(u128::from(count)));
        let tolerance = interval
            .ok()
            .and_then(|nanos| Some((nanos, nanos.checked_mul(i64::from(burst))?)));
        match tolerance {
            Some((interval, tolerance)) if tolerance <= i64::MAX / 2 => Ok(Self {
                burst,
                interval,
                tolerance,
            }),
            _ => Err(InvalidBucket::TooSlow),
        }
    }

    /// How many tokens the full bucket holds.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// How many tokens could be taken at `now`.
    pub fn available(&self, state: BucketState, now: Timestamp) -> u32 {
        let owed = (i128::from(state.0) - i128::from(nanos(now))).max(0);
        let left = (i128::from(self.tolerance) - owed).max(0) / i128::from(self.interval);
        u32::try_from(left).unwrap_or(self.burst).min(self.burst)
    }

    /// Takes `cost` tokens at `now`, or nothing.
    ///
    /// # Errors
    /// [`DrawError::RetryAfter`] with the shortest wait, in whole microseconds, after which the same draw succeeds if
    /// nobody draws in between; [`DrawError::CostAboveBurst`] if it never can.
    pub fn draw(&self, state: &mut BucketState, cost: u32, now: Timestamp) -> Result<(), DrawError> {
        *state = self.after(*state, cost, now)?;
        Ok(())
    }

    /// The state after taking `cost` tokens.
    fn after(&self, state: BucketState, cost: u32, now: Timestamp) -> Result<BucketState, DrawError> {
        if cost > self.burst {
            return Err(DrawError::CostAboveBurst {
                cost,
                burst: self.burst,
            });
        }
        if cost == 0 {
            return Ok(state);
        }
        let now = i128::from(nanos(now));
        let arrival = i128::from(state.0).max(now) + i128::from(self.interval) * i128::from(cost);
        let early = arrival - i128::from(self.tolerance) - now;
        match i64::try_from(arrival) {
            Ok(arrival) if early <= 0 => Ok(BucketState(arrival)),
            // Past 2262 the clock of the bucket stands still, and so does the bucket.
            _ => {
                let micros = early.max(1).unsigned_abs().div_ceil(1000);
                Err(DrawError::RetryAfter(Duration::from_micros(
                    u64::try_from(micros).unwrap_or(u64::MAX),
                )))
            }
        }
    }
}

/// One of several draws that succeed or fail together.
#[derive(Debug)]
pub struct Draw<'a> {
    /// The limit.
    pub bucket: &'a Bucket,
    /// Its state.
    pub state: &'a mut BucketState,
    /// Tokens to take.
    pub cost: u32,
}

/// Takes from all buckets, or from none.
///
/// # Errors
/// [`DrawError::CostAboveBurst`] if one of the draws can never succeed, otherwise [`DrawError::RetryAfter`] with the
/// longest wait among the refusing buckets.
pub fn draw_all(draws: &mut [Draw<'_>], now: Timestamp) -> Result<(), DrawError> {
    let mut wait = None;
    for draw in draws.iter() {
        match draw.bucket.after(*draw.state, draw.cost, now) {
            Ok(_) => {}
            Err(DrawError::RetryAfter(time)) => wait = wait.max(Some(time)),
            Err(never) => return Err(never),
        }
    }
    if let Some(wait) = wait {
        return Err(DrawError::RetryAfter(wait));
    }
    for draw in draws {
        draw.bucket.draw(draw.state, draw.cost, now)?;
    }
    Ok(())
}

fn nanos(now: Timestamp) -> i64 {
    now.as_micros().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn a_full_bucket_gives_its_burst_then_its_rate() {
        let bucket = Bucket::new(10, SECOND, 3).expect("valid");
        let mut state = BucketState::FULL;
        for _ in 0..3 {
            assert_eq!(bucket.draw(&mut state, 1, at(0)), Ok(()));
        }
        let refused = Err(DrawError::RetryAfter(Duration::from_millis(100)));
        assert_eq!(bucket.draw(&mut state, 1, at(0)), refused);
        assert_eq!(
            bucket.draw(&mut state, 1, at(99_999)),
            Err(DrawError::RetryAfter(Duration::from_micros(1)))
        );
        assert_eq!(bucket.draw(&mut state, 1, at(100_000)), Ok(()));
        assert!(!state.is_full(at(399_999)));
        assert!(state.is_full(at(400_000)));
    }

    #[test]
    fn what_is_available_can_be_taken_and_no_more() {
        let bucket = Bucket::new(10, SECOND, 3).expect("valid");
        let mut state = BucketState::FULL;
        assert_eq!(bucket.available(state, at(0)), 3);
        assert_eq!(bucket.draw(&mut state, 2, at(0)), Ok(()));
        for (micros, left) in [(0, 1), (99_999, 1), (100_000, 2), (200_000, 3), (9_000_000, 3)] {
            assert_eq!(bucket.available(state, at(micros)), left, "{micros}");
            let (mut taken, mut over) = (state, state);
            assert_eq!(bucket.draw(&mut taken, left, at(micros)), Ok(()));
            assert!(bucket.draw(&mut over, left + 1, at(micros)).is_err());
        }
    }

    #[test]
    fn a_cost_above_the_burst_is_named_and_no_cost_is_free() {
        let bucket = Bucket::new(1, SECOND, 5).expect("valid");
        let mut state = BucketState::FULL;
        let never = Err(DrawError::CostAboveBurst { cost: 6, burst: 5 });
        assert_eq!(bucket.draw(&mut state, 6, at(0)), never);
        assert_eq!(bucket.draw(&mut state, 0, at(0)), Ok(()));
        assert_eq!(state, BucketState::FULL);
    }

    #[test]
    fn impossible_settings_are_refused() {
        let new = |count, per, burst| Bucket::new(count, per, burst).expect_err("invalid");
        assert_eq!(new(0, SECOND, 1), InvalidBucket::NoRate);
        assert_eq!(new(1, SECOND, 0), InvalidBucket::NoBurst);
        assert_eq!(new(2, Duration::from_nanos(1), 1), InvalidBucket::TooFast);
        assert_eq!(new(1, Duration::ZERO, 1), InvalidBucket::TooFast);
        assert_eq!(new(1, Duration::MAX, 1), InvalidBucket::TooSlow);
        assert_eq!(new(1, Duration::from_hours(24), u32::MAX), InvalidBucket::TooSlow);
    }

    #[test]
    fn a_clock_that_steps_back_grants_nothing_twice() {
        let bucket = Bucket::new(1, SECOND, 2).expect("valid");
        let mut state = BucketState::FULL;
        assert_eq!(bucket.draw(&mut state, 2, at(10_000_000)), Ok(()));
        assert_eq!(
            bucket.draw(&mut state, 1, at(0)),
            Err(DrawError::RetryAfter(Duration::from_secs(11)))
        );
        assert_eq!(
            bucket.draw(&mut state, 1, at(10_000_000)),
            Err(DrawError::RetryAfter(SECOND))
        );
    }

    #[test]
    fn the_ends_of_time_fail_closed() {
        let bucket = Bucket::new(1, SECOND, 2).expect("valid");
        let mut state = BucketState::FULL;
        assert_eq!(bucket.draw(&mut state, 2, at(i64::MIN)), Ok(()));
        assert!(bucket.draw(&mut state, 1, at(i64::MAX)).is_err());
        assert!(
            bucket
                .draw(&mut BucketState::from_nanos(i64::MAX), 1, at(i64::MIN))
                .is_err()
        );
    }

    #[test]
    fn several_buckets_give_all_or_nothing() {
        let wide = Bucket::new(1, SECOND, 10).expect("valid");
        let narrow = Bucket::new(1, SECOND * 5, 1).expect("valid");
        let (mut first, mut second) = (BucketState::FULL, BucketState::FULL);
        let mut both = |cost, micros| {
            let mut draws = [
                Draw {
                    bucket: &wide,
                    state: &mut first,
                    cost,
                },
                Draw {
                    bucket: &narrow,
                    state: &mut second,
                    cost: 1,
                },
            ];
            let result = draw_all(&mut draws, at(micros));
            (result, first, second)
        };
        assert_eq!(both(10, 0).0, Ok(()));
        let before = (
            BucketState::from_nanos(10_000_000_000),
            BucketState::from_nanos(5_000_000_000),
        );
        assert_eq!(
            both(1, 0),
            (Err(DrawError::RetryAfter(SECOND * 5)), before.0, before.1)
        );
        assert_eq!(both(10, 0).0, Err(DrawError::RetryAfter(SECOND * 10)));
        assert_eq!(
            both(11, 0).0,
            Err(DrawError::CostAboveBurst { cost: 11, burst: 10 })
        );
        assert_eq!(both(1, 5_000_000).0, Ok(()));
    }

    proptest! {
        /// Over any schedule, also one that goes back in time, the tokens granted within a span of the clock are at
        /// most the burst and what the rate allows in that span.
        #[test]
        fn never_more_than_burst_and_rate(
            count in 1_u32..5000, per_millis in 1_u64..10_000, burst in 1_u32..50,
            steps in prop::collection::vec((-2_000_i64..20_000, 0_u32..6), 1..200),
        ) {
            let per = Duration::from_millis(per_millis);
            let bucket = Bucket::new(count, per, burst).expect("valid");
            let mut state = BucketState::FULL;
            let (mut now, mut granted) = (1_000_000_i64, 0_u128);
            let (mut earliest, mut latest) = (now, now);
            for (step, cost) in steps {
                now += step;
                earliest = earliest.min(now);
                latest = latest.max(now);
                if bucket.draw(&mut state, cost, at(now)).is_ok() {
                    granted += u128::from(cost);
                }
                let span = (latest - earliest) as u128;
                let refilled = span * u128::from(count) / per.as_micros();
                prop_assert!(granted <= u128::from(burst) + refilled);
            }
        }

        /// The wait told is enough, and not one microsecond longer than needed.
        #[test]
        fn the_wait_is_exact(
            count in 1_u32..5000, burst in 1_u32..50, cost in 1_u32..50, start in 0_i64..1_000_000,
        ) {
            let cost = cost.min(burst);
            let bucket = Bucket::new(count, SECOND, burst).expect("valid");
            let mut state = BucketState::FULL;
            bucket.draw(&mut state, burst, at(start)).expect("full");
            let Err(DrawError::RetryAfter(wait)) = bucket.draw(&mut state, cost, at(start)) else {
                return Err(TestCaseError::fail("an empty bucket granted"));
            };
            let ready = at(start).plus(wait);
            let mut copy = state;
            prop_assert!(bucket.draw(&mut copy, cost, ready.minus(Duration::from_micros(1))).is_err());
            prop_assert_eq!(bucket.draw(&mut state, cost, ready), Ok(()));
        }
    }
}
