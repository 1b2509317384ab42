//! The record of a component, and what a failure of it leads to. Pure.

use std::collections::VecDeque;

use arbiter_core::model::{ComponentName, FailureKind, OperationId, Timestamp};
use serde::{Deserialize, Serialize};

use super::window::Window;
use crate::actions::Action;
use crate::records::Placed;
use crate::recovery::Recovery;
use crate::settings::Settings;

/// What the record's kind is called in the store.
pub(crate) const KIND: &str = "component";

/// Records are found by this index while something is under way for their component.
pub(crate) const RECOVERING: (&str, &str) = ("under_way", "yes");

/// How long a component is remembered after the last change, once nothing is under way for it: 30 days. Agents come and go.
const KEPT: std::time::Duration = std::time::Duration::from_hours(24 * 30);
/// How many recoveries are remembered.
const HISTORY: usize = 32;

/// What is stored of a component.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ComponentRecord {
    failures: Window,
    /// The recovery that is under way.
    pub(crate) recovery: Option<Recovery>,
    /// Those before, the latest last.
    pub(crate) past: VecDeque<PastRecovery>,
    /// Until when it is isolated.
    #[serde(default, with = "crate::word::as_micros_if_any")]
    pub(crate) isolated_until: Option<Timestamp>,
}

/// A recovery that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastRecovery {
    /// Its id.
    #[serde(with = "crate::word::as_text")]
    pub id: OperationId,
    /// The kind of failure that it began with.
    #[serde(with = "crate::word::as_word")]
    pub kind: FailureKind,
    /// When it began.
    #[serde(with = "crate::word::as_micros")]
    pub began_at: Timestamp,
    /// When it ended.
    #[serde(with = "crate::word::as_micros")]
    pub ended_at: Timestamp,
    /// How.
    pub outcome: Outcome,
}

/// How a recovery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "how")]
pub enum Outcome {
    /// The component was seen healthy after this action.
    Recovered {
        /// The action.
        by: Action,
    },
    /// What fails is kept away from work for a while.
    Contained {
        /// The action.
        by: Action,
    },
    /// Every action failed, or there was none but to tell people.
    Exhausted,
    /// It took too long; what ran was cancelled.
    TimedOut,
    /// Somebody ended it.
    Cancelled,
}

impl Outcome {
    /// The stable word of logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Recovered { .. } => "recovered",
            Self::Contained { .. } => "contained",
            Self::Exhausted => "exhausted",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether people are needed.
    pub const fn needs_people(self) -> bool {
        matches!(self, Self::Exhausted | Self::TimedOut)
    }
}

/// What a failure leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is only counted.
    Recorded,
    /// A recovery is to begin.
    Recover,
}

impl ComponentRecord {
    /// Counts failures and says what they lead to. A failure from before the end of the last recovery is what that
    /// recovery was about.
    pub(crate) fn note(
        &mut self,
        component: &ComponentName,
        (at, count): (Timestamp, u32),
        settings: &Settings,
        now: Timestamp,
    ) -> Verdict {
        self.failures.note(at, count, settings.window, now);
        let is_old = self.past.back().is_some_and(|last| at <= last.ended_at);
        let reached = self.failures.count(settings.window, now) >= settings.threshold_of(component);
        if self.recovery.is_some() || self.isolated_until.is_some() || is_old || !reached {
            Verdict::Recorded
        } else {
            Verdict::Recover
        }
    }

    /// How many failures lie in the window.
    pub(crate) fn recent(&self, settings: &Settings, now: Timestamp) -> u32 {
        self.failures.count(settings.window, now)
    }

    /// Ends the recovery of this id. Gives what is to be remembered of it; `None` when it has ended already.
    pub(crate) fn end(&mut self, id: OperationId, outcome: Outcome, now: Timestamp) -> Option<PastRecovery> {
        let ended = self.recovery.take_if(|recovery| recovery.id == id)?;
        let past = PastRecovery {
            id,
            kind: ended.kind,
            began_at: ended.began_at,
            ended_at: now.max(ended.began_at),
            outcome,
        };
        if self.past.len() >= HISTORY {
            self.past.pop_front();
        }
        self.past.push_back(past.clone());
        Some(past)
    }

    /// Whether recoveries follow each other too often.
    pub(crate) fn is_flapping(&self, settings: &Settings, now: Timestamp) -> bool {
        let since = now.minus(settings.flapping.within);
        let recovered = self.past.iter().filter(|past| {
            past.ended_at > since
                && matches!(
                    past.outcome,
                    Outcome::Recovered { .. } | Outcome::Contained { .. }
                )
        });
        recovered.count() >= settings.flapping.recoveries as usize
    }
}

/// Where the record can be found, and when it goes.
pub(crate) fn placed(record: &ComponentRecord, now: Timestamp) -> Placed {
    let under_way = record.recovery.is_some() || record.isolated_until.is_some();
    let index = under_way.then(|| (RECOVERING.0, RECOVERING.1.to_owned()));
    Placed {
        index: index.into_iter().collect(),
        expires_at: (!under_way).then(|| now.plus(KEPT)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arbiter_testkit::builders::{component, operation};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn note(record: &mut ComponentRecord, seconds: i64) -> Verdict {
        record.note(
            &component("store"),
            (at(seconds), 1),
            &Settings::default(),
            at(seconds),
        )
    }

    fn recover(record: &mut ComponentRecord, number: u64, began: i64, ended: i64, outcome: Outcome) {
        let settings = Settings::default();
        record.recovery = Some(Recovery::new(
            operation(number),
            FailureKind::Internal,
            settings.actions.of(FailureKind::Internal).to_vec(),
            &settings,
            at(began),
        ));
        record
            .end(operation(number), outcome, at(ended))
            .expect("it was under way");
    }

    const BY: Action = Action::RestartForced { after_seconds: 0 };

    #[test]
    fn the_third_failure_in_the_window_leads_to_a_recovery() {
        let mut record = ComponentRecord::default();
        assert_eq!(note(&mut record, 1_000), Verdict::Recorded);
        assert_eq!(note(&mut record, 1_100), Verdict::Recorded);
        assert_eq!(
            note(&mut record, 1_310),
            Verdict::Recorded,
            "the first has left the window"
        );
        assert_eq!(note(&mut record, 1_320), Verdict::Recover);
    }

    #[test]
    fn one_recovery_at_a_time_and_the_next_at_once_after_it() {
        let mut record = ComponentRecord::default();
        for second in 0..2 {
            note(&mut record, 1_000 + second);
        }
        assert_eq!(note(&mut record, 1_002), Verdict::Recover);
        let settings = Settings::default();
        record.recovery = Some(Recovery::new(
            operation(1),
            FailureKind::Internal,
            vec![BY],
            &settings,
            at(1_002),
        ));
        assert_eq!(note(&mut record, 1_003), Verdict::Recorded, "one at a time");
        record.end(operation(1), Outcome::Recovered { by: BY }, at(1_010));
        assert_eq!(note(&mut record, 1_009), Verdict::Recorded, "from before its end");
        assert_eq!(
            note(&mut record, 1_011),
            Verdict::Recover,
            "at once if it fails again"
        );
    }

    #[test]
    fn a_component_is_forgotten_only_when_nothing_is_under_way_for_it() {
        let mut record = ComponentRecord::default();
        assert_eq!(placed(&record, at(5)).expires_at, Some(at(5).plus(KEPT)));
        record.isolated_until = Some(at(10));
        assert_eq!(placed(&record, at(5)).expires_at, None);
        assert_eq!(
            placed(&record, at(5)).index,
            [(RECOVERING.0, RECOVERING.1.to_owned())]
        );
    }

    #[test]
    fn a_recovery_ends_once() {
        let mut record = ComponentRecord::default();
        recover(&mut record, 1, 10, 20, Outcome::Recovered { by: BY });
        assert_eq!(record.end(operation(1), Outcome::TimedOut, at(30)), None);
        assert_eq!(record.past.len(), 1);
        for number in 2..100 {
            recover(&mut record, number, 10, 20, Outcome::Exhausted);
        }
        assert_eq!(record.past.len(), HISTORY);
    }

    #[test]
    fn three_recoveries_within_a_quarter_of_an_hour_are_flapping() {
        let settings = Settings::default();
        let mut record = ComponentRecord::default();
        for (number, ended) in [(1, 100), (2, 400), (3, 950)] {
            assert!(!record.is_flapping(&settings, at(ended)));
            recover(
                &mut record,
                number,
                ended - 1,
                ended,
                Outcome::Recovered { by: BY },
            );
        }
        assert!(record.is_flapping(&settings, at(950)));
        assert!(record.is_flapping(&settings, at(999)));
        assert!(
            !record.is_flapping(&settings, at(1_000)),
            "the first is too long ago"
        );
        let mut record = ComponentRecord::default();
        for number in 1..5 {
            recover(&mut record, number, 1, 2, Outcome::Exhausted);
        }
        assert!(!record.is_flapping(&settings, at(2)), "nothing recovered");
        assert_eq!(settings.flapping.within, Duration::from_mins(15));
    }
}
