//! Named leases: elections and singleton work.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Fence, NodeId, Timestamp};

/// Gives a name to one node at a time.
///
/// # Contract
/// - Two nodes never hold one name at the same time, by the store's clock.
/// - The holder may take again, which extends its turn and keeps the fence; every change of holder raises it.
/// - Giving back what one does not hold is harmless.
#[async_trait]
pub trait LeaseStore: Send + Sync + 'static {
    /// Takes or extends a name for `ttl`. `None` when another node has it.
    async fn take(&self, name: &str, node: NodeId, ttl: Duration) -> Result<Option<Turn>, StoreError>;

    /// Gives a name back.
    async fn give_back(&self, name: &str, node: NodeId) -> Result<(), StoreError>;
}

/// A held name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Rises with each change of holder.
    pub fence: Fence,
    /// When it ends unless taken again.
    pub until: Timestamp,
}
