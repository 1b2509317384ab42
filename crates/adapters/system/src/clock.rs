//! The system's clock.

#![expect(
    clippy::disallowed_methods,
    reason = "this adapter is the one place that reads the clocks of the operating system and sleeps on them"
)]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arbiter_core::model::Timestamp;
use arbiter_core::ports::Clock;
use async_trait::async_trait;

/// The clocks of the operating system; sleeping needs a tokio runtime with time.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
    /// Added to the time of day, in microseconds.
    offset_micros: i64,
}

impl SystemClock {
    /// The system's clocks as they are.
    pub fn new() -> Self {
        Self::with_offset_micros(0)
    }

    /// Clocks whose time of day is off by a constant, for drills with skewed nodes.
    pub fn with_offset_micros(offset_micros: i64) -> Self {
        Self {
            start: Instant::now(),
            offset_micros,
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 counts backwards.
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        Timestamp::from_micros(micros.saturating_add(self.offset_micros))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep_until(&self, moment: Duration) {
        match self.start.checked_add(moment) {
            Some(instant) => tokio::time::sleep_until(instant.into()).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleeping_reaches_the_moment() {
        let clock = SystemClock::new();
        let moment = clock.monotonic() + Duration::from_millis(5);
        clock.sleep_until(moment).await;
        assert!(clock.monotonic() >= moment);
    }

    #[test]
    fn an_offset_moves_the_time_of_day_only() {
        let (plain, ahead) = (SystemClock::new(), SystemClock::with_offset_micros(600_000_000));
        let gap = ahead.now().since(plain.now());
        assert!(
            gap > Duration::from_secs(590) && gap <= Duration::from_secs(601),
            "{gap:?}"
        );
        assert!(plain.now() > Timestamp::from_micros(1_700_000_000_000_000));
    }
}
