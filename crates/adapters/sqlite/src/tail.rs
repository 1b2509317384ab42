//! The end of the audit log: places the leaves of each commit in the Merkle tree, inside that commit.

use arbiter_audit::batch::unpack_leaf;
use arbiter_audit::tile::{Tile, TileId, TileSource, TileWriter};
use arbiter_audit::tree::{Frontier, leaf_hash};
use arbiter_core::model::Digest;
use arbiter_core::ports::TreeHead;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::error::{Fault, OpenError};
use crate::leaves::Leaves;
use crate::number::{natural, whole};

/// The growing edge of the tree. It is rebuilt from what the commits stored, so no commit rewrites a head row.
#[derive(Debug)]
pub(crate) struct Tail {
    tiles: TileWriter,
}

impl Tail {
    /// Rebuilds the edge and compares it with the root that the last commit stored.
    pub(crate) fn load(connection: &Connection) -> Result<Self, OpenError> {
        let failed = OpenError::database("reading the audit log");
        let damaged = |problem: &str| OpenError::AuditLog {
            problem: problem.to_owned(),
        };
        let last: Option<(i64, i64, [u8; 32])> = connection
            .query_row(
                "SELECT first, count, root FROM audit_batch ORDER BY first DESC LIMIT 1",
                [],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()
            .map_err(&failed)?;
        let Some((first, count, root)) = last else {
            return Ok(Self {
                tiles: TileWriter::new(),
            });
        };
        let tiles = TileWriter::resume(natural(first) + natural(count), &Stored(connection))
            .map_err(|_| damaged("a tile at its end is missing or has a wrong size"))?;
        if *tiles.frontier().root().as_bytes() != root {
            let size = tiles.frontier().size();
            let entry = first_mismatch(connection, size).map_err(failed)?;
            return Err(entry.map_or_else(
                || damaged("its hashes do not add up to the stored root"),
                |entry| damaged(&format!("entry {entry} does not match its hash")),
            ));
        }
        Ok(Self { tiles })
    }

    pub(crate) fn head(&self) -> TreeHead {
        TreeHead {
            size: self.tiles.frontier().size(),
            root: self.tiles.frontier().root(),
        }
    }

    /// Stores the leaves of a commit as one row, and the tiles that they complete. The edge has moved even if this
    /// fails: then it must be loaded anew.
    pub(crate) fn write(&mut self, connection: &Connection, leaves: &Leaves) -> Result<(), Fault> {
        if leaves.hashes.is_empty() {
            return Ok(());
        }
        let first = self.tiles.frontier().size();
        let complete = self.tiles.append(&leaves.hashes)?;
        let hashes: Vec<u8> = leaves.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect();
        let placed = Placed {
            first,
            count: leaves.hashes.len() as u64,
            root: self.tiles.frontier().root(),
            hashes: &hashes,
            leaves: &leaves.packed,
            details: (leaves.detailed > 0).then_some(leaves.details.as_slice()),
        };
        place_batch(connection, &placed)?;
        for tile in complete {
            place_tile(connection, &tile)?;
        }
        Ok(())
    }
}

/// The leaves of a commit in their place.
pub(crate) struct Placed<'a> {
    pub(crate) first: u64,
    pub(crate) count: u64,
    /// The root of the tree after them.
    pub(crate) root: Digest,
    pub(crate) hashes: &'a [u8],
    pub(crate) leaves: &'a [u8],
    pub(crate) details: Option<&'a [u8]>,
}

/// Stores the leaves of a commit.
pub(crate) fn place_batch(connection: &Connection, placed: &Placed<'_>) -> Result<(), Fault> {
    connection
        .prepare_cached(
            "INSERT INTO audit_batch (first, count, root, hashes, leaves, details)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            whole(placed.first),
            whole(placed.count),
            placed.root.as_bytes(),
            placed.hashes,
            placed.leaves,
            placed.details,
        ])?;
    Ok(())
}

/// Stores a tile that is complete.
pub(crate) fn place_tile(connection: &Connection, tile: &Tile) -> Result<(), Fault> {
    let root = tile_root(tile)?;
    connection
        .prepare_cached("INSERT INTO audit_tile (level, number, root, hashes) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![
            tile.id.level(),
            whole(tile.id.index()),
            root.as_bytes(),
            tile.encode()
        ])?;
    Ok(())
}

/// The first entry, of those whose tile is not complete, that does not match the hash that stands in the tree.
fn first_mismatch(connection: &Connection, size: u64) -> rusqlite::Result<Option<u64>> {
    let start = size / 256 * 256;
    let mut statement = connection.prepare(
        "SELECT first, hashes, leaves FROM audit_batch
         WHERE first >= coalesce((SELECT max(first) FROM audit_batch WHERE first <= ?1), 0) ORDER BY first",
    )?;
    let mut rows = statement.query([whole(start)])?;
    while let Some(row) = rows.next()? {
        let first = natural(row.get(0)?);
        let hashes: Vec<u8> = row.get(1)?;
        let mut leaves = row.get_ref(2)?.as_blob()?;
        for (number, hash) in hashes.as_chunks::<32>().0.iter().enumerate() {
            let entry = first + number as u64;
            let leaf = unpack_leaf(&mut leaves).map(leaf_hash);
            let matches = leaf.is_ok_and(|found| found.as_bytes() == hash);
            if entry >= start && !matches {
                return Ok(Some(entry));
            }
        }
    }
    Ok(None)
}

fn tile_root(tile: &Tile) -> Result<Digest, Fault> {
    let mut frontier = Frontier::new();
    for hash in &tile.hashes {
        frontier.push(*hash)?;
    }
    Ok(frontier.root())
}

/// Reads the tiles of the tree from what the commits stored.
#[derive(Debug)]
pub(crate) struct Stored<'a>(pub(crate) &'a Connection);

impl TileSource for Stored<'_> {
    type Error = Fault;

    fn tile(&self, id: TileId) -> Result<Vec<Digest>, Fault> {
        let complete: Option<Vec<u8>> = self
            .0
            .prepare_cached("SELECT hashes FROM audit_tile WHERE level = ?1 AND number = ?2")?
            .query_row(params![id.level(), whole(id.index())], |row| row.get(0))
            .optional()?;
        if let Some(bytes) = complete {
            return cut(&bytes, 0, id.width());
        }
        let start = id.index() * 256;
        if let Some(below) = id.level().checked_sub(1) {
            let mut statement = self.0.prepare_cached(
                "SELECT root FROM audit_tile WHERE level = ?1 AND number >= ?2 AND number < ?3 ORDER BY number",
            )?;
            let end = start + u64::from(id.width());
            let roots = statement.query_map(params![below, whole(start), whole(end)], |row| {
                row.get::<_, [u8; 32]>(0)
            })?;
            let roots: Vec<_> = roots.collect::<Result<_, _>>()?;
            return Ok(roots.into_iter().map(Digest::from_bytes).collect());
        }
        self.leaf_hashes(start, id.width())
    }
}

impl Stored<'_> {
    /// The hashes of leaves from the batches that hold them; fewer when the log ends before.
    fn leaf_hashes(&self, start: u64, width: u16) -> Result<Vec<Digest>, Fault> {
        let mut statement = self.0.prepare_cached(
            "SELECT first, hashes FROM audit_batch
             WHERE first >= coalesce((SELECT max(first) FROM audit_batch WHERE first <= ?1), 0) AND first < ?2
             ORDER BY first",
        )?;
        let mut rows = statement.query(params![whole(start), whole(start + u64::from(width))])?;
        let mut hashes = Vec::with_capacity(usize::from(width));
        while let Some(row) = rows.next()? {
            let first = natural(row.get(0)?);
            let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            let skip = usize::try_from(start.saturating_sub(first)).unwrap_or(usize::MAX);
            let missing = usize::from(width) - hashes.len();
            let found = bytes.as_chunks::<32>().0.iter().skip(skip).take(missing);
            hashes.extend(found.copied().map(Digest::from_bytes));
        }
        Ok(hashes)
    }
}

fn cut(bytes: &[u8], skip: usize, width: u16) -> Result<Vec<Digest>, Fault> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(Fault::Damaged("tile"));
    }
    let found = hashes.iter().skip(skip).take(usize::from(width));
    Ok(found.copied().map(Digest::from_bytes).collect())
}
