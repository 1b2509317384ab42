//! Inclusion and consistency proofs: built from tiles, verified from nothing but hashes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use arbiter_core::model::Digest;

use crate::tile::{TILE_HEIGHT, TILE_WIDTH, TileId, TileSource};
use crate::tree::{join, node_hash, perfect_root};

/// Proves that a leaf stands at an index of a tree (RFC 6962 §2.1.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InclusionProof {
    /// The index of the leaf.
    pub index: u64,
    /// The size of the tree.
    pub size: u64,
    /// The audit path, from the leaf upwards.
    pub path: Vec<Digest>,
}

/// Proves that a tree is a later state of another one (RFC 6962 §2.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsistencyProof {
    /// The size of the earlier tree.
    pub old: u64,
    /// The size of the later tree.
    pub new: u64,
    /// The hashes, in the order of RFC 6962 §2.1.2.
    pub path: Vec<Digest>,
}

/// A proof could not be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError<E> {
    /// There is no such proof: the index is not below the size, the earlier tree is empty or larger than the later.
    #[error("no proof exists for these sizes")]
    Range,
    /// A tile could not be read.
    #[error("`{id}` could not be read")]
    Source {
        /// The tile.
        id: TileId,
        /// The source's error.
        source: E,
    },
    /// A tile has fewer hashes than its name says.
    #[error("`{0}` has a wrong number of hashes")]
    Width(TileId),
}

/// A proof that does not show what it claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("proof does not lead to the root")]
pub struct InvalidProof;

impl InclusionProof {
    /// The tiles that [`InclusionProof::build`] will read; empty if there is no such proof.
    pub fn tiles(index: u64, size: u64) -> BTreeSet<TileId> {
        tiles_of(&inclusion_ranges(index, size).unwrap_or_default(), size)
    }

    /// Builds the proof for the leaf at `index` in the tree of `size` leaves.
    ///
    /// # Errors
    /// Returns [`ProofError::Range`] unless `index < size`, and the other errors if a tile cannot be had.
    pub fn build<S: TileSource>(index: u64, size: u64, source: &S) -> Result<Self, ProofError<S::Error>> {
        let ranges = inclusion_ranges(index, size).ok_or(ProofError::Range)?;
        Ok(Self {
            index,
            size,
            path: hashes_of(&ranges, size, source)?,
        })
    }

    /// Checks the proof (RFC 9162 §2.1.3.2).
    ///
    /// # Errors
    /// Returns [`InvalidProof`] unless the path leads from the leaf hash to the root.
    pub fn verify(&self, leaf: &Digest, root: &Digest) -> Result<(), InvalidProof> {
        if self.index >= self.size {
            return Err(InvalidProof);
        }
        let (mut node, mut last) = (self.index, self.size - 1);
        let mut hash = *leaf;
        for sibling in &self.path {
            if last == 0 {
                return Err(InvalidProof);
            }
            if node & 1 == 1 || node == last {
                hash = node_hash(sibling, &hash);
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                hash = node_hash(&hash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        if last == 0 && hash == *root {
            Ok(())
        } else {
            Err(InvalidProof)
        }
    }
}

impl ConsistencyProof {
    /// The tiles that [`ConsistencyProof::build`] will read; empty if there is no such proof.
    pub fn tiles(old: u64, new: u64) -> BTreeSet<TileId> {
        tiles_of(&consistency_ranges(old, new).unwrap_or_default(), new)
    }

    /// Builds the proof that the tree of `new` leaves extends the tree of `old` leaves.
    ///
    /// # Errors
    /// Returns [`ProofError::Range`] unless `0 < old ≤ new`, and the other errors if a tile cannot be had.
    pub fn build<S: TileSource>(old: u64, new: u64, source: &S) -> Result<Self, ProofError<S::Error>> {
        let ranges = consistency_ranges(old, new).ok_or(ProofError::Range)?;
        Ok(Self {
            old,
            new,
            path: hashes_of(&ranges, new, source)?,
        })
    }

    /// Checks the proof (RFC 9162 §2.1.4.2; two trees of one size need equal roots and an empty path).
    ///
    /// # Errors
    /// Returns [`InvalidProof`] unless the path leads to both roots.
    pub fn verify(&self, old_root: &Digest, new_root: &Digest) -> Result<(), InvalidProof> {
        if self.old == 0 || self.old > self.new {
            return Err(InvalidProof);
        }
        if self.old == self.new {
            return if self.path.is_empty() && old_root == new_root {
                Ok(())
            } else {
                Err(InvalidProof)
            };
        }
        let mut path = self.path.iter();
        let start = if self.old.is_power_of_two() {
            old_root
        } else {
            path.next().ok_or(InvalidProof)?
        };
        let shift = (self.old - 1).trailing_ones();
        // a shift by 64 is impossible: old < new ≤ 2^64 − 1, so old − 1 has a zero bit
        let (mut node, mut last) = ((self.old - 1) >> shift, (self.new - 1) >> shift);
        let (mut old_hash, mut new_hash) = (*start, *start);
        for sibling in path {
            if last == 0 {
                return Err(InvalidProof);
            }
            if node & 1 == 1 || node == last {
                old_hash = node_hash(sibling, &old_hash);
                new_hash = node_hash(sibling, &new_hash);
                while node & 1 == 0 && node != 0 {
                    node >>= 1;
                    last >>= 1;
                }
            } else {
                new_hash = node_hash(&new_hash, sibling);
            }
            node >>= 1;
            last >>= 1;
        }
        let proved = last == 0 && old_hash == *old_root && new_hash == *new_root;
        if proved { Ok(()) } else { Err(InvalidProof) }
    }
}

/// The largest power of two below `length`, which is 2 or more (`k` of RFC 6962 §2.1).
fn split(length: u64) -> u64 {
    1 << (length - 1).ilog2()
}

/// The leaves under each hash of `PATH(index, D[size])`, RFC 6962 §2.1.1.
fn inclusion_ranges(index: u64, size: u64) -> Option<Vec<Range<u64>>> {
    if index >= size {
        return None;
    }
    let mut ranges = Vec::new();
    let (mut begin, mut end) = (0, size);
    while end - begin > 1 {
        let middle = begin + split(end - begin);
        if index < middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(begin..middle);
            begin = middle;
        }
    }
    ranges.reverse();
    Some(ranges)
}

/// The leaves under each hash of `PROOF(old, D[new])`, RFC 6962 §2.1.2.
fn consistency_ranges(old: u64, new: u64) -> Option<Vec<Range<u64>>> {
    if old == 0 || old > new {
        return None;
    }
    let mut ranges = Vec::new();
    let (mut begin, mut end) = (0, new);
    while old != end {
        let middle = begin + split(end - begin);
        if old <= middle {
            ranges.push(middle..end);
            end = middle;
        } else {
            ranges.push(begin..middle);
            begin = middle;
        }
    }
    if begin != 0 {
        ranges.push(begin..end);
    }
    ranges.reverse();
    Some(ranges)
}

/// A perfect subtree: the tile that holds it and which of its hashes are its leaves.
struct Subtree {
    id: TileId,
    hashes: Range<usize>,
}

/// Cuts a range of a tree of `size` leaves into perfect subtrees, from the left, each inside one tile.
///
/// The ranges of proofs start at a multiple of the largest power of two in their length, so that taking the highest
/// bit of what is left gives aligned subtrees.
fn subtrees(range: &Range<u64>, size: u64) -> Vec<Subtree> {
    let mut parts = Vec::new();
    let mut begin = range.start;
    while begin < range.end {
        let height = (range.end - begin).ilog2();
        let (level, inner) = (height as u8 / TILE_HEIGHT, height % u32::from(TILE_HEIGHT));
        let start = begin >> (level * TILE_HEIGHT);
        let index = start / u64::from(TILE_WIDTH);
        let in_level = size >> (level * TILE_HEIGHT);
        let width = (in_level - index * u64::from(TILE_WIDTH)).min(u64::from(TILE_WIDTH)) as u16;
        let first = (start % u64::from(TILE_WIDTH)) as usize;
        parts.extend(TileId::new(level, index, width).map(|id| Subtree {
            id,
            hashes: first..first + (1 << inner),
        }));
        begin += 1 << height;
    }
    parts
}

fn tiles_of(ranges: &[Range<u64>], size: u64) -> BTreeSet<TileId> {
    ranges
        .iter()
        .flat_map(|range| subtrees(range, size))
        .map(|subtree| subtree.id)
        .collect()
}

fn hashes_of<S: TileSource>(
    ranges: &[Range<u64>],
    size: u64,
    source: &S,
) -> Result<Vec<Digest>, ProofError<S::Error>> {
    let mut tiles = BTreeMap::new();
    for id in tiles_of(ranges, size) {
        tiles.insert(
            id,
            source
                .tile(id)
                .map_err(|source| ProofError::Source { id, source })?,
        );
    }
    let root = |subtree: &Subtree| {
        let hashes = tiles
            .get(&subtree.id)
            .and_then(|hashes| hashes.get(subtree.hashes.clone()));
        hashes.and_then(perfect_root).ok_or(ProofError::Width(subtree.id))
    };
    let mut path = Vec::with_capacity(ranges.len());
    for range in ranges {
        let roots = subtrees(range, size)
            .iter()
            .map(root)
            .collect::<Result<Vec<_>, _>>()?;
        path.push(join(&roots).ok_or(ProofError::Range)?);
    }
    Ok(path)
}

#[cfg(test)]
#[path = "proof_tests.rs"]
mod tests;
