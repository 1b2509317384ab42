//! Recorders of what code under test does to others.

use std::sync::{Mutex, MutexGuard, PoisonError};

use arbiter_core::lifecycle::RetryPlan;
use arbiter_core::model::{Failure, TaskId};
use arbiter_core::ports::{Hint, HintStream, Wakeups};
use arbiter_core::services::{AttemptFailure, FailureEvent, FailureHandler};
use async_trait::async_trait;

/// Keeps every hint that is published. Its subscribers never hear anything.
#[derive(Debug, Default)]
pub struct RecordingWakeups(Mutex<Vec<Hint>>);

impl RecordingWakeups {
    /// Nothing was published yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was published since the last time that this was asked.
    pub fn take(&self) -> Vec<Hint> {
        std::mem::take(&mut *lock(&self.0))
    }
}

impl Wakeups for RecordingWakeups {
    fn publish(&self, hints: &[Hint]) {
        lock(&self.0).extend_from_slice(hints);
    }

    fn subscribe(&self) -> Box<dyn HintStream> {
        Box::new(Silent)
    }
}

struct Silent;

#[async_trait]
impl HintStream for Silent {
    async fn next(&mut self) -> Vec<Hint> {
        std::future::pending().await
    }
}

/// Answers every failure with one plan, and keeps what it was asked and told.
#[derive(Debug)]
pub struct RecordingFailures {
    plan: RetryPlan,
    asked: Mutex<Vec<(TaskId, u16, Failure)>>,
    told: Mutex<Vec<FailureEvent>>,
}

impl RecordingFailures {
    /// Answers every failure with `plan`.
    pub fn new(plan: RetryPlan) -> Self {
        Self {
            plan,
            asked: Mutex::default(),
            told: Mutex::default(),
        }
    }

    /// The failures for which a plan was asked: task, attempts so far, failure.
    pub fn asked(&self) -> Vec<(TaskId, u16, Failure)> {
        lock(&self.asked).clone()
    }

    /// The events that were told.
    pub fn told(&self) -> Vec<FailureEvent> {
        lock(&self.told).clone()
    }
}

impl FailureHandler for RecordingFailures {
    fn plan(&self, failure: &AttemptFailure<'_>) -> RetryPlan {
        let asked = (failure.task, failure.attempts, failure.failure.clone());
        lock(&self.asked).push(asked);
        self.plan
    }

    fn report(&self, event: FailureEvent) {
        lock(&self.told).push(event);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use arbiter_core::model::{ComponentFailure, ComponentName, FailureKind, Timestamp};

    use super::*;
    use crate::builders::{failure, kind, task, tenant};

    #[test]
    fn what_was_done_is_kept_in_order() {
        let wakeups = RecordingWakeups::new();
        wakeups.publish(&[Hint::Agents]);
        wakeups.publish(&[Hint::Task(task(1))]);
        assert_eq!(wakeups.take(), [Hint::Agents, Hint::Task(task(1))]);
        assert_eq!(wakeups.take(), []);
        assert_eq!(wakeups.subscribe().next().now_or_never(), None);

        let failures = RecordingFailures::new(RetryPlan::Retry { after: None });
        let failed = AttemptFailure {
            task: task(1),
            tenant: tenant(1),
            kind: &kind(),
            agent: None,
            attempts: 2,
            max_attempts: 3,
            failure: &failure(),
        };
        assert_eq!(failures.plan(&failed), RetryPlan::Retry { after: None });
        assert_eq!(failures.asked(), [(task(1), 2, failure())]);
        let store = ComponentName::new("store").unwrap();
        let at = Timestamp::from_micros(1);
        let failed = ComponentFailure::new(store, FailureKind::Connection, "down", at);
        let event = FailureEvent::Component(failed);
        failures.report(event.clone());
        assert_eq!(failures.told(), [event]);
    }
}
