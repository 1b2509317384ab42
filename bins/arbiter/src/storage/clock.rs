//! The time as the shared store tells it.
//!
//! Leases, due times and heartbeats carry the store's time. A node whose own clock is wrong would take agents for silent
//! and timers for not due yet; so it asks the store how far its clock is off, and tells the store's time everywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arbiter_adapter_postgres::PostgresStore;
use arbiter_core::model::Timestamp;
use arbiter_core::ports::{Clock, StoreError};
use async_trait::async_trait;

/// A node's clock, put right by the store's.
pub(crate) struct StoreClock {
    own: Arc<dyn Clock>,
    store: Arc<PostgresStore>,
    offset_micros: AtomicI64,
}

impl StoreClock {
    pub(crate) const fn new(own: Arc<dyn Clock>, store: Arc<PostgresStore>) -> Self {
        Self {
            own,
            store,
            offset_micros: AtomicI64::new(0),
        }
    }

    /// Asks the store for its time. What the answer takes is halved (Cristian 1989, "Probabilistic clock
    /// synchronization").
    ///
    /// # Errors
    /// The store's; then the offset stays as it was.
    pub(crate) async fn look(&self) -> Result<(), StoreError> {
        let asked = self.own.monotonic();
        let told = self.store.now().await?;
        let half = (self.own.monotonic().saturating_sub(asked)) / 2;
        let offset = told
            .plus(half)
            .as_micros()
            .saturating_sub(self.own.now().as_micros());
        self.offset_micros.store(offset, Ordering::Relaxed);
        Ok(())
    }

    /// How far the node's clock is behind the store's.
    pub(crate) fn offset(&self) -> i64 {
        self.offset_micros.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for StoreClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreClock")
            .field("offset_micros", &self.offset())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Clock for StoreClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.own.now().as_micros().saturating_add(self.offset()))
    }

    fn monotonic(&self) -> Duration {
        self.own.monotonic()
    }

    async fn sleep_until(&self, moment: Duration) {
        self.own.sleep_until(moment).await;
    }
}
