//! Tiles against the recursive definition.

use proptest::prelude::*;

use super::*;
use crate::fixtures::{leaf_hashes, reference_root};
use crate::tree::perfect_root;

#[test]
fn paths_follow_the_c2sp_layout() {
    for (level, index, width, path) in [
        (0, 0, 256, "tile/0/000"),
        (0, 1_234_067, 256, "tile/0/x001/x234/067"),
        (1, 3, 17, "tile/1/003.p/17"),
        (3, 1000, 1, "tile/3/x001/000.p/1"),
        (0, u64::MAX, 256, "tile/0/x018/x446/x744/x073/x709/x551/615"),
    ] {
        let id = TileId::new(level, index, width).unwrap();
        assert_eq!(id.to_string(), path);
        assert_eq!(path.parse(), Ok(id));
    }
    for bad in [
        "tile/0/1",
        "tile/0/x000/001",
        "tile/00/001",
        "tile/0/001.p/0",
        "tile/0/001.p/256",
        "tile/8/001",
        "0/001",
        "tile/0/+01",
    ] {
        assert_eq!(bad.parse::<TileId>(), Err(InvalidTilePath(bad.to_owned())));
    }
    assert_eq!(TileId::new(0, 0, 0), None);
    assert_eq!(TileId::new(0, 0, 257), None);
}

/// Every tile of a tree, by the definition: a hash of level L is the root of 256^L leaves.
fn reference_tiles(leaves: &[Digest]) -> Vec<Tile> {
    let mut tiles = Vec::new();
    let mut row = leaves.to_vec();
    for level in 0..=MAX_LEVEL {
        for (index, hashes) in row.chunks(256).enumerate() {
            let id = TileId::new(level, index as u64, hashes.len() as u16).unwrap();
            tiles.push(Tile {
                id,
                hashes: hashes.to_vec(),
            });
        }
        row = row
            .chunks_exact(256)
            .map(|tile| perfect_root(tile).unwrap())
            .collect();
    }
    tiles
}

#[test]
fn three_levels_of_tiles_are_emitted_once_each_and_resume_gives_the_same_edge() {
    let leaves = leaf_hashes(65_536 + 2 * 256 + 3);
    let mut writer = TileWriter::new();
    let mut tiles = Vec::new();
    for part in leaves.chunks(777) {
        tiles.extend(writer.append(part).unwrap());
    }
    let (mut complete, partial): (Vec<_>, Vec<_>) = reference_tiles(&leaves)
        .into_iter()
        .partition(|t| t.id.is_complete());
    tiles.sort_by_key(|tile| tile.id);
    complete.sort_by_key(|tile| tile.id);
    assert_eq!(tiles, complete);
    assert_eq!(writer.partial_tiles(), partial);

    let mut map = TileMap::new();
    map.extend(complete.into_iter().chain(partial));
    assert_eq!(TileWriter::resume(leaves.len() as u64, &map), Ok(writer.clone()));
    assert_eq!(TileWriter::decode(&writer.encode()), Ok(writer.clone()));
    assert_eq!(writer.frontier().root(), reference_root(&leaves));
}

proptest! {
    #[test]
    fn a_restored_writer_goes_on_as_if_it_had_not_stopped(before in 0_usize..600, after in 0_usize..600) {
        let leaves = leaf_hashes(before + after);
        let mut whole = TileWriter::new();
        let mut first = whole.append(&leaves[..before]).unwrap();
        let mut restored = TileWriter::decode(&whole.encode()).unwrap();
        prop_assert_eq!(&restored, &whole);
        let expected = whole.append(&leaves[before..]).unwrap();
        prop_assert_eq!(&restored.append(&leaves[before..]).unwrap(), &expected);
        prop_assert_eq!(restored.frontier().root(), reference_root(&leaves));
        first.extend(expected);
        prop_assert_eq!(first.len(), (before + after) / 256);
    }
}

#[test]
fn damaged_state_is_refused() {
    let mut writer = TileWriter::new();
    writer.append(&leaf_hashes(300)).unwrap();
    let bytes = writer.encode();
    for bad in [
        &bytes[..0],
        &bytes[..bytes.len() - 1],
        &bytes[..bytes.len() - 32],
        &[bytes.as_slice(), &[0; 32]].concat(),
    ] {
        assert_eq!(TileWriter::decode(bad), Err(FrontierError::Length));
    }
    let error = TileWriter::resume(300, &TileMap::new()).unwrap_err();
    let id = TileId::new(0, 1, 44).unwrap();
    assert_eq!(
        error,
        ResumeError::Source {
            id,
            source: MissingTile(id)
        }
    );
    assert_eq!(Tile::decode(id, &[0; 32]), None);
    assert_eq!(
        Tile::decode(id, &[0; 44 * 32]).map(|tile| tile.encode()),
        Some(vec![0; 44 * 32])
    );
}
