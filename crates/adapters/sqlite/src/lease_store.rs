//! The port `LeaseStore`.

use std::time::Duration;

use arbiter_core::model::{Fence, NodeId, Timestamp};
use arbiter_core::ports::{LeaseStore, StoreError, Turn};
use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, params};

use crate::error::Fault;
use crate::group::Group;
use crate::number::{natural, whole};
use crate::store::SqliteStore;

#[async_trait]
impl LeaseStore for SqliteStore {
    async fn take(&self, name: &str, node: NodeId, ttl: Duration) -> Result<Option<Turn>, StoreError> {
        let name = name.to_owned();
        self.write("take a lease", 128, move |group| take(group, &name, node, ttl))
            .await
    }

    async fn give_back(&self, name: &str, node: NodeId) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write("give a lease back", 128, move |group| {
            group
                .statement("UPDATE lease SET node = NULL WHERE name = ?1 AND node = ?2")?
                .execute(params![name, node.as_bytes()])?;
            Ok(())
        })
        .await
    }
}

fn take(group: &Group<'_>, name: &str, node: NodeId, ttl: Duration) -> Result<Option<Turn>, Fault> {
    let found: Option<(Option<[u8; 16]>, i64, i64)> = group
        .statement("SELECT node, fence, until FROM lease WHERE name = ?1")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let until = group.now.plus(ttl);
    let fence = match found {
        None => 1,
        Some((holder, fence, ends)) => {
            let is_open = Timestamp::from_micros(ends) > group.now;
            match holder.map(NodeId::from_bytes) {
                // nobody else has had it since, whether the turn has ended or not
                Some(holder) if holder == node => natural(fence),
                Some(_) if is_open => return Ok(None),
                _ => natural(fence) + 1,
            }
        }
    };
    group
        .statement(
            "INSERT INTO lease (name, node, fence, until) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (name) DO UPDATE SET node = excluded.node, fence = excluded.fence, until = excluded.until",
        )?
        .execute(params![name, node.as_bytes(), whole(fence), until.as_micros()])?;
    Ok(Some(Turn {
        fence: Fence(fence),
        until,
    }))
}
