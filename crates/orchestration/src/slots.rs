//! Free slots of agents and reviews on this node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::Notify;

/// Free slots, given back when the attempt's guard is dropped, whatever ended it.
pub(crate) struct Slots {
    free: AtomicU32,
    freed: Arc<Notify>,
}

/// A slot that was taken; nothing, where none was left.
pub(crate) struct SlotGuard {
    slots: Arc<Slots>,
    taken: bool,
}

impl Slots {
    pub(crate) fn new(free: u32, freed: &Arc<Notify>) -> Arc<Self> {
        Arc::new(Self {
            free: AtomicU32::new(free),
            freed: Arc::clone(freed),
        })
    }

    pub(crate) fn free(&self) -> u32 {
        self.free.load(Ordering::Acquire)
    }

    /// Takes a slot. Only the dispatcher's own loop takes, so the count cannot fall below what it saw.
    pub(crate) fn take(self: &Arc<Self>) -> SlotGuard {
        let taken = self
            .free
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |free| free.checked_sub(1))
            .is_ok();
        SlotGuard {
            slots: Arc::clone(self),
            taken,
        }
    }
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        if self.taken {
            self.slots.free.fetch_add(1, Ordering::AcqRel);
            self.slots.freed.notify_one();
        }
    }
}
