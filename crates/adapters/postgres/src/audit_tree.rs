//! The port `AuditTree`: gives committed batches their places.

use arbiter_audit::tile::{Tile, TileId, TileWriter};
use arbiter_core::model::{Digest, TenantScope};
use arbiter_core::ports::{AuditTree, StoreError, TreeHead};
use async_trait::async_trait;
use tokio_postgres::Row;

use crate::error::Fault;
use crate::number::{natural, whole};
use crate::session::{Session, get};
use crate::store::PostgresStore;
use crate::write::Write;

/// How many batches are placed in one transaction.
const BATCHES: usize = 1000;

/// The head, and whether there is anything to place: most rounds of a sequencer find nothing and need no lock.
const LOOK: &str = "SELECT size, root, EXISTS (SELECT FROM audit_batch WHERE first IS NULL) FROM audit_head";

/// What was committed and has no place yet, in the order in which the batches took their numbers.
///
/// A batch takes its number as the last thing before its commit, when every lock that its call needs is held. So
/// whatever a call could know of an earlier one was committed before, under a smaller number, and is seen by every
/// snapshot that sees the later one. Calls that know nothing of each other may be placed either way. Nothing is skipped:
/// a batch that is committed late still has no place, and the next round sees it.
const UNPLACED: &str = "SELECT seq, hashes FROM audit_batch WHERE first IS NULL ORDER BY seq LIMIT $1";

const PLACE: &str = "UPDATE audit_batch AS b SET first = p.first
     FROM unnest($1::bigint[], $2::bigint[]) AS p (seq, first) WHERE b.seq = p.seq";

#[async_trait]
impl AuditTree for PostgresStore {
    async fn sequence(&self, limit: usize) -> Result<TreeHead, StoreError> {
        let mut left = limit;
        loop {
            let (head, waits) = self
                .read("look for unplaced leaves", TenantScope::All, |session| {
                    Box::pin(async move { look(session).await })
                })
                .await?;
            if !waits || left == 0 {
                return Ok(head);
            }
            let batches = left.min(BATCHES);
            left -= self
                .write("place audit leaves", move |write| {
                    Box::pin(async move { place(write, batches).await })
                })
                .await?
                .min(left);
        }
    }

    async fn head(&self) -> Result<TreeHead, StoreError> {
        let (head, _) = self
            .read("read the head of the tree", TenantScope::All, |session| {
                Box::pin(async move { look(session).await })
            })
            .await?;
        Ok(head)
    }

    async fn tile(&self, level: u8, index: u64, width: u16) -> Result<Option<Vec<Digest>>, StoreError> {
        let Some(id) = TileId::new(level, index, width) else {
            return Ok(None);
        };
        self.read("read a tile", TenantScope::All, move |session| {
            Box::pin(async move { tile(session, id).await })
        })
        .await
    }

    async fn publish(&self, head: TreeHead, note: &str) -> Result<(), StoreError> {
        let note = note.to_owned();
        self.write("publish a head", move |write| {
            Box::pin(async move {
                write
                    .session
                    .execute(
                        "INSERT INTO audit_checkpoint AS c (one, size, root, note) VALUES (true, $1, $2, $3)
                         ON CONFLICT (one) DO UPDATE
                         SET size = excluded.size, root = excluded.root, note = excluded.note
                         WHERE excluded.size >= c.size",
                        &[&whole(head.size), &head.root.as_bytes().as_slice(), &note],
                    )
                    .await?;
                Ok(())
            })
        })
        .await
    }

    async fn published(&self) -> Result<Option<(TreeHead, String)>, StoreError> {
        self.read("read the published head", TenantScope::All, |session| {
            Box::pin(async move {
                let row = session
                    .query_opt("SELECT size, root, note FROM audit_checkpoint", &[])
                    .await?;
                row.map(|row| Ok((tree_head(&row)?, get(&row, 2)?))).transpose()
            })
        })
        .await
    }
}

/// The head, from the columns `size` and `root`.
fn tree_head(row: &Row) -> Result<TreeHead, Fault> {
    let root: &[u8] = get(row, 1)?;
    let root = root.try_into().map_err(|_| Fault::Damaged("audit head"))?;
    Ok(TreeHead {
        size: natural(get(row, 0)?),
        root: Digest::from_bytes(root),
    })
}

async fn look(session: &Session<'_>) -> Result<(TreeHead, bool), Fault> {
    let row = session.query_opt(LOOK, &[]).await?;
    let row = row.ok_or(Fault::Damaged("audit head"))?;
    Ok((tree_head(&row)?, get(&row, 2)?))
}

/// Places batches under the lock of the head, and tells how many.
async fn place(write: &Write<'_>, limit: usize) -> Result<usize, Fault> {
    let session = &write.session;
    let head = session
        .query_opt("SELECT edge FROM audit_head FOR UPDATE", &[])
        .await?
        .ok_or(Fault::Damaged("audit head"))?;
    let mut tiles = TileWriter::decode(get(&head, 0)?)?;
    // a statement of its own: it must see what was placed before the lock was given up
    let rows = session.query(UNPLACED, &[&whole(limit)]).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let (mut numbers, mut places) = (Vec::new(), Vec::new());
    let mut complete = Vec::new();
    for row in &rows {
        numbers.push(get::<i64>(row, 0)?);
        places.push(whole(tiles.frontier().size()));
        complete.extend(tiles.append(&digests(get(row, 1)?)?)?);
    }
    session.execute(PLACE, &[&numbers, &places]).await?;
    keep(session, &complete).await?;
    let (size, root) = (whole(tiles.frontier().size()), tiles.frontier().root());
    session
        .execute(
            "UPDATE audit_head SET size = $1, root = $2, edge = $3",
            &[&size, &root.as_bytes().as_slice(), &tiles.encode()],
        )
        .await?;
    Ok(rows.len())
}

pub(crate) async fn keep(session: &Session<'_>, complete: &[Tile]) -> Result<(), Fault> {
    if complete.is_empty() {
        return Ok(());
    }
    let levels: Vec<_> = complete.iter().map(|tile| i16::from(tile.id.level())).collect();
    let numbers: Vec<_> = complete.iter().map(|tile| whole(tile.id.index())).collect();
    let hashes: Vec<_> = complete.iter().map(Tile::encode).collect();
    session
        .execute(
            "INSERT INTO audit_tile (level, number, hashes)
             SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])",
            &[&levels, &numbers, &hashes],
        )
        .await?;
    Ok(())
}

/// The first hashes of a tile: of a complete one, or of one at the edge.
async fn tile(session: &Session<'_>, id: TileId) -> Result<Option<Vec<Digest>>, Fault> {
    let width = usize::from(id.width());
    let complete = session
        .query_opt(
            "SELECT hashes FROM audit_tile WHERE level = $1 AND number = $2",
            &[&i16::from(id.level()), &whole(id.index())],
        )
        .await?;
    let mut hashes = match complete {
        Some(row) => digests(get(&row, 0)?)?,
        None => {
            let row = session.query_opt("SELECT edge FROM audit_head", &[]).await?;
            let row = row.ok_or(Fault::Damaged("audit head"))?;
            let edge = TileWriter::decode(get(&row, 0)?)?.partial_tiles();
            let mut edge = edge.into_iter().map(|tile| (tile.id, tile.hashes));
            let found = edge.find(|(at, _)| (at.level(), at.index()) == (id.level(), id.index()));
            found.map(|(_, hashes)| hashes).unwrap_or_default()
        }
    };
    hashes.truncate(width);
    Ok(Some(hashes).filter(|hashes| hashes.len() == width))
}

pub(crate) fn digests(bytes: &[u8]) -> Result<Vec<Digest>, Fault> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(Fault::Damaged("hashes"));
    }
    Ok(hashes.iter().copied().map(Digest::from_bytes).collect())
}
