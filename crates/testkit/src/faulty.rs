//! Stores that fail on purpose.

mod registry;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::lifecycle::Refusal;
use arbiter_core::model::{LaneId, Task};
use arbiter_core::ports::{
    Applied, ClaimRequest, Claimed, Clock, DueDone, Entropy, LaneHead, LeaseRef, LeaseStatus, Retention,
    Retry, StoreError, SubmitRequest, Submitted, TaskStore, Transition,
};
use async_trait::async_trait;

pub use registry::{FaultyRegistry, RegistryPlan};

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It is not done, and the caller is told so.
    NotApplied,
    /// It is not done, but the caller is told that it may have been.
    UnknownBefore,
    /// It is done, but the caller is told only that it may have been.
    UnknownAfter,
    /// It is done twice; the caller gets the second answer.
    Repeated,
}

/// Decides what goes wrong.
#[async_trait]
pub trait FaultPlan: Send + Sync + 'static {
    /// What goes wrong with the next call of this operation. A plan delays a call by waiting here.
    async fn next(&self, operation: &'static str) -> Fault;
}

/// Faults in a fixed order, then none.
#[derive(Debug, Default)]
pub struct Script(Mutex<VecDeque<Fault>>);

impl Script {
    /// These faults, one per call.
    pub fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self(Mutex::new(faults.into_iter().collect()))
    }
}

#[async_trait]
impl FaultPlan for Script {
    async fn next(&self, _: &'static str) -> Fault {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.pop_front().unwrap_or(Fault::None)
    }
}

/// Faults and delays by chance.
pub struct ByChance {
    /// The chance.
    pub entropy: Arc<dyn Entropy>,
    /// Delays are slept on it.
    pub clock: Arc<dyn Clock>,
    /// Of 100 calls so many go wrong.
    pub faults_per_hundred: u8,
    /// Each call is delayed by up to this.
    pub longest_delay: Duration,
}

impl std::fmt::Debug for ByChance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByChance")
            .field("faults_per_hundred", &self.faults_per_hundred)
            .field("longest_delay", &self.longest_delay)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl FaultPlan for ByChance {
    async fn next(&self, _: &'static str) -> Fault {
        if !self.longest_delay.is_zero() {
            let delay = self.longest_delay.mul_f64(self.entropy.unit());
            self.clock.sleep_until(self.clock.monotonic() + delay).await;
        }
        let draw = self.entropy.number();
        if draw % 100 >= u64::from(self.faults_per_hundred) {
            return Fault::None;
        }
        match draw / 100 % 4 {
            0 => Fault::NotApplied,
            1 => Fault::UnknownBefore,
            2 => Fault::UnknownAfter,
            _ => Fault::Repeated,
        }
    }
}

/// Passes calls to another store, with the faults of a plan.
pub struct FaultyTaskStore {
    inner: Arc<dyn TaskStore>,
    plan: Arc<dyn FaultPlan>,
}

impl FaultyTaskStore {
    /// Passes calls to `inner`.
    pub fn new(inner: Arc<dyn TaskStore>, plan: Arc<dyn FaultPlan>) -> Self {
        Self { inner, plan }
    }
}

impl std::fmt::Debug for FaultyTaskStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyTaskStore").finish_non_exhaustive()
    }
}

/// Does a call as the plan says. A macro, because the call is made anew where it is repeated.
macro_rules! with_fault {
    ($store:expr, $operation:literal, $call:expr) => {
        match $store.plan.next($operation).await {
            Fault::None => $call.await,
            Fault::NotApplied => Err(failed($operation, Applied::No)),
            Fault::UnknownBefore => Err(failed($operation, Applied::Unknown)),
            Fault::UnknownAfter => {
                $call.await?;
                Err(failed($operation, Applied::Unknown))
            }
            Fault::Repeated => {
                $call.await?;
                $call.await
            }
        }
    };
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl TaskStore for FaultyTaskStore {
    async fn submit(&self, request: SubmitRequest) -> Result<Vec<Submitted>, StoreError> {
        with_fault!(self, "submit", self.inner.submit(request.clone()))
    }

    async fn lanes(&self, after: Option<LaneId>, limit: usize) -> Result<Vec<LaneHead>, StoreError> {
        with_fault!(self, "lanes", self.inner.lanes(after, limit))
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed, StoreError> {
        with_fault!(self, "claim", self.inner.claim(request.clone()))
    }

    async fn apply(&self, transitions: Vec<Transition>) -> Result<Vec<Result<Task, Refusal>>, StoreError> {
        with_fault!(self, "apply", self.inner.apply(transitions.clone()))
    }

    async fn extend(&self, leases: Vec<LeaseRef>) -> Result<Vec<LeaseStatus>, StoreError> {
        with_fault!(self, "extend", self.inner.extend(leases.clone()))
    }

    async fn due(&self, limit: usize) -> Result<DueDone, StoreError> {
        with_fault!(self, "due", self.inner.due(limit))
    }

    async fn purge(&self, retention: Retention) -> Result<usize, StoreError> {
        with_fault!(self, "purge", self.inner.purge(retention.clone()))
    }
}

fn failed(operation: &'static str, applied: Applied) -> StoreError {
    StoreError::Backend {
        operation,
        applied,
        retry: Retry::Transient,
        source: "a fault on purpose".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt as _;

    use super::*;
    use crate::{ManualClock, SeededEntropy};

    /// Counts the calls of `due`.
    #[derive(Default)]
    struct Counting(AtomicUsize);

    #[async_trait]
    impl TaskStore for Counting {
        async fn submit(&self, _: SubmitRequest) -> Result<Vec<Submitted>, StoreError> {
            Ok(Vec::new())
        }
        async fn lanes(&self, _: Option<LaneId>, _: usize) -> Result<Vec<LaneHead>, StoreError> {
            Ok(Vec::new())
        }
        async fn claim(&self, _: ClaimRequest) -> Result<Claimed, StoreError> {
            Ok(Claimed::default())
        }
        async fn apply(&self, _: Vec<Transition>) -> Result<Vec<Result<Task, Refusal>>, StoreError> {
            Ok(Vec::new())
        }
        async fn extend(&self, _: Vec<LeaseRef>) -> Result<Vec<LeaseStatus>, StoreError> {
            Ok(Vec::new())
        }
        async fn due(&self, _: usize) -> Result<DueDone, StoreError> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(DueDone::default())
        }
        async fn purge(&self, _: Retention) -> Result<usize, StoreError> {
            Ok(0)
        }
    }

    #[tokio::test]
    async fn each_fault_does_what_it_says() {
        let cases = [
            (Fault::None, 1, None),
            (Fault::NotApplied, 0, Some(false)),
            (Fault::UnknownBefore, 0, Some(true)),
            (Fault::UnknownAfter, 1, Some(true)),
            (Fault::Repeated, 2, None),
        ];
        for (fault, calls, unknown) in cases {
            let inner = Arc::new(Counting::default());
            let store = FaultyTaskStore::new(Arc::clone(&inner) as _, Arc::new(Script::new([fault])));
            let told = store.due(1).await.err().map(|error| error.may_have_applied());
            assert_eq!(
                (inner.0.load(Ordering::Relaxed), told),
                (calls, unknown),
                "{fault:?}"
            );
            assert!(store.due(1).await.is_ok(), "the script is over");
        }
    }

    #[tokio::test]
    async fn chance_delays_and_fails_some_calls() {
        let clock = Arc::new(ManualClock::new());
        let plan = ByChance {
            entropy: Arc::new(SeededEntropy::new(3)),
            clock: Arc::clone(&clock) as _,
            faults_per_hundred: 30,
            longest_delay: Duration::from_secs(1),
        };
        let mut faults = 0;
        for _ in 0..400 {
            let mut next = plan.next("due");
            assert!((&mut next).now_or_never().is_none(), "it is delayed");
            clock.advance(Duration::from_secs(1));
            faults += usize::from(next.await != Fault::None);
        }
        assert!((80..160).contains(&faults), "{faults}");
    }
}
