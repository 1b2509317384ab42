//! What is to be done about instants that have come: decided by the clock's reading, without any I/O.

use std::collections::VecDeque;
use std::time::Duration;

use arbiter_core::mechanism::keyed_jitter;
use arbiter_core::model::{ScheduleId, Timestamp};

use super::calendar::Calendar;
use super::record::CatchUp;

/// So many missed instants are looked at one by one: more than a month of minutes. After a longer time only those of
/// the last [`REACH`] are.
const SCAN: usize = 50_000;
const REACH: Duration = Duration::from_hours(24 * 31);
const MICROS_OF_MINUTE: i64 = 60_000_000;

/// An instant that a schedule comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upcoming {
    /// The instant that the expression names.
    pub at: Timestamp,
    /// When its task is submitted: with the jitter.
    pub due: Timestamp,
}

/// When a schedule comes, and what of the past it makes up for.
#[derive(Debug, Clone)]
pub(super) struct Timing {
    pub(super) id: ScheduleId,
    pub(super) calendar: Calendar,
    pub(super) jitter: Duration,
    pub(super) catch_up: CatchUp,
    /// How late an instant may be found and still count as met in time.
    pub(super) grace: Duration,
}

/// What to do now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    /// Tasks to submit, for these instants, in order.
    pub(super) runs: Vec<Timestamp>,
    /// How many instants were passed over.
    pub(super) missed: u64,
    /// What comes next.
    pub(super) next: Option<Upcoming>,
}

impl Timing {
    /// The instants strictly after a moment, with their jitter.
    pub(super) fn after(&self, after: Timestamp) -> impl Iterator<Item = Upcoming> + '_ {
        let mut instants = self.calendar.after(after).peekable();
        std::iter::from_fn(move || {
            let at = instants.next()?;
            let due = self.due(at, instants.peek().copied());
            Some(Upcoming { at, due })
        })
    }

    /// Decides about the instants from `from` on.
    pub(super) fn decide(&self, from: Timestamp, now: Timestamp) -> Decision {
        let keep = match self.catch_up {
            CatchUp::Skip => SCAN,
            CatchUp::Last => 1,
            CatchUp::All { limit } => usize::from(limit),
        };
        let mut decision = Decision {
            runs: Vec::new(),
            missed: 0,
            next: None,
        };
        let mut runs = VecDeque::new();
        let mut after = from.minus(Duration::from_micros(1));
        // A second pass only where the first met more instants than it looks at.
        for _ in 0..2 {
            let mut scanned = 0;
            for upcoming in self.after(after).take(SCAN) {
                if upcoming.due > now {
                    decision.next = Some(upcoming);
                    break;
                }
                (scanned, after) = (scanned + 1, upcoming.at);
                let on_time = now.since(upcoming.due) <= self.grace;
                if self.catch_up == CatchUp::Skip && !on_time {
                    decision.missed += 1;
                    continue;
                }
                runs.push_back(upcoming.at);
                if runs.len() > keep {
                    runs.pop_front();
                    decision.missed += 1;
                }
            }
            if decision.next.is_some() || scanned < SCAN {
                break;
            }
            after = after.max(now.minus(REACH));
        }
        decision.runs = runs.into();
        decision
    }

    /// The instant and its jitter: a keyed hash of schedule and instant, so that every node and every repeat finds the
    /// same. It never reaches the instant that follows, so that order is kept.
    fn due(&self, at: Timestamp, following: Option<Timestamp>) -> Timestamp {
        let span = following.map_or(self.jitter, |following| self.jitter.min(following.since(at)));
        let minute = (at.as_micros() / MICROS_OF_MINUTE) as u32;
        let bits = keyed_jitter(self.id.as_bytes(), minute);
        let micros = (span.as_micros() * u128::from(bits)) >> 64;
        at.plus(Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::calendar::Zone;
    use super::*;

    fn timing(cron: &str, catch_up: CatchUp, jitter: u64) -> Timing {
        Timing {
            id: ScheduleId::from_bytes([5; 16]),
            calendar: Calendar {
                cron: cron.parse().expect("cron"),
                zone: Zone::named("UTC").expect("zone"),
            },
            jitter: Duration::from_secs(jitter),
            catch_up,
            grace: Duration::from_mins(1),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("time")
    }

    fn hours(decision: &Decision) -> Vec<String> {
        let text = decision.runs.iter().map(ToString::to_string);
        text.map(|text| text[11..16].to_owned()).collect()
    }

    #[test]
    fn what_was_missed_is_made_up_for_as_the_policy_says() {
        let (from, now) = (at("2026-01-01T01:00:00Z"), at("2026-01-01T05:00:10Z"));
        let decide = |catch_up| timing("0 * * * *", catch_up, 0).decide(from, now);
        let skip = decide(CatchUp::Skip);
        assert_eq!((hours(&skip), skip.missed), (vec!["05:00".to_owned()], 4));
        let last = decide(CatchUp::Last);
        assert_eq!((hours(&last), last.missed), (vec!["05:00".to_owned()], 4));
        let all = decide(CatchUp::All { limit: 100 });
        assert_eq!(hours(&all), ["01:00", "02:00", "03:00", "04:00", "05:00"]);
        let some = decide(CatchUp::All { limit: 2 });
        assert_eq!(
            (hours(&some), some.missed),
            (vec!["04:00".to_owned(), "05:00".to_owned()], 3)
        );
        let next = Some(Upcoming {
            at: at("2026-01-01T06:00:00Z"),
            due: at("2026-01-01T06:00:00Z"),
        });
        assert!(
            [skip, last, all, some]
                .iter()
                .all(|decision| decision.next == next)
        );
        // A minute and a second late: only who makes up for it gets it.
        let late = at("2026-01-01T05:01:01Z");
        let skip = timing("0 * * * *", CatchUp::Skip, 0).decide(from, late);
        assert_eq!((skip.runs.len(), skip.missed), (0, 5));
        let last = timing("0 * * * *", CatchUp::Last, 0).decide(from, late);
        assert_eq!(hours(&last), ["05:00"]);
    }

    #[test]
    fn nothing_is_done_before_its_time() {
        let timing = timing("0 * * * *", CatchUp::Last, 0);
        let decision = timing.decide(at("2026-01-01T01:00:00Z"), at("2026-01-01T00:59:59Z"));
        assert_eq!((decision.runs.len(), decision.missed), (0, 0));
        assert_eq!(
            decision.next.map(|next| next.at),
            Some(at("2026-01-01T01:00:00Z"))
        );
    }

    #[test]
    fn years_of_missed_minutes_are_bounded_work() {
        let timing = timing("* * * * *", CatchUp::All { limit: 3 }, 0);
        let decision = timing.decide(at("2016-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z"));
        assert_eq!(hours(&decision), ["23:58", "23:59", "00:00"]);
        assert!(decision.missed > 90_000, "{}", decision.missed);
        assert_eq!(
            decision.next.map(|next| next.at),
            Some(at("2026-01-01T00:01:00Z"))
        );
        let yearly = super::tests::timing("0 0 1 1 *", CatchUp::Last, 0);
        let decision = yearly.decide(at("2016-01-01T00:00:00Z"), at("2025-12-01T00:00:00Z"));
        assert_eq!(decision.runs, [at("2025-01-01T00:00:00Z")]);
    }

    proptest! {
        /// Jitter stays in its bounds and before the next instant, is the same at every look, and is not always 0.
        #[test]
        fn jitter_is_bounded_and_the_same_for_all(
            jitter in 0_u64..=3_600, id in any::<[u8; 16]>(), start in 1_700_000_000_i64..2_000_000_000,
        ) {
            let timing = Timing { id: ScheduleId::from_bytes(id), ..timing("*/20 * * * *", CatchUp::Last, jitter) };
            let start = Timestamp::from_micros(start * 1_000_000);
            let found: Vec<Upcoming> = timing.after(start).take(20).collect();
            let bound = Duration::from_secs(jitter).min(Duration::from_mins(20));
            for upcoming in &found {
                prop_assert!(upcoming.due >= upcoming.at);
                prop_assert!(jitter == 0 || upcoming.due < upcoming.at.plus(bound));
            }
            prop_assert!(found.windows(2).all(|pair| pair[0].due <= pair[1].at));
            prop_assert!(jitter < 60 || found.iter().any(|upcoming| upcoming.due > upcoming.at));
            let again: Vec<Upcoming> = timing.after(start.plus(Duration::from_mins(20))).take(19).collect();
            prop_assert_eq!(&found[1..], &again[..]);
        }
    }
}
