//! The port `AuditTree`.

use arbiter_audit::tile::{TileId, TileSource as _};
use arbiter_core::model::Digest;
use arbiter_core::ports::{AuditTree, StoreError, TreeHead};
use async_trait::async_trait;
use rusqlite::{OptionalExtension as _, params};

use crate::number::{natural, whole};
use crate::store::SqliteStore;
use crate::tail::Stored;

#[async_trait]
impl AuditTree for SqliteStore {
    /// Every commit has placed its own leaves: nothing is left to do.
    async fn sequence(&self, _limit: usize) -> Result<TreeHead, StoreError> {
        Ok(self.tree_head())
    }

    async fn head(&self) -> Result<TreeHead, StoreError> {
        Ok(self.tree_head())
    }

    async fn tile(&self, level: u8, index: u64, width: u16) -> Result<Option<Vec<Digest>>, StoreError> {
        let Some(id) = TileId::new(level, index, width) else {
            return Ok(None);
        };
        self.read("read a tile", move |connection| {
            let hashes = Stored(connection).tile(id)?;
            Ok(Some(hashes).filter(|hashes| hashes.len() == usize::from(width)))
        })
        .await
    }

    async fn publish(&self, head: TreeHead, note: &str) -> Result<(), StoreError> {
        let note = note.to_owned();
        self.write("publish a head", note.len(), move |group| {
            group
                .statement(
                    "INSERT INTO audit_checkpoint (one, size, root, note) VALUES (1, ?1, ?2, ?3)
                     ON CONFLICT (one) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note
                     WHERE excluded.size >= size",
                )?
                .execute(params![whole(head.size), head.root.as_bytes(), note])?;
            Ok(())
        })
        .await
    }

    async fn published(&self) -> Result<Option<(TreeHead, String)>, StoreError> {
        self.read("read the published head", |connection| {
            let found = connection
                .prepare_cached("SELECT size, root, note FROM audit_checkpoint")?
                .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
                .optional()?;
            Ok(found.map(|(size, root, note)| {
                let head = TreeHead {
                    size: natural(size),
                    root: Digest::from_bytes(root),
                };
                (head, note)
            }))
        })
        .await
    }
}
