//! Time that moves when a test says so.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arbiter_core::model::Timestamp;
use arbiter_core::ports::Clock;
use async_trait::async_trait;

/// A clock that stands still until [`ManualClock::advance`] is called.
///
/// Wall time and monotonic time advance together; [`ManualClock::set_back`] moves wall time alone, as an operator or
/// a time server does.
#[derive(Debug)]
pub struct ManualClock {
    time: Mutex<Time>,
}

#[derive(Debug)]
struct Time {
    wall: Timestamp,
    monotonic: Duration,
    /// By the moment that they wait for, then by the order in which they came.
    sleepers: BTreeMap<(Duration, u64), Waker>,
    came: u64,
}

impl ManualClock {
    /// The wall time of [`ManualClock::new`]: 2026-01-01T00:00:00Z.
    pub const START: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);

    /// A clock that shows [`ManualClock::START`].
    pub fn new() -> Self {
        Self::at(Self::START)
    }

    /// A clock that shows `wall`.
    pub fn at(wall: Timestamp) -> Self {
        let time = Time {
            wall,
            monotonic: Duration::ZERO,
            sleepers: BTreeMap::new(),
            came: 0,
        };
        Self {
            time: Mutex::new(time),
        }
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves both times forward and wakes those whose moment has come, the earliest first.
    pub fn advance(&self, by: Duration) {
        let mut time = self.time();
        time.wall = time.wall.plus(by);
        time.monotonic = time.monotonic.saturating_add(by);
        let reached = time.monotonic;
        let later = time.sleepers.split_off(&(reached, u64::MAX));
        let woken = std::mem::replace(&mut time.sleepers, later);
        drop(time);
        woken.into_values().for_each(Waker::wake);
    }

    /// Moves both times to the next moment that somebody sleeps until, if anybody does; tells by how much.
    pub fn advance_to_next_sleeper(&self) -> Option<Duration> {
        let by = {
            let time = self.time();
            let (moment, _) = time.sleepers.keys().next()?;
            moment.saturating_sub(time.monotonic)
        };
        self.advance(by);
        Some(by)
    }

    /// Moves wall time back; monotonic time, and with it every sleeper, stays.
    pub fn set_back(&self, by: Duration) {
        let mut time = self.time();
        time.wall = time.wall.minus(by);
    }

    /// How many sleep now.
    pub fn sleepers(&self) -> usize {
        self.time().sleepers.len()
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.time().wall
    }

    fn monotonic(&self) -> Duration {
        self.time().monotonic
    }

    async fn sleep_until(&self, moment: Duration) {
        Sleep {
            clock: self,
            moment,
            place: None,
        }
        .await;
    }
}

struct Sleep<'a> {
    clock: &'a ManualClock,
    moment: Duration,
    place: Option<u64>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut time = self.clock.time();
        if time.monotonic >= self.moment {
            return Poll::Ready(());
        }
        let place = self.place.unwrap_or_else(|| {
            time.came += 1;
            time.came
        });
        time.sleepers
            .insert((self.moment, place), context.waker().clone());
        drop(time);
        self.place = Some(place);
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.clock.time().sleepers.remove(&(self.moment, place));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use futures_util::future::join;

    use super::*;

    #[tokio::test]
    async fn sleepers_wake_in_the_order_of_their_moments() {
        let clock = Arc::new(ManualClock::new());
        let order = Mutex::new(Vec::new());
        let sleeper = |seconds| {
            let (clock, order) = (&clock, &order);
            async move {
                clock.sleep_until(Duration::from_secs(seconds)).await;
                order.lock().unwrap().push(seconds);
            }
        };
        let all = join(join(sleeper(3), sleeper(1)), sleeper(2));
        let mut all = Box::pin(all);
        assert!((&mut all).now_or_never().is_none());
        assert_eq!(clock.sleepers(), 3);
        assert_eq!(clock.advance_to_next_sleeper(), Some(Duration::from_secs(1)));
        assert!((&mut all).now_or_never().is_none());
        assert_eq!(*order.lock().unwrap(), [1]);
        clock.advance(Duration::from_secs(1));
        assert!((&mut all).now_or_never().is_none());
        assert_eq!(*order.lock().unwrap(), [1, 2]);
        clock.advance(Duration::from_secs(5));
        all.await;
        assert_eq!(clock.monotonic(), Duration::from_secs(7));
        assert_eq!(clock.now(), ManualClock::START.plus(Duration::from_secs(7)));
    }

    #[tokio::test]
    async fn setting_back_moves_wall_time_alone_and_a_dropped_sleeper_is_forgotten() {
        let clock = ManualClock::new();
        clock.advance(Duration::from_secs(10));
        clock.set_back(Duration::from_secs(60));
        assert_eq!(clock.now(), ManualClock::START.minus(Duration::from_secs(50)));
        assert_eq!(clock.monotonic(), Duration::from_secs(10));
        assert!(
            clock
                .sleep_until(Duration::from_secs(10))
                .now_or_never()
                .is_some()
        );
        assert!(
            clock
                .sleep_until(Duration::from_secs(11))
                .now_or_never()
                .is_none()
        );
        assert_eq!(clock.sleepers(), 0);
        assert_eq!(clock.advance_to_next_sleeper(), None);
    }
}
