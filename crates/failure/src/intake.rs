//! Takes failures without blocking, summed up by component and kind, in bounded memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use arbiter_core::model::{ComponentFailure, ComponentName, FailureKind, Timestamp};

/// Failures of one component and kind, summed up.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Summed {
    /// How many there were.
    pub(crate) count: u64,
    /// When the first of them was seen.
    pub(crate) first_at: Timestamp,
    /// The latest of them.
    pub(crate) last: ComponentFailure,
}

/// Failures that nobody has looked at yet.
#[derive(Debug)]
pub(crate) struct Intake {
    waiting: Mutex<BTreeMap<(ComponentName, FailureKind), Summed>>,
    room: usize,
}

impl Intake {
    /// Nothing waits; there is room for so many components and kinds.
    pub(crate) fn new(room: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            room,
        }
    }

    /// Takes a failure. False when there is no room for its component and kind: it is dropped.
    pub(crate) fn take(&self, failure: ComponentFailure) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (failure.component.clone(), failure.kind);
        if let Some(summed) = waiting.get_mut(&key) {
            summed.count = summed.count.saturating_add(1);
            summed.first_at = summed.first_at.min(failure.at);
            if failure.at >= summed.last.at {
                summed.last = failure;
            }
            return true;
        }
        if waiting.len() >= self.room {
            return false;
        }
        let summed = Summed {
            count: 1,
            first_at: failure.at,
            last: failure,
        };
        waiting.insert(key, summed);
        true
    }

    /// Puts back what could not be dealt with.
    pub(crate) fn give_back(&self, summed: Summed) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (summed.last.component.clone(), summed.last.kind);
        match waiting.get_mut(&key) {
            Some(newer) => {
                newer.count = newer.count.saturating_add(summed.count);
                newer.first_at = newer.first_at.min(summed.first_at);
            }
            None => {
                waiting.insert(key, summed);
            }
        }
    }

    /// Everything that waits.
    pub(crate) fn drain(&self) -> Vec<Summed> {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use arbiter_testkit::builders::component;

    use super::*;

    fn failure(name: &str, kind: FailureKind, at: i64) -> ComponentFailure {
        ComponentFailure::new(component(name), kind, at.to_string(), Timestamp::from_micros(at))
    }

    #[test]
    fn equal_failures_are_summed_up_and_the_room_is_bounded() {
        let intake = Intake::new(2);
        for at in [5, 9, 7] {
            assert!(intake.take(failure("store", FailureKind::Internal, at)));
        }
        assert!(intake.take(failure("store", FailureKind::Timeout, 1)));
        assert!(!intake.take(failure("queue", FailureKind::Timeout, 1)), "no room");
        assert!(
            intake.take(failure("store", FailureKind::Timeout, 2)),
            "room for what is known"
        );
        let drained = intake.drain();
        let shown: Vec<_> = drained
            .iter()
            .map(|summed| (summed.count, summed.last.error.as_str()))
            .collect();
        assert_eq!(shown, [(2, "2"), (3, "9")]);
        assert_eq!(drained[1].first_at, Timestamp::from_micros(5));
        assert!(intake.drain().is_empty());
    }

    #[test]
    fn what_is_given_back_adds_to_what_came_since() {
        let intake = Intake::new(2);
        intake.take(failure("store", FailureKind::Internal, 5));
        let mut drained = intake.drain();
        intake.take(failure("store", FailureKind::Internal, 9));
        intake.give_back(drained.remove(0));
        let again = intake.drain();
        assert_eq!(
            (again[0].count, again[0].first_at),
            (2, Timestamp::from_micros(5))
        );
        assert_eq!(again[0].last.error, "9");
    }
}
