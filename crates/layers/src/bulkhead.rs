//! The bulkhead: bounded concurrency with a bounded queue.

use std::sync::atomic::{AtomicUsize, Ordering};

use arbiter_core::ports::Clock;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::settings::BulkheadSettings;
use crate::time::within;

#[derive(Debug)]
pub(crate) struct Bulkhead {
    settings: BulkheadSettings,
    places: Semaphore,
    waiting: AtomicUsize,
}

impl Bulkhead {
    pub(crate) fn new(settings: BulkheadSettings) -> Self {
        Self {
            settings,
            places: Semaphore::new(settings.concurrent),
            waiting: AtomicUsize::new(0),
        }
    }

    /// A place, held until the permit is dropped; `None` when there is none in time or too many wait already.
    pub(crate) async fn enter(&self, clock: &dyn Clock) -> Option<SemaphorePermit<'_>> {
        if let Ok(permit) = self.places.try_acquire() {
            return Some(permit);
        }
        let _queued = Queued::join(self)?;
        let wait = Some(self.settings.longest_wait);
        within(clock, wait, self.places.acquire()).await.ok()?.ok()
    }
}

/// A place in the queue, given up on drop.
struct Queued<'a>(&'a AtomicUsize);

impl<'a> Queued<'a> {
    fn join(bulkhead: &'a Bulkhead) -> Option<Self> {
        let longer = |waiting| (waiting < bulkhead.settings.waiting).then_some(waiting + 1);
        bulkhead
            .waiting
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, longer)
            .ok()?;
        Some(Self(&bulkhead.waiting))
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
