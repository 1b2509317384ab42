//! The circuit breaker's state machine, shared by the calls of a guard.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_core::mechanism::{Breaker, BreakerPermit, BreakerState, CallOutcome};
use arbiter_core::ports::{Clock, Metrics};

use crate::settings::GuardPorts;

pub(crate) struct SharedBreaker {
    guard: &'static str,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
    breaker: Mutex<Breaker>,
}

impl SharedBreaker {
    pub(crate) fn new(guard: &'static str, breaker: Breaker, ports: &GuardPorts) -> Self {
        Self {
            guard,
            clock: Arc::clone(&ports.clock),
            metrics: Arc::clone(&ports.metrics),
            breaker: Mutex::new(breaker),
        }
    }

    pub(crate) fn state(&self) -> BreakerState {
        self.breaker().state(self.clock.monotonic())
    }

    /// The right to one call, or how long to wait before asking again.
    pub(crate) fn admit(&self) -> Result<Admission<'_>, Duration> {
        let permit = self.breaker().admit(self.clock.monotonic())?;
        self.show();
        Ok(Admission {
            shared: self,
            permit: Some(permit),
        })
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self) {
        let value = match self.state() {
            BreakerState::Closed => 0.0,
            BreakerState::HalfOpen => 1.0,
            BreakerState::Open => 2.0,
        };
        self.metrics
            .gauge("guard.breaker_state", &[("guard", self.guard)], value);
    }
}

/// One admitted call. Dropped without an outcome, it tells nothing about the other side and gives its place back.
pub(crate) struct Admission<'a> {
    shared: &'a SharedBreaker,
    permit: Option<BreakerPermit>,
}

impl Admission<'_> {
    pub(crate) fn record(mut self, outcome: CallOutcome) {
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: CallOutcome) {
        if let Some(permit) = self.permit.take() {
            let now = self.shared.clock.monotonic();
            self.shared.breaker().record(permit, outcome, now);
            self.shared.show();
        }
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.settle(CallOutcome::Unknown);
    }
}
