//! The retry rule while no failure domain is installed.

use arbiter_core::lifecycle::RetryPlan;
use arbiter_core::services::{AttemptFailure, FailureEvent, FailureHandler};

/// Tries again with the rules' exponential back-off while attempts are left; then the task is dead-lettered.
#[derive(Debug, Clone, Copy, Default)]
pub struct PlainRetry;

impl FailureHandler for PlainRetry {
    fn plan(&self, _: &AttemptFailure<'_>) -> RetryPlan {
        RetryPlan::Retry { after: None }
    }

    fn report(&self, event: FailureEvent) {
        match event {
            FailureEvent::Attempt {
                task,
                kind,
                agent,
                failure,
                ..
            } => tracing::warn!(
                event = "attempt_failed",
                task.id = %task,
                task.kind = %kind,
                agent.id = %agent,
                class = failure.class.word(),
                "an attempt failed"
            ),
            FailureEvent::Component(failed) => tracing::error!(
                event = "component_failed",
                component = %failed.component,
                kind = failed.kind.word(),
                error = failed.error,
                "a component failed"
            ),
            _ => tracing::warn!(event = "failure_reported", "something failed"),
        }
    }
}
