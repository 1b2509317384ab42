//! Proofs against the recursive definition.

use proptest::prelude::*;

use super::*;
use crate::fixtures::{CT_LEAVES, CT_ROOTS, leaf_hashes, reference_root};
use crate::tile::{MissingTile, TileMap, TileWriter};
use crate::tree::leaf_hash;

fn tiles(leaves: &[Digest]) -> TileMap {
    let mut writer = TileWriter::new();
    let mut map = TileMap::new();
    map.extend(writer.append(leaves).unwrap());
    map.extend(writer.partial_tiles());
    map
}

fn texts(path: &[Digest]) -> Vec<String> {
    path.iter().map(ToString::to_string).collect()
}

/// `PATH(m, D[n])`, word for word from RFC 6962 §2.1.1.
fn reference_path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut path, sibling) = if index < k {
        (reference_path(index, &leaves[..k]), reference_root(&leaves[k..]))
    } else {
        (
            reference_path(index - k, &leaves[k..]),
            reference_root(&leaves[..k]),
        )
    };
    path.push(sibling);
    path
}

/// `SUBPROOF(m, D[n], b)`, word for word from RFC 6962 §2.1.2.
fn reference_subproof(old: usize, leaves: &[Digest], whole: bool) -> Vec<Digest> {
    if old == leaves.len() {
        return if whole {
            Vec::new()
        } else {
            vec![reference_root(leaves)]
        };
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (mut path, sibling) = if old <= k {
        (
            reference_subproof(old, &leaves[..k], whole),
            reference_root(&leaves[k..]),
        )
    } else {
        (
            reference_subproof(old - k, &leaves[k..], false),
            reference_root(&leaves[..k]),
        )
    };
    path.push(sibling);
    path
}

/// Vectors of the certificate-transparency reference implementation.
#[test]
fn proofs_match_the_certificate_transparency_vectors() {
    let leaves: Vec<Digest> = CT_LEAVES.iter().map(|leaf| leaf_hash(leaf)).collect();
    let map = tiles(&leaves);
    let first = InclusionProof::build(0, 8, &map).unwrap();
    assert_eq!(
        texts(&first.path),
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ]
    );
    let later = ConsistencyProof::build(6, 8, &map).unwrap();
    assert_eq!(
        texts(&later.path),
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ]
    );
    let root = |size: usize| CT_ROOTS[size].parse().unwrap();
    assert_eq!(later.verify(&root(6), &root(8)), Ok(()));
    assert_eq!(later.verify(&root(5), &root(8)), Err(InvalidProof));
}

#[test]
fn every_proof_of_every_small_tree_is_the_reference_and_verifies() {
    let all = leaf_hashes(40);
    for size in 1..=all.len() {
        let leaves = &all[..size];
        let (map, root) = (tiles(&all), reference_root(leaves));
        for (index, leaf) in leaves.iter().enumerate() {
            let proof = InclusionProof::build(index as u64, size as u64, &map).unwrap();
            assert_eq!(proof.path, reference_path(index, leaves));
            assert_eq!(proof.verify(leaf, &root), Ok(()));
        }
        for old in 1..=size {
            let proof = ConsistencyProof::build(old as u64, size as u64, &map).unwrap();
            assert_eq!(proof.path, reference_subproof(old, leaves, true));
            assert_eq!(proof.verify(&reference_root(&leaves[..old]), &root), Ok(()));
        }
    }
}

/// The proof with one thing changed: a hash, one hash more or fewer, a neighbour's place.
fn mutate(path: &mut Vec<Digest>, place: prop::sample::Index, kind: u8) {
    if path.is_empty() || kind == 0 {
        return path.push(Digest::of(b"one too many"));
    }
    let at = place.index(path.len());
    match kind {
        1 => drop(path.remove(at)),
        2 => path.insert(at, path[at]),
        _ => {
            let mut bytes = *path[at].as_bytes();
            bytes[at % 32] ^= 1;
            path[at] = Digest::from_bytes(bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn proofs_over_several_tiles_verify_and_changed_ones_do_not(
        size in 1_usize..1500,
        (a, b) in any::<(prop::sample::Index, prop::sample::Index)>(),
        place in any::<prop::sample::Index>(),
        kind in 0_u8..4,
    ) {
        let all = leaf_hashes(1500);
        let (leaves, map) = (&all[..size], tiles(&all));
        let root = reference_root(leaves);
        let index = a.index(size);
        let mut inclusion = InclusionProof::build(index as u64, size as u64, &map).unwrap();
        prop_assert_eq!(&inclusion.path, &reference_path(index, leaves));
        prop_assert_eq!(inclusion.verify(&leaves[index], &root), Ok(()));
        prop_assert_eq!(inclusion.verify(&Digest::of(b"other"), &root), Err(InvalidProof));
        prop_assert_eq!(inclusion.verify(&leaves[index], &Digest::of(b"other")), Err(InvalidProof));
        mutate(&mut inclusion.path, place, kind);
        prop_assert_eq!(inclusion.verify(&leaves[index], &root), Err(InvalidProof));

        let old = 1 + b.index(size);
        let old_root = reference_root(&leaves[..old]);
        let mut consistency = ConsistencyProof::build(old as u64, size as u64, &map).unwrap();
        prop_assert_eq!(&consistency.path, &reference_subproof(old, leaves, true));
        prop_assert_eq!(consistency.verify(&old_root, &root), Ok(()));
        prop_assert_eq!(consistency.verify(&Digest::of(b"other"), &root), Err(InvalidProof));
        mutate(&mut consistency.path, place, kind);
        prop_assert_eq!(consistency.verify(&old_root, &root), Err(InvalidProof));
    }

    #[test]
    fn hostile_sizes_never_panic(a in any::<u64>(), b in any::<u64>(), hashes in 0_usize..70) {
        let path = vec![Digest::of(b"x"); hashes];
        let (zero, one) = (Digest::of(b"0"), Digest::of(b"1"));
        let inclusion = InclusionProof { index: a, size: b, path: path.clone() };
        prop_assert_eq!(inclusion.verify(&zero, &one), Err(InvalidProof));
        let consistency = ConsistencyProof { old: a, new: b, path };
        prop_assert_eq!(consistency.verify(&zero, &one), Err(InvalidProof));
        prop_assert!(InclusionProof::build(a, b, &TileMap::new()).is_err());
        prop_assert!(ConsistencyProof::tiles(a, b).len() <= 130);
    }
}

#[test]
fn a_proof_names_the_tiles_it_needs_and_the_one_that_is_missing() {
    let map = tiles(&leaf_hashes(600));
    for id in InclusionProof::tiles(300, 600) {
        assert!(map.tile(id).is_ok(), "{id}");
    }
    let missing = InclusionProof::tiles(300, 600).into_iter().next().unwrap();
    let error = InclusionProof::build(300, 600, &TileMap::new()).unwrap_err();
    assert_eq!(
        error,
        ProofError::Source {
            id: missing,
            source: MissingTile(missing)
        }
    );
    assert_eq!(InclusionProof::build(5, 5, &map), Err(ProofError::Range));
    assert_eq!(ConsistencyProof::build(0, 5, &map), Err(ProofError::Range));
    assert_eq!(ConsistencyProof::build(6, 5, &map), Err(ProofError::Range));
}

/// A path that is too short for the size it is claimed for could pass the root of a subtree for that of the tree.
#[test]
fn a_proof_does_not_verify_for_another_size() {
    let leaves = leaf_hashes(8);
    let (map, root) = (tiles(&leaves), reference_root(&leaves));
    let inclusion = InclusionProof::build(0, 8, &map).unwrap();
    let consistency = ConsistencyProof::build(3, 8, &map).unwrap();
    let old_root = reference_root(&leaves[..3]);
    for size in [1, 4, 9, 16, 17, u64::MAX] {
        let claimed = InclusionProof {
            size,
            ..inclusion.clone()
        };
        assert_eq!(claimed.verify(&leaves[0], &root), Err(InvalidProof), "{size}");
        let claimed = ConsistencyProof {
            new: size,
            ..consistency.clone()
        };
        assert_eq!(claimed.verify(&old_root, &root), Err(InvalidProof), "{size}");
    }
}
