//! What must reach somebody outside.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Json, OutboxId, TaskId, TenantId, Timestamp};

/// Hands out entries that were committed together with what they tell of.
///
/// # Contract
/// - Delivery is at least once: an entry that was taken and not settled is offered again after its lease.
/// - Entries of a topic are offered by due time, then id.
/// - A quarantined entry is never offered again; it stays readable through its topic's listing.
#[async_trait]
pub trait Outbox: Send + Sync + 'static {
    /// Leases due entries of a topic for `lease`.
    async fn take(&self, topic: &str, limit: usize, lease: Duration) -> Result<Vec<OutboxEntry>, StoreError>;

    /// Removes delivered entries; unknown ids are ignored.
    async fn done(&self, ids: &[OutboxId]) -> Result<(), StoreError>;

    /// Puts an entry off until `at`, counting one more try.
    async fn later(&self, id: OutboxId, at: Timestamp) -> Result<(), StoreError>;

    /// Sets an entry aside for good, with the reason.
    async fn quarantine(&self, id: OutboxId, reason: &str) -> Result<(), StoreError>;

    /// Removes entries about these tasks of a tenant, or all that are about the tenant, leased and quarantined ones among
    /// them; gives how many. What was removed cannot be read from the store's files afterwards.
    async fn clear(&self, tenant: TenantId, tasks: Option<&[TaskId]>) -> Result<usize, StoreError>;
}

/// A leased entry.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxEntry {
    /// Its id: a receiver may use it to drop repeats.
    pub id: OutboxId,
    /// Which deliverer takes it.
    pub topic: String,
    /// How often delivery was tried before.
    pub tries: u16,
    /// What to deliver.
    pub body: Json,
}
