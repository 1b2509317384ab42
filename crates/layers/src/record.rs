//! What is measured and traced about a call.

use std::time::Duration;

use arbiter_core::ports::{Clock, Metrics};
use tracing::Span;

use crate::settings::GuardPorts;

/// One call: counted with its outcome when it ends, as `cancelled` when it is dropped before.
pub(crate) struct Record<'a> {
    metrics: &'a dyn Metrics,
    clock: &'a dyn Clock,
    guard: &'static str,
    operation: &'static str,
    started: Duration,
    attempts: u32,
    outcome: &'static str,
    span: Span,
}

impl<'a> Record<'a> {
    pub(crate) fn start(guard: &'static str, operation: &'static str, ports: &'a GuardPorts) -> Self {
        let span = tracing::info_span!(
            "outward_call",
            guard,
            operation,
            attempts = tracing::field::Empty,
            outcome = tracing::field::Empty,
        );
        Self {
            metrics: &*ports.metrics,
            clock: &*ports.clock,
            guard,
            operation,
            started: ports.clock.monotonic(),
            attempts: 0,
            outcome: "cancelled",
            span,
        }
    }

    pub(crate) fn span(&self) -> Span {
        self.span.clone()
    }

    pub(crate) fn attempt(&mut self) {
        self.attempts += 1;
        if self.attempts > 1 {
            let labels = [("guard", self.guard), ("operation", self.operation)];
            self.metrics.count("guard.retries_total", &labels, 1);
        }
    }

    pub(crate) fn ended(mut self, outcome: &'static str) {
        self.outcome = outcome;
    }
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        self.span.record("attempts", self.attempts);
        self.span.record("outcome", self.outcome);
        let labels = [("guard", self.guard), ("operation", self.operation)];
        let took = self.clock.monotonic().saturating_sub(self.started);
        self.metrics
            .observe("guard.duration_seconds", &labels, took.as_secs_f64());
        let [guard, operation] = labels;
        self.metrics.count(
            "guard.calls_total",
            &[guard, operation, ("outcome", self.outcome)],
            1,
        );
    }
}
