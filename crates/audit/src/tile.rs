//! Hash tiles in the layout of C2SP `tlog-tiles`: the tree cut into squares of 256 hashes, each written once.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use arbiter_core::model::Digest;

use crate::tree::{Frontier, FrontierError, read_digests};

/// The height of a tile: a hash in a tile of one level is the root of a whole tile of the level below.
pub const TILE_HEIGHT: u8 = 8;
/// The number of hashes in a complete tile.
pub const TILE_WIDTH: u16 = 256;
/// The highest level that a tree of less than 2^64 leaves has.
pub const MAX_LEVEL: u8 = 7;

/// Names a tile: its level, its place in the level, and how many of its hashes are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

impl TileId {
    /// Names a tile; `None` if the level is above [`MAX_LEVEL`] or the width is not 1–256.
    pub fn new(level: u8, index: u64, width: u16) -> Option<Self> {
        let fits = level <= MAX_LEVEL && (1..=TILE_WIDTH).contains(&width);
        fits.then_some(Self { level, index, width })
    }

    /// The level: 0 holds leaf hashes.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// The place in its level, from the left, starting at 0.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// The number of hashes, 1–256.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Tells whether the tile is complete, and so never changes.
    pub const fn is_complete(self) -> bool {
        self.width == TILE_WIDTH
    }
}

/// The path of the C2SP layout, such as `tile/0/x001/x234/067` or, for an incomplete tile, `tile/1/003.p/17`.
impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut index = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            index.insert_str(0, &format!("x{:03}/", rest % 1000));
            rest /= 1000;
        }
        write!(f, "tile/{}/{index}", self.level)?;
        if self.is_complete() {
            Ok(())
        } else {
            write!(f, ".p/{}", self.width)
        }
    }
}

/// A text that is not the path of a tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the path of a hash tile such as tile/0/x001/067")]
pub struct InvalidTilePath(pub String);

impl FromStr for TileId {
    type Err = InvalidTilePath;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        // only the form that is written is read, so that one tile has one path
        parse(path)
            .filter(|id| id.to_string() == path)
            .ok_or_else(|| InvalidTilePath(path.to_owned()))
    }
}

fn parse(path: &str) -> Option<TileId> {
    let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, width.parse().ok()?),
        None => (rest, TILE_WIDTH),
    };
    let mut digits = String::new();
    for part in index.split('/') {
        write!(digits, "{}", part.strip_prefix('x').unwrap_or(part)).ok()?;
    }
    TileId::new(level.parse().ok()?, digits.parse().ok()?, width)
}

/// A tile with its hashes; as many as its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tile {
    /// The name of the tile.
    pub id: TileId,
    /// Its hashes, from the left.
    pub hashes: Vec<Digest>,
}

impl Tile {
    /// The contents of the tile's file: its hashes one after the other.
    pub fn encode(&self) -> Vec<u8> {
        self.hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
    }

    /// Reads the contents of a tile's file; `None` if they are not as many hashes as the name says.
    pub fn decode(id: TileId, bytes: &[u8]) -> Option<Self> {
        let hashes = read_digests(bytes)?;
        (hashes.len() == usize::from(id.width)).then_some(Self { id, hashes })
    }
}

/// Where proofs read tiles from.
pub trait TileSource {
    /// What can go wrong.
    type Error;

    /// Returns the first `id.width()` hashes of a tile.
    ///
    /// An older tree asks for fewer hashes than a tile has today; the source cuts what it stores.
    ///
    /// # Errors
    /// Returns the source's error if the tile cannot be read.
    fn tile(&self, id: TileId) -> Result<Vec<Digest>, Self::Error>;
}

/// Tiles in memory: what a store fetched before a proof is built.
#[derive(Debug, Clone, Default)]
pub struct TileMap(BTreeMap<(u8, u64), Vec<Digest>>);

/// A tile that a [`TileMap`] does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not among the tiles given")]
pub struct MissingTile(pub TileId);

impl TileMap {
    /// An empty map.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// Adds a tile, or replaces one of the same place with fewer hashes.
    pub fn insert(&mut self, tile: Tile) {
        let kept = self.0.entry((tile.id.level, tile.id.index)).or_default();
        if kept.len() < tile.hashes.len() {
            *kept = tile.hashes;
        }
    }
}

impl Extend<Tile> for TileMap {
    fn extend<T: IntoIterator<Item = Tile>>(&mut self, tiles: T) {
        tiles.into_iter().for_each(|tile| self.insert(tile));
    }
}

impl TileSource for TileMap {
    type Error = MissingTile;

    fn tile(&self, id: TileId) -> Result<Vec<Digest>, MissingTile> {
        let hashes = self
            .0
            .get(&(id.level, id.index))
            .and_then(|hashes| hashes.get(..usize::from(id.width)));
        hashes.map(<[Digest]>::to_vec).ok_or(MissingTile(id))
    }
}

/// The growing edge of the tree: takes leaf hashes, gives complete tiles to store.
///
/// What a store keeps: the complete tiles, and either [`TileWriter::encode`] (at most 8 KiB per level) or nothing but
/// the size, from which [`TileWriter::resume`] rebuilds the edge by reading one tile per level.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TileWriter {
    frontier: Frontier,
    // INVARIANT: the edge of level L holds the last `(size >> 8 L) % 256` hashes of that level
    edges: Vec<Vec<Digest>>,
}

/// A [`TileWriter`] could not be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError<E> {
    /// A tile could not be read.
    #[error("`{id}` could not be read")]
    Source {
        /// The tile.
        id: TileId,
        /// The source's error.
        source: E,
    },
    /// A tile has another number of hashes than was asked for.
    #[error("`{0}` has a wrong number of hashes")]
    Width(TileId),
}

impl TileWriter {
    /// The edge of the empty tree.
    pub const fn new() -> Self {
        Self {
            frontier: Frontier::new(),
            edges: Vec::new(),
        }
    }

    /// The size and root of the tree.
    pub const fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    /// Appends leaves by their hashes and returns the tiles that became complete, each once.
    ///
    /// # Errors
    /// Returns [`FrontierError::Full`] at the end of the range of sizes.
    pub fn append(&mut self, leaves: &[Digest]) -> Result<Vec<Tile>, FrontierError> {
        let mut tiles = Vec::new();
        for leaf in leaves {
            let position = self.frontier.size();
            let Self { frontier, edges } = self;
            frontier.push_observed(0, *leaf, |height, hash| {
                if height.is_multiple_of(TILE_HEIGHT) {
                    tiles.extend(extend_edge(edges, height / TILE_HEIGHT, position, hash));
                }
            })?;
        }
        Ok(tiles)
    }

    /// The incomplete tiles at the edge, lowest level first.
    pub fn partial_tiles(&self) -> Vec<Tile> {
        let ids = edge_tiles(self.frontier.size());
        ids.filter_map(|id| {
            Some(Tile {
                id,
                hashes: self.edges.get(usize::from(id.level))?.clone(),
            })
        })
        .collect()
    }

    /// The stored form: the size (8 bytes, big-endian), then the hashes of the incomplete tiles, lowest level first.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.frontier.size().to_be_bytes().to_vec();
        bytes.extend(self.edges.iter().flatten().flat_map(|hash| *hash.as_bytes()));
        bytes
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// Returns [`FrontierError::Length`] if the length does not agree with the size.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrontierError> {
        let (size, rest) = bytes.split_first_chunk().ok_or(FrontierError::Length)?;
        let size = u64::from_be_bytes(*size);
        let hashes = read_digests(rest).ok_or(FrontierError::Length)?;
        let mut unread = hashes.as_slice();
        let mut edges = vec![Vec::new(); levels(size)];
        for id in edge_tiles(size) {
            let (edge, rest) = unread
                .split_at_checked(usize::from(id.width))
                .ok_or(FrontierError::Length)?;
            edges[usize::from(id.level)] = edge.to_vec();
            unread = rest;
        }
        if !unread.is_empty() {
            return Err(FrontierError::Length);
        }
        Self::assemble(size, edges)
    }

    /// Rebuilds the edge of a tree of `size` leaves from its tiles.
    ///
    /// The incomplete tile of level 0 holds the hashes of the last `size % 256` leaves; those of the levels above are
    /// the roots of complete tiles of the level below. Compare [`Frontier::root`] with the signed head afterwards.
    ///
    /// # Errors
    /// Returns a [`ResumeError`] if a tile cannot be read or has a wrong number of hashes.
    pub fn resume<S: TileSource>(size: u64, source: &S) -> Result<Self, ResumeError<S::Error>> {
        let mut edges = vec![Vec::new(); levels(size)];
        for id in edge_tiles(size) {
            let hashes = source
                .tile(id)
                .map_err(|source| ResumeError::Source { id, source })?;
            if hashes.len() != usize::from(id.width) {
                return Err(ResumeError::Width(id));
            }
            edges[usize::from(id.level)] = hashes;
        }
        let fallback = TileId {
            level: 0,
            index: 0,
            width: TILE_WIDTH,
        };
        Self::assemble(size, edges).map_err(|_| ResumeError::Width(fallback))
    }

    fn assemble(size: u64, edges: Vec<Vec<Digest>>) -> Result<Self, FrontierError> {
        let mut frontier = Frontier::new();
        for (level, edge) in edges.iter().enumerate().rev() {
            for hash in edge {
                frontier.push_subtree(TILE_HEIGHT * level as u8, *hash)?;
            }
        }
        if frontier.size() == size {
            Ok(Self { frontier, edges })
        } else {
            Err(FrontierError::Length)
        }
    }
}

/// Adds a hash to the edge of `level`; the leaf at `position` completed it. Returns the tile if that is now complete.
fn extend_edge(edges: &mut Vec<Vec<Digest>>, level: u8, position: u64, hash: Digest) -> Option<Tile> {
    let at = usize::from(level);
    if edges.len() <= at {
        edges.resize(at + 1, Vec::new());
    }
    let edge = edges.get_mut(at)?;
    edge.push(hash);
    if edge.len() < usize::from(TILE_WIDTH) {
        return None;
    }
    let shift = u32::from(TILE_HEIGHT) * (u32::from(level) + 1);
    let index = position.checked_shr(shift).unwrap_or(0);
    let hashes = std::mem::replace(edge, Vec::with_capacity(usize::from(TILE_WIDTH)));
    Some(Tile {
        id: TileId {
            level,
            index,
            width: TILE_WIDTH,
        },
        hashes,
    })
}

/// The number of levels that a tree of `size` leaves has.
fn levels(size: u64) -> usize {
    (0..=MAX_LEVEL)
        .filter(|level| size >> (TILE_HEIGHT * level) > 0)
        .count()
}

/// The incomplete tiles of a tree of `size` leaves, lowest level first.
fn edge_tiles(size: u64) -> impl Iterator<Item = TileId> {
    (0..=MAX_LEVEL).filter_map(move |level| {
        let hashes = size >> (TILE_HEIGHT * level);
        TileId::new(
            level,
            hashes / u64::from(TILE_WIDTH),
            (hashes % u64::from(TILE_WIDTH)) as u16,
        )
    })
}

#[cfg(test)]
#[path = "tile_tests.rs"]
mod tests;
