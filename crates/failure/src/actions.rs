//! What is tried when a component fails, in order.

use std::collections::BTreeMap;
use std::time::Duration;

use arbiter_core::model::FailureKind;
use arbiter_core::ports::Verb;
use serde::{Deserialize, Serialize};

/// One thing to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Ask it to end, and start it again.
    RestartGraceful {
        /// How long to wait before, in seconds.
        after_seconds: u32,
    },
    /// End it and start it again.
    RestartForced {
        /// How long to wait before, in seconds.
        after_seconds: u32,
    },
    /// Let a healthy standby do its work.
    SwitchOver,
    /// Run one more of it, up to the component's maximum.
    ScaleUp,
    /// Take it out for a while; it is reinstated by itself.
    Isolate {
        /// For how long, in seconds.
        for_seconds: u32,
    },
    /// Take no new work of low priority for a while.
    ShedLow {
        /// For how long, in seconds.
        for_seconds: u32,
    },
    /// Give the agent no more tasks of the kind that it fails at, for a while.
    Quarantine {
        /// For how long, in seconds.
        for_seconds: u32,
    },
    /// Tell people. It never counts as a recovery.
    Alert,
}

/// What an action comes down to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Means {
    /// An operation on infrastructure; `ScaleUp` is resolved when it begins.
    Verb(Verb),
    ScaleUp,
    /// A restriction that this program keeps itself.
    Contain,
    Alert,
}

impl Action {
    /// The stable word of logs, time lines and configuration.
    pub const fn word(self) -> &'static str {
        match self {
            Self::RestartGraceful { .. } => "restart_graceful",
            Self::RestartForced { .. } => "restart_forced",
            Self::SwitchOver => "switch_over",
            Self::ScaleUp => "scale_up",
            Self::Isolate { .. } => "isolate",
            Self::ShedLow { .. } => "shed_low",
            Self::Quarantine { .. } => "quarantine",
            Self::Alert => "alert",
        }
    }

    /// How long to wait before it is begun.
    pub(crate) const fn wait(self) -> Duration {
        match self {
            Self::RestartGraceful { after_seconds } | Self::RestartForced { after_seconds } => {
                Duration::from_secs(after_seconds as u64)
            }
            _ => Duration::ZERO,
        }
    }

    /// For how long it holds, if it ends by itself.
    pub(crate) const fn holds_for(self) -> Option<Duration> {
        match self {
            Self::Isolate { for_seconds }
            | Self::ShedLow { for_seconds }
            | Self::Quarantine { for_seconds } => Some(Duration::from_secs(for_seconds as u64)),
            _ => None,
        }
    }

    pub(crate) const fn means(self) -> Means {
        match self {
            Self::RestartGraceful { .. } => Means::Verb(Verb::RestartGraceful),
            Self::RestartForced { .. } => Means::Verb(Verb::RestartForced),
            Self::SwitchOver => Means::Verb(Verb::SwitchOver),
            Self::Isolate { .. } => Means::Verb(Verb::Isolate),
            Self::ScaleUp => Means::ScaleUp,
            Self::ShedLow { .. } | Self::Quarantine { .. } => Means::Contain,
            Self::Alert => Means::Alert,
        }
    }
}

/// The longest time of an action.
const DAY: Duration = Duration::from_hours(24);
/// The most actions of one kind of failure.
pub(crate) const MAX_ACTIONS: usize = 8;

/// Actions by kind of failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actions(BTreeMap<FailureKind, Vec<Action>>);

/// Actions that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidActions {
    /// Too many, or none.
    #[error("failures of the kind `{}` need 1 to {MAX_ACTIONS} actions", kind.word())]
    Count {
        /// The kind.
        kind: FailureKind,
    },
    /// A time that is no time.
    #[error("`{}` needs a time of 1 second to 1 day", action.word())]
    Time {
        /// The action.
        action: Action,
    },
}

impl Default for Actions {
    /// The table of the specification.
    fn default() -> Self {
        const QUARANTINE: Action = Action::Quarantine { for_seconds: 900 };
        let table = FailureKind::ALL.iter().map(|kind| {
            let actions = match kind {
                FailureKind::HealthCheck => vec![Action::RestartGraceful { after_seconds: 0 }],
                FailureKind::Connection => {
                    vec![Action::SwitchOver, Action::RestartGraceful { after_seconds: 30 }]
                }
                FailureKind::Timeout => {
                    vec![Action::ScaleUp, Action::RestartGraceful { after_seconds: 0 }]
                }
                FailureKind::Internal => vec![Action::RestartForced { after_seconds: 0 }, Action::Alert],
                FailureKind::Dependency => vec![Action::Isolate { for_seconds: 300 }],
                FailureKind::Capacity => vec![Action::ScaleUp, Action::ShedLow { for_seconds: 300 }],
                FailureKind::InvalidOutput | FailureKind::Poison => vec![QUARANTINE],
                FailureKind::Policy => vec![Action::Alert],
            };
            (*kind, actions)
        });
        Self(table.collect())
    }
}

impl Actions {
    /// With other actions for a kind.
    ///
    /// # Errors
    /// [`InvalidActions`] when there are none or too many, or a time is none.
    pub fn with(mut self, kind: FailureKind, actions: Vec<Action>) -> Result<Self, InvalidActions> {
        if actions.is_empty() || actions.len() > MAX_ACTIONS {
            return Err(InvalidActions::Count { kind });
        }
        let bad = |action: &&Action| {
            let no_hold = action
                .holds_for()
                .is_some_and(|time| time.is_zero() || time > DAY);
            no_hold || action.wait() > DAY
        };
        if let Some(action) = actions.iter().find(bad) {
            return Err(InvalidActions::Time { action: *action });
        }
        self.0.insert(kind, actions);
        Ok(self)
    }

    /// What to try, in order.
    pub fn of(&self, kind: FailureKind) -> &[Action] {
        self.0.get(&kind).map_or(&[Action::Alert], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_the_actions_of_the_specification() {
        let actions = Actions::default();
        let table: Vec<(&str, Vec<&str>)> = FailureKind::ALL
            .iter()
            .map(|kind| {
                (
                    kind.word(),
                    actions.of(*kind).iter().map(|action| action.word()).collect(),
                )
            })
            .collect();
        let expected: [(&str, &[&str]); 9] = [
            ("health_check", &["restart_graceful"]),
            ("connection", &["switch_over", "restart_graceful"]),
            ("timeout", &["scale_up", "restart_graceful"]),
            ("internal", &["restart_forced", "alert"]),
            ("dependency", &["isolate"]),
            ("capacity", &["scale_up", "shed_low"]),
            ("invalid_output", &["quarantine"]),
            ("policy", &["alert"]),
            ("poison", &["quarantine"]),
        ];
        let expected: Vec<(&str, Vec<&str>)> = expected
            .iter()
            .map(|(kind, actions)| (*kind, actions.to_vec()))
            .collect();
        assert_eq!(table, expected);
        let restart = actions.of(FailureKind::Connection)[1];
        assert_eq!(restart.wait(), Duration::from_secs(30));
        let isolate = actions.of(FailureKind::Dependency)[0];
        assert_eq!(isolate.holds_for(), Some(Duration::from_mins(5)));
    }

    #[test]
    fn actions_that_cannot_be_are_refused() {
        let with = |actions| Actions::default().with(FailureKind::Timeout, actions);
        assert!(with(vec![Action::SwitchOver]).is_ok());
        assert_eq!(
            with(vec![]),
            Err(InvalidActions::Count {
                kind: FailureKind::Timeout
            })
        );
        assert!(matches!(
            with(vec![Action::Alert; 9]),
            Err(InvalidActions::Count { .. })
        ));
        for action in [
            Action::Isolate { for_seconds: 0 },
            Action::Quarantine { for_seconds: 90_000 },
            Action::RestartForced {
                after_seconds: 90_000,
            },
        ] {
            assert_eq!(with(vec![action]), Err(InvalidActions::Time { action }));
        }
    }
}
