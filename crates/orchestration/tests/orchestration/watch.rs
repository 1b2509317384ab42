//! The way to the store: every call is counted, and some go wrong.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arbiter_testkit::faulty::{Fault, FaultPlan};
use async_trait::async_trait;

/// Counts calls and says which go wrong.
#[derive(Default)]
pub(crate) struct Watch {
    calls: Mutex<BTreeMap<&'static str, usize>>,
    faults: Mutex<BTreeMap<&'static str, VecDeque<Fault>>>,
    down: AtomicBool,
}

impl Watch {
    /// How often an operation was called so far.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        lock(&self.calls).get(operation).copied().unwrap_or(0)
    }

    /// How many calls there were so far.
    pub(crate) fn all_calls(&self) -> usize {
        lock(&self.calls).values().sum()
    }

    /// What goes wrong with the next calls of an operation, one each.
    pub(crate) fn fail(&self, operation: &'static str, faults: impl IntoIterator<Item = Fault>) {
        lock(&self.faults).entry(operation).or_default().extend(faults);
    }

    /// Whether every call fails from now on.
    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::Relaxed);
    }
}

#[async_trait]
impl FaultPlan for Watch {
    async fn next(&self, operation: &'static str) -> Fault {
        *lock(&self.calls).entry(operation).or_default() += 1;
        // A real store lets others run while it works.
        tokio::task::yield_now().await;
        if self.down.load(Ordering::Relaxed) {
            return Fault::NotApplied;
        }
        let mut faults = lock(&self.faults);
        faults
            .get_mut(operation)
            .and_then(VecDeque::pop_front)
            .unwrap_or(Fault::None)
    }
}

pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
