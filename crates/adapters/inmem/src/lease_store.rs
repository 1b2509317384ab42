//! The port `LeaseStore`.

use std::time::Duration;

use arbiter_core::model::{Fence, NodeId};
use arbiter_core::ports::{LeaseStore, StoreError, Turn};
use async_trait::async_trait;

use crate::store::InMemoryStore;
use crate::tables::TurnRow;

#[async_trait]
impl LeaseStore for InMemoryStore {
    async fn take(&self, name: &str, node: NodeId, ttl: Duration) -> Result<Option<Turn>, StoreError> {
        self.write("take a lease", |transaction| {
            let row = transaction.tables.turns.get(name).copied();
            let fence = match row {
                Some(row) if row.node == Some(node) => row.fence,
                Some(row) if row.node.is_some() && transaction.now < row.until => return Ok(None),
                row => row.map_or(Fence(0), |row| row.fence).next(),
            };
            let until = transaction.now.plus(ttl);
            let row = TurnRow {
                node: Some(node),
                fence,
                until,
            };
            transaction.tables.turns.put(name.to_owned(), row);
            Ok(Some(Turn { fence, until }))
        })
    }

    async fn give_back(&self, name: &str, node: NodeId) -> Result<(), StoreError> {
        self.write("give a lease back", |transaction| {
            let row = transaction.tables.turns.get(name).copied();
            if let Some(row) = row.filter(|row| row.node == Some(node)) {
                transaction
                    .tables
                    .turns
                    .put(name.to_owned(), TurnRow { node: None, ..row });
            }
            Ok(())
        })
    }
}
