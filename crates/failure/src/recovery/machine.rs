//! A recovery as a state machine: pure, stored after each step, gone on with by whoever holds its lease.

use std::time::Duration;

use arbiter_core::model::{FailureKind, OperationId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::actions::{Action, Means};
use crate::component::Outcome;
use crate::settings::Settings;

/// A recovery that is under way.
///
/// Each action: wait, begin the operation, look until it has ended, then look until the component is healthy. What does not
/// restore health within its time is followed by the next action; after the last one the recovery is exhausted. When the
/// time of the whole is over, what runs is cancelled, and the recovery has timed out. There is one outcome, ever.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// Its id.
    #[serde(with = "crate::word::as_text")]
    pub id: OperationId,
    /// The kind of failure that it began with.
    #[serde(with = "crate::word::as_word")]
    pub kind: FailureKind,
    /// When it began.
    #[serde(with = "crate::word::as_micros")]
    pub began_at: Timestamp,
    /// When it ends at the latest.
    #[serde(with = "crate::word::as_micros")]
    pub deadline: Timestamp,
    /// How long a component has to become healthy, in microseconds.
    check_for: i64,
    /// What is tried, in order.
    actions: Vec<Action>,
    /// The place of the present action.
    place: usize,
    phase: Phase,
    /// What came of the actions before: one line each.
    #[serde(default)]
    pub tried: Vec<String>,
    /// What of the component fails, where only a part does: the kind of task that an agent fails at.
    #[serde(default)]
    pub subject: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
enum Phase {
    /// Until the present action may begin.
    Waiting { until: i64 },
    /// Its operation has an id, and may have begun.
    Acting {
        #[serde(with = "crate::word::as_text")]
        operation: OperationId,
        /// How many instances there are to be, where the action is to scale: decided once, however often it is begun.
        to: Option<u32>,
    },
    /// Its operation has succeeded; the component has until then to become healthy.
    Checking { until: i64 },
    /// The time of the whole is over; the operation is to be cancelled.
    Stopping {
        #[serde(with = "crate::word::as_text")]
        operation: OperationId,
        outcome: Outcome,
    },
    /// Nothing more happens.
    Ended { outcome: Outcome },
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Wait until then, then ask again.
    Wait(Timestamp),
    /// Choose an id for the operation of the action that is due, and tell it by [`Recovery::begins`]; nothing is acted on
    /// before that was stored.
    Begin(Action),
    /// Begin the operation, or look how it stands.
    Operate {
        /// Its id.
        operation: OperationId,
        /// The action.
        action: Action,
        /// How many instances there are to be, where the action is to scale.
        to: Option<u32>,
    },
    /// Look how the component stands.
    Check,
    /// Cancel the operation.
    Cancel(OperationId),
    /// It has ended.
    End(Outcome),
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The operation is under way.
    Running,
    /// The operation has come to its effect.
    Succeeded,
    /// The operation failed, was refused, or cannot be done here.
    Failed(String),
    /// The component is healthy.
    Healthy,
    /// The component is not healthy.
    Unhealthy(String),
    /// What fails is kept away from work.
    Contained,
    /// The operation was cancelled, or had ended before.
    Stopped,
}

/// How many lines of what was tried are kept, and how long each may be.
const LINES: usize = 16;
const LINE_BYTES: usize = 300;

impl Recovery {
    /// A recovery that begins now.
    pub fn new(
        id: OperationId,
        kind: FailureKind,
        actions: Vec<Action>,
        settings: &Settings,
        now: Timestamp,
    ) -> Self {
        let mut recovery = Self {
            id,
            kind,
            began_at: now,
            deadline: now.plus(settings.recovery_limit),
            check_for: i64::try_from(settings.check_for.as_micros()).unwrap_or(i64::MAX),
            actions,
            place: 0,
            phase: Phase::Ended {
                outcome: Outcome::Exhausted,
            },
            tried: Vec::new(),
            subject: None,
        };
        recovery.turn_to(0, now);
        recovery
    }

    /// What is to be done at this moment.
    pub fn next(&self, now: Timestamp) -> Next {
        let is_over = now >= self.deadline;
        match &self.phase {
            Phase::Ended { outcome } => Next::End(*outcome),
            Phase::Stopping { operation, .. } => Next::Cancel(*operation),
            _ if is_over => match &self.phase {
                Phase::Acting { operation, .. } => Next::Cancel(*operation),
                _ => Next::End(Outcome::TimedOut),
            },
            Phase::Waiting { until } if now.as_micros() < *until => {
                Next::Wait(Timestamp::from_micros(*until).min(self.deadline))
            }
            Phase::Waiting { .. } => self.action().map_or(Next::End(Outcome::Exhausted), Next::Begin),
            Phase::Acting { operation, to } => match self.action() {
                Some(action) => Next::Operate {
                    operation: *operation,
                    action,
                    to: *to,
                },
                None => Next::End(Outcome::Exhausted),
            },
            Phase::Checking { .. } => Next::Check,
        }
    }

    /// The action that is due gets its operation's id and, where it is to scale, the number of instances.
    pub fn begins(&mut self, operation: OperationId, to: Option<u32>) {
        if matches!(self.phase, Phase::Waiting { .. }) {
            self.phase = Phase::Acting { operation, to };
        }
    }

    /// The action that is due cannot be done here: the next one is.
    pub fn passes_over(&mut self, why: &str, now: Timestamp) {
        if matches!(self.phase, Phase::Waiting { .. }) {
            self.go_on(why, now);
        }
    }

    /// Takes note of what was seen. Gives whether that changed anything, so that it must be stored.
    pub fn saw(&mut self, seen: &Seen, now: Timestamp) -> bool {
        if matches!(self.next(now), Next::End(_)) {
            return false;
        }
        let before = self.phase.clone();
        match (&self.phase, seen) {
            // it is asked again
            (Phase::Acting { .. } | Phase::Stopping { .. }, Seen::Running) => {}
            (Phase::Stopping { outcome, .. }, _) => self.phase = Phase::Ended { outcome: *outcome },
            (Phase::Acting { .. }, Seen::Stopped) => {
                let outcome = if now >= self.deadline {
                    Outcome::TimedOut
                } else {
                    Outcome::Cancelled
                };
                self.phase = Phase::Ended { outcome };
            }
            (Phase::Acting { .. }, Seen::Succeeded) => {
                let until = now.as_micros().saturating_add(self.check_for);
                self.phase = Phase::Checking { until };
            }
            (Phase::Acting { .. }, Seen::Failed(why)) => self.go_on(why, now),
            (Phase::Acting { .. } | Phase::Checking { .. }, Seen::Contained) => {
                if let Some(by) = self.action() {
                    self.phase = Phase::Ended {
                        outcome: Outcome::Contained { by },
                    };
                }
            }
            (Phase::Checking { .. }, Seen::Healthy) => {
                if let Some(by) = self.action() {
                    self.phase = Phase::Ended {
                        outcome: Outcome::Recovered { by },
                    };
                }
            }
            (Phase::Checking { until }, Seen::Unhealthy(why)) if now.as_micros() >= *until => {
                self.go_on(&format!("it is not healthy: {why}"), now);
            }
            _ => {}
        }
        self.phase != before
    }

    /// Ends it from outside: what runs is cancelled first.
    pub fn stop(&mut self, outcome: Outcome, now: Timestamp) {
        if matches!(self.next(now), Next::End(_)) {
            return;
        }
        self.phase = match &self.phase {
            Phase::Ended { .. } | Phase::Stopping { .. } => return,
            Phase::Acting { operation, .. } => Phase::Stopping {
                operation: *operation,
                outcome,
            },
            Phase::Waiting { .. } | Phase::Checking { .. } => Phase::Ended { outcome },
        };
    }

    /// What is tried now.
    pub fn action(&self) -> Option<Action> {
        self.actions.get(self.place).copied()
    }

    /// How soon it is worth to look again.
    pub(crate) const LOOK_AGAIN: Duration = Duration::from_secs(1);

    fn go_on(&mut self, why: &str, now: Timestamp) {
        if let Some(action) = self.action()
            && self.tried.len() < LINES
        {
            let line = format!("{}: {why}", action.word());
            self.tried.push(crate::incident::cut(&line, LINE_BYTES));
        }
        self.turn_to(self.place + 1, now);
    }

    /// Turns to an action. One that only tells people is passed over: it restores nothing.
    fn turn_to(&mut self, place: usize, now: Timestamp) {
        let rest = self.actions.iter().enumerate().skip(place);
        let mut worth = rest.filter(|(_, action)| action.means() != Means::Alert);
        if let Some((place, action)) = worth.next() {
            self.place = place;
            self.phase = Phase::Waiting {
                until: now.plus(action.wait()).as_micros(),
            };
        } else {
            self.place = self.actions.len();
            self.phase = Phase::Ended {
                outcome: Outcome::Exhausted,
            };
        }
    }
}

/// How many instances there are to be after an action that scales up; a text that says why there cannot be more.
pub(crate) fn one_more(instances: Option<u32>, most: Option<u32>) -> Result<u32, String> {
    match (instances, most) {
        (Some(now), Some(most)) if now < most => Ok(now + 1),
        (Some(now), Some(most)) => Err(format!("there are {now} of at most {most} instances")),
        _ => Err("it is not known how many instances there are, or may be".to_owned()),
    }
}

#[cfg(test)]
mod tests;
