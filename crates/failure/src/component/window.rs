//! A sliding window of counted failures, in slices, so that a storm takes no more room than a trickle.

use std::collections::VecDeque;
use std::time::Duration;

use arbiter_core::model::Timestamp;
use serde::{Deserialize, Serialize};

/// The window has so many slices; it is exact to one of them.
const SLICES: u32 = 30;

/// Counts of failures over time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Window(VecDeque<Slice>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Slice {
    /// Its number since the epoch.
    number: i64,
    count: u32,
}

fn slice_of(at: Timestamp, window: Duration) -> i64 {
    let length = (window / SLICES).as_micros().max(1);
    at.as_micros()
        .div_euclid(i64::try_from(length).unwrap_or(i64::MAX))
}

impl Window {
    /// Counts failures at a moment; what has left the window is forgotten.
    pub(crate) fn note(&mut self, at: Timestamp, count: u32, window: Duration, now: Timestamp) {
        self.forget(window, now);
        let number = slice_of(at, window);
        if number <= slice_of(now, window) - i64::from(SLICES) {
            return;
        }
        let place = self.0.partition_point(|slice| slice.number < number);
        match self.0.get_mut(place) {
            Some(slice) if slice.number == number => slice.count = slice.count.saturating_add(count),
            _ => self.0.insert(place, Slice { number, count }),
        }
    }

    /// How many failures lie in the window that ends now.
    pub(crate) fn count(&self, window: Duration, now: Timestamp) -> u32 {
        let oldest = slice_of(now, window) - i64::from(SLICES);
        let live = self.0.iter().filter(|slice| slice.number > oldest);
        live.fold(0, |sum, slice| sum.saturating_add(slice.count))
    }

    fn forget(&mut self, window: Duration, now: Timestamp) {
        let oldest = slice_of(now, window) - i64::from(SLICES);
        while self.0.front().is_some_and(|slice| slice.number <= oldest) {
            self.0.pop_front();
        }
        // clocks of nodes may differ: what claims to be far ahead is dropped first
        while self.0.len() > 2 * SLICES as usize {
            self.0.pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_mins(5);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn failures_leave_the_window_one_slice_after_the_other() {
        let mut window = Window::default();
        window.note(at(1_000), 2, WINDOW, at(1_000));
        window.note(at(1_100), 1, WINDOW, at(1_100));
        assert_eq!(window.count(WINDOW, at(1_299)), 3);
        assert_eq!(window.count(WINDOW, at(1_300)), 1);
        assert_eq!(window.count(WINDOW, at(1_400)), 0);
        window.note(at(1_000), 5, WINDOW, at(1_400));
        assert_eq!(window.count(WINDOW, at(1_400)), 0, "too old to count");
    }

    proptest! {
        /// It counts what an exact list counts, up to one slice; and it never grows.
        #[test]
        fn it_is_exact_to_a_slice_and_bounded(steps in prop::collection::vec((0_i64..40, 1_u32..5), 1..300)) {
            let mut window = Window::default();
            let mut exact: Vec<(i64, u32)> = Vec::new();
            let mut now = 10_000;
            for (pass, count) in steps {
                now += pass;
                window.note(at(now), count, WINDOW, at(now));
                exact.push((now, count));
                let within = |seconds: i64| -> u32 {
                    exact.iter().filter(|(when, _)| *when > now - seconds).map(|(_, count)| count).sum()
                };
                let counted = window.count(WINDOW, at(now));
                prop_assert!(within(290) <= counted && counted <= within(300), "{} {counted} {}", within(290), within(300));
                prop_assert!(window.0.len() <= 60);
            }
        }
    }
}
