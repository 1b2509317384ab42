//! A guard over manual time, and calls that answer as told.

use std::collections::VecDeque;
use std::future::{Future, Ready, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_core::ports::{Entropy, Retry};
use arbiter_layers::{Classify, Guard, GuardPorts, GuardSettings};
use arbiter_testkit::{ManualClock, RecordingMetrics};
use futures_util::FutureExt as _;

pub(crate) const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("call {0} failed")]
pub(crate) struct Failed(pub(crate) u32, pub(crate) Retry, pub(crate) Option<Duration>);

impl Classify for Failed {
    fn retry(&self) -> Retry {
        self.1
    }

    fn retry_after(&self) -> Option<Duration> {
        self.2
    }

    fn counts_as_failure(&self) -> bool {
        self.1 == Retry::Transient
    }
}

pub(crate) fn transient(number: u32) -> Result<u32, Failed> {
    Err(Failed(number, Retry::Transient, None))
}

pub(crate) fn permanent(number: u32) -> Result<u32, Failed> {
    Err(Failed(number, Retry::Permanent, None))
}

/// Jitter at half of its ceiling.
struct Half;

impl Entropy for Half {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
        bytes[0] = 0x80;
    }
}

pub(crate) struct Bench {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) metrics: Arc<RecordingMetrics>,
    pub(crate) guard: Arc<Guard>,
}

impl Bench {
    pub(crate) fn new(settings: GuardSettings) -> Self {
        let clock = Arc::new(ManualClock::new());
        let metrics = Arc::new(RecordingMetrics::new());
        let ports = GuardPorts {
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(Half),
            metrics: Arc::clone(&metrics) as _,
        };
        let guard = Arc::new(Guard::new("peer", settings, ports).expect("settings that work"));
        Self {
            clock,
            metrics,
            guard,
        }
    }

    pub(crate) fn calls(&self, outcome: &str) -> u64 {
        let labels = [("guard", "peer"), ("operation", "ask"), ("outcome", outcome)];
        self.metrics.counter("guard.calls_total", &labels)
    }

    /// Runs a future to its end; whenever it waits, time moves to the next sleeper. Gives the waits too.
    pub(crate) fn run<F: Future>(&self, future: F) -> (F::Output, Vec<Duration>) {
        let mut future = std::pin::pin!(future);
        let mut waits = Vec::new();
        loop {
            if let Some(output) = future.as_mut().now_or_never() {
                return (output, waits);
            }
            let wait = self.clock.advance_to_next_sleeper();
            waits.push(wait.expect("waits for something that is not time"));
        }
    }
}

/// Answers in order.
pub(crate) struct Script(Mutex<VecDeque<Result<u32, Failed>>>);

impl Script {
    pub(crate) fn new(answers: impl IntoIterator<Item = Result<u32, Failed>>) -> Self {
        Self(Mutex::new(answers.into_iter().collect()))
    }

    pub(crate) fn answer(&self) -> Ready<Result<u32, Failed>> {
        ready(self.0.lock().unwrap().pop_front().expect("one call too many"))
    }

    pub(crate) fn left(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}
