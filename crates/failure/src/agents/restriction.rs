//! What one agent may not do now. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use arbiter_core::model::{TaskKind, Timestamp};
use serde::{Deserialize, Serialize};

/// When an agent's breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerSettings {
    /// How many failed attempts in a row open it; 5.
    pub failures: u32,
    /// How long it stays open the first time; 30 s.
    pub cool_down: Duration,
    /// How long at most: the time doubles each time that the probe fails; 10 min.
    pub longest_cool_down: Duration,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self {
            failures: 5,
            cool_down: Duration::from_secs(30),
            longest_cool_down: Duration::from_mins(10),
        }
    }
}

/// What an agent may not do now. All nodes share it; times are the store's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    /// Until when its breaker is open: it gets no work. From then on it is half-open: one task at a time, until one
    /// succeeds.
    #[serde(default, with = "crate::word::as_micros_if_any")]
    pub open_until: Option<Timestamp>,
    /// How long the breaker was opened for last, in microseconds.
    #[serde(default)]
    pub(crate) cool_down: i64,
    /// Kinds of tasks that it gets none of, and until when.
    #[serde(default)]
    pub(crate) kinds: BTreeMap<String, i64>,
}

/// Whether an agent gets work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// As much as it has room for.
    Closed,
    /// One task at a time.
    HalfOpen,
    /// None.
    Open,
}

impl Restriction {
    /// Opens the breaker, for twice as long as the time before if it was half-open.
    pub(crate) fn trip(&mut self, settings: &BreakerSettings, now: Timestamp) {
        let first = i64::try_from(settings.cool_down.as_micros()).unwrap_or(i64::MAX);
        let longest = i64::try_from(settings.longest_cool_down.as_micros()).unwrap_or(i64::MAX);
        let time = match self.open_until {
            None => first,
            Some(_) => self.cool_down.saturating_mul(2).clamp(first, longest.max(first)),
        };
        self.cool_down = time;
        self.open_until = Some(Timestamp::from_micros(now.as_micros().saturating_add(time)));
    }

    /// Closes the breaker.
    pub(crate) fn close(&mut self) {
        self.open_until = None;
        self.cool_down = 0;
    }

    /// Keeps a kind of task away until a moment.
    pub(crate) fn quarantine(&mut self, kind: &TaskKind, until: Timestamp) {
        let kept = self.kinds.entry(kind.as_str().to_owned()).or_insert(i64::MIN);
        *kept = (*kept).max(until.as_micros());
    }

    /// Forgets what is over.
    pub(crate) fn forget(&mut self, now: Timestamp) {
        self.kinds.retain(|_, until| *until > now.as_micros());
    }

    /// Whether it says anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.open_until.is_none() && self.kinds.is_empty()
    }

    /// Whether the agent gets work.
    pub(crate) fn gate(&self, now: Timestamp) -> Gate {
        match self.open_until {
            None => Gate::Closed,
            Some(until) if now < until => Gate::Open,
            Some(_) => Gate::HalfOpen,
        }
    }

    /// The kinds of tasks that it gets none of, with the end of each.
    pub fn quarantined(&self, now: Timestamp) -> Vec<(TaskKind, Timestamp)> {
        let live = self.kinds.iter().filter(|(_, until)| **until > now.as_micros());
        live.filter_map(|(kind, until)| Some((TaskKind::new(kind).ok()?, Timestamp::from_micros(*until))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use arbiter_testkit::builders::kind;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_breaker_opens_for_twice_as_long_when_the_probe_fails_and_closing_forgets() {
        let settings = BreakerSettings::default();
        let mut restriction = Restriction::default();
        assert_eq!(restriction.gate(at(0)), Gate::Closed);
        let mut now = 0;
        for seconds in [30, 60, 120, 240, 480, 600, 600] {
            restriction.trip(&settings, at(now));
            assert_eq!(restriction.gate(at(now + seconds - 1)), Gate::Open);
            now += seconds;
            assert_eq!(restriction.gate(at(now)), Gate::HalfOpen);
        }
        restriction.close();
        assert!(restriction.is_empty());
        restriction.trip(&settings, at(now));
        assert_eq!(restriction.gate(at(now + 30)), Gate::HalfOpen);
    }

    #[test]
    fn kinds_are_kept_away_until_their_time_is_over() {
        let mut restriction = Restriction::default();
        restriction.quarantine(&kind(), at(10));
        restriction.quarantine(&kind(), at(5));
        assert_eq!(restriction.quarantined(at(9)), [(kind(), at(10))]);
        assert_eq!(restriction.quarantined(at(10)), []);
        restriction.forget(at(10));
        assert!(restriction.is_empty());
    }
}
