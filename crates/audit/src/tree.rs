//! The Merkle tree of RFC 6962 §2.1: hashing, and the compact state that an append needs.

use arbiter_core::model::Digest;
use sha2::{Digest as _, Sha256};

/// The hash of a leaf: SHA-256(0x00 ‖ leaf) (RFC 6962 §2.1).
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest::from_bytes(
        Sha256::new()
            .chain_update([0])
            .chain_update(leaf)
            .finalize()
            .into(),
    )
}

/// The hash of an inner node: SHA-256(0x01 ‖ left ‖ right) (RFC 6962 §2.1).
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    let mut input = [1; 65];
    input[1..33].copy_from_slice(left.as_bytes());
    input[33..].copy_from_slice(right.as_bytes());
    Digest::of(&input)
}

/// The root of the tree without leaves: SHA-256 of nothing (RFC 6962 §2.1).
pub fn empty_root() -> Digest {
    Digest::of(&[])
}

/// The root of a perfect subtree over `hashes`, whose number must be a power of two; `None` otherwise.
pub(crate) fn perfect_root(hashes: &[Digest]) -> Option<Digest> {
    if !hashes.len().is_power_of_two() {
        return None;
    }
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        let half = row.len() / 2;
        for at in 0..half {
            row[at] = node_hash(&row[2 * at], &row[2 * at + 1]);
        }
        row.truncate(half);
    }
    row.first().copied()
}

/// Joins neighbouring subtrees, largest first, into one root (the right edge of RFC 6962 §2.1).
pub(crate) fn join(subtrees: &[Digest]) -> Option<Digest> {
    subtrees
        .iter()
        .copied()
        .rev()
        .reduce(|right, left| node_hash(&left, &right))
}

/// The state of an append-only tree: the roots of its perfect subtrees, largest first (a *compact range*).
///
/// It holds one hash per bit that is set in the size, at most 64.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    // INVARIANT: one per bit that is set in `size`, the highest first
    roots: Vec<Digest>,
}

/// Bytes that are not a stored [`Frontier`], or a subtree that does not fit onto one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrontierError {
    /// The bytes have the wrong length for the size they state.
    #[error("stored frontier has a wrong length")]
    Length,
    /// The tree would have more than 2^64 − 1 leaves.
    #[error("tree is full")]
    Full,
    /// A subtree can only follow a multiple of its own size.
    #[error("subtree of height {height} does not fit onto a tree of {size} leaves")]
    Unaligned {
        /// The height of the subtree.
        height: u8,
        /// The size of the tree.
        size: u64,
    },
}

impl Frontier {
    /// The tree without leaves.
    pub const fn new() -> Self {
        Self {
            size: 0,
            roots: Vec::new(),
        }
    }

    /// The number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root hash of the tree.
    pub fn root(&self) -> Digest {
        join(&self.roots).unwrap_or_else(empty_root)
    }

    /// Appends a leaf by its hash.
    ///
    /// # Errors
    /// Returns [`FrontierError::Full`] at the end of the range of sizes.
    pub fn push(&mut self, leaf: Digest) -> Result<(), FrontierError> {
        self.push_observed(0, leaf, |_, _| ())
    }

    /// Appends a perfect subtree of 2^`height` leaves by its root.
    ///
    /// # Errors
    /// Returns [`FrontierError::Unaligned`] unless the size is a multiple of 2^`height`, and [`FrontierError::Full`]
    /// at the end of the range of sizes.
    pub fn push_subtree(&mut self, height: u8, root: Digest) -> Result<(), FrontierError> {
        self.push_observed(height, root, |_, _| ())
    }

    /// Appends a subtree and reports every perfect subtree that it completes, with its height, lowest first, itself
    /// included.
    pub(crate) fn push_observed(
        &mut self,
        height: u8,
        root: Digest,
        mut completed: impl FnMut(u8, Digest),
    ) -> Result<(), FrontierError> {
        let unaligned = FrontierError::Unaligned {
            height,
            size: self.size,
        };
        let leaves = 1_u64.checked_shl(u32::from(height)).ok_or(unaligned)?;
        if !self.size.is_multiple_of(leaves) {
            return Err(unaligned);
        }
        let size = self.size.checked_add(leaves).ok_or(FrontierError::Full)?;
        let (mut height, mut node) = (height, root);
        completed(height, node);
        while self.size >> height & 1 == 1 {
            let Some(left) = self.roots.pop() else { break };
            node = node_hash(&left, &node);
            height += 1;
            completed(height, node);
        }
        self.roots.push(node);
        self.size = size;
        Ok(())
    }

    /// The stored form: the size (8 bytes, big-endian), then the roots.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        for root in &self.roots {
            bytes.extend_from_slice(root.as_bytes());
        }
        bytes
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// Returns [`FrontierError::Length`] if the length does not agree with the size.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrontierError> {
        let (size, rest) = bytes.split_first_chunk().ok_or(FrontierError::Length)?;
        let size = u64::from_be_bytes(*size);
        let roots = read_digests(rest).ok_or(FrontierError::Length)?;
        if roots.len() != size.count_ones() as usize {
            return Err(FrontierError::Length);
        }
        Ok(Self { size, roots })
    }
}

/// Splits bytes into digests; `None` if some are left over.
pub(crate) fn read_digests(bytes: &[u8]) -> Option<Vec<Digest>> {
    let (digests, rest) = bytes.as_chunks::<32>();
    rest.is_empty()
        .then(|| digests.iter().copied().map(Digest::from_bytes).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::{CT_LEAVES, CT_ROOTS, reference_root};

    #[test]
    fn roots_match_the_certificate_transparency_vectors() {
        let mut frontier = Frontier::new();
        assert_eq!(frontier.root().to_string(), CT_ROOTS[0]);
        for (leaf, root) in CT_LEAVES.iter().zip(&CT_ROOTS[1..]) {
            frontier.push(leaf_hash(leaf)).unwrap();
            assert_eq!(frontier.root().to_string(), *root);
        }
    }

    proptest! {
        #[test]
        fn the_root_is_that_of_the_recursive_definition(size in 0_usize..700) {
            let leaves: Vec<Digest> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
            let mut frontier = Frontier::new();
            for leaf in &leaves {
                frontier.push(*leaf).unwrap();
            }
            prop_assert_eq!(frontier.root(), reference_root(&leaves));
            prop_assert_eq!(Frontier::decode(&frontier.encode()), Ok(frontier));
        }

        #[test]
        fn subtrees_and_single_leaves_give_the_same_tree(tail in 0_usize..20) {
            let leaves: Vec<Digest> = (0..512 + tail).map(|n| leaf_hash(&n.to_be_bytes())).collect();
            let mut frontier = Frontier::new();
            frontier.push_subtree(8, perfect_root(&leaves[..256]).unwrap()).unwrap();
            frontier.push_subtree(8, perfect_root(&leaves[256..512]).unwrap()).unwrap();
            for leaf in &leaves[512..] {
                frontier.push(*leaf).unwrap();
            }
            prop_assert_eq!(frontier.root(), reference_root(&leaves));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut frontier = Frontier::new();
        frontier.push(empty_root()).unwrap();
        let error = FrontierError::Unaligned { height: 8, size: 1 };
        assert_eq!(frontier.push_subtree(8, empty_root()), Err(error));
        assert!(frontier.push_subtree(64, empty_root()).is_err());
        let bytes = frontier.encode();
        for bad in [&bytes[..7], &bytes[..8], &bytes[..39]] {
            assert_eq!(Frontier::decode(bad), Err(FrontierError::Length));
        }
        let mut full = u64::MAX.to_be_bytes().to_vec();
        full.extend_from_slice(&[0; 64 * 32]);
        assert_eq!(
            Frontier::decode(&full).unwrap().push(empty_root()),
            Err(FrontierError::Full)
        );
    }
}
