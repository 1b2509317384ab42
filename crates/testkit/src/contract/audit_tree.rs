//! The contract of `AuditTree`.

use arbiter_audit::proof::{ConsistencyProof, InclusionProof};
use arbiter_audit::tile::{TILE_WIDTH, Tile, TileId, TileMap};
use arbiter_audit::tree::{Frontier, empty_root, leaf_hash};
use arbiter_core::model::{AuditAction, Digest, Record, RecordDraft, RecordOutcome, Resource};
use arbiter_core::ports::TreeHead;

use crate::builders::{batch, profile};
use crate::contract::desk::TENANT;
use crate::contract::{Desk, Harness, suite};

suite!($ audit_tree_contract, audit_tree, [
    the_empty_log_has_the_empty_root,
    the_root_is_that_of_the_leaves_in_order,
    every_entry_can_be_proved_from_the_tiles,
    an_earlier_tree_is_a_prefix_of_a_later_one,
    tiles_give_the_tree_as_it_was,
    a_signed_head_of_a_smaller_tree_never_replaces_a_larger,
]);

async fn head(desk: &Desk<'_>) -> TreeHead {
    let placed = desk.stores().tree.sequence(usize::MAX).await.expect("sequence");
    assert_eq!(desk.stores().tree.head().await.expect("head"), placed);
    placed
}

async fn append(desk: &Desk<'_>, number: u64, count: usize) {
    let at = desk.now().await;
    let record = |place: usize| Record {
        at,
        tenant: TENANT,
        principal: None,
        operation: None,
        actions: vec![AuditAction::AuthenticationFailed],
        resource: Resource::new("key", format!("{number}/{place}")),
        outcome: RecordOutcome::Refused,
        reason: None,
        count: None,
        detail: None,
    };
    desk.stores()
        .log
        .append(batch(number), (0..count).map(record).collect())
        .await
        .expect("append");
}

/// The empty log has no leaf and the root of nothing.
pub async fn the_empty_log_has_the_empty_root(h: &dyn Harness) {
    let desk = Desk::at(h);
    assert_eq!(
        head(&desk).await,
        TreeHead {
            size: 0,
            root: empty_root()
        }
    );
    assert_eq!(desk.stores().tree.tile(0, 0, 1).await.expect("tile"), None);
}

/// Size and root are those of the leaves in the order in which they are read.
pub async fn the_root_is_that_of_the_leaves_in_order(h: &dyn Harness) {
    let desk = Desk::at(h);
    append(&desk, 1, 3).await;
    let agents = &desk.stores().agents;
    for number in [1, 2] {
        let registered = agents.register(profile(number), RecordDraft::default());
        registered.await.expect("registered");
    }
    append(&desk, 2, 300).await;
    check_root(&desk).await;
    assert_eq!(head(&desk).await.size, 305);
}

/// Checks that the head is that of the entries.
pub(crate) async fn check_root(desk: &Desk<'_>) {
    assert_eq!(head(desk).await, folded(desk).await);
}

/// The head that the entries add up to.
async fn folded(desk: &Desk<'_>) -> TreeHead {
    let mut frontier = Frontier::new();
    for entry in desk.entries().await {
        frontier.push(leaf_hash(&entry.leaf)).expect("room");
    }
    TreeHead {
        size: frontier.size(),
        root: frontier.root(),
    }
}

/// Reads tiles from the store.
async fn tiles(desk: &Desk<'_>, ids: impl IntoIterator<Item = TileId>) -> TileMap {
    let mut map = TileMap::new();
    for id in ids {
        let read = desk
            .stores()
            .tree
            .tile(id.level(), id.index(), id.width())
            .await
            .expect("tile");
        let hashes = read.expect("the tree has the tile");
        assert_eq!(hashes.len(), usize::from(id.width()));
        map.insert(Tile { id, hashes });
    }
    map
}

/// Checks an inclusion proof of every entry against the present head.
pub(crate) async fn check_proofs(desk: &Desk<'_>) {
    let head = head(desk).await;
    for entry in desk.entries().await {
        let tiles = tiles(desk, InclusionProof::tiles(entry.index, head.size)).await;
        let proof = InclusionProof::build(entry.index, head.size, &tiles).expect("a proof");
        proof
            .verify(&leaf_hash(&entry.leaf), &head.root)
            .expect("the entry is in the tree");
    }
}

/// Every entry can be proved to stand in the tree, from its tiles.
pub async fn every_entry_can_be_proved_from_the_tiles(h: &dyn Harness) {
    let desk = Desk::at(h);
    append(&desk, 1, 7).await;
    check_proofs(&desk).await;
    append(&desk, 2, 255).await;
    check_proofs(&desk).await;
}

/// An earlier tree can be proved to be a prefix of a later one, from the later one's tiles.
pub async fn an_earlier_tree_is_a_prefix_of_a_later_one(h: &dyn Harness) {
    let desk = Desk::at(h);
    let mut heads = Vec::new();
    for (number, count) in (1..).zip([1, 5, 250, 1, 40]) {
        append(&desk, number, count).await;
        heads.push(head(&desk).await);
    }
    let last = heads[heads.len() - 1];
    for old in &heads {
        let tiles = tiles(&desk, ConsistencyProof::tiles(old.size, last.size)).await;
        let proof = ConsistencyProof::build(old.size, last.size, &tiles).expect("a proof");
        proof.verify(&old.root, &last.root).expect("a prefix");
    }
}

/// A tile gives its first hashes, as many as are asked for, also when it has more by now; what it does not have is none.
pub async fn tiles_give_the_tree_as_it_was(h: &dyn Harness) {
    let desk = Desk::at(h);
    append(&desk, 1, 10).await;
    let tile = async |level, index, width| desk.stores().tree.tile(level, index, width).await.expect("tile");
    let hashes: Vec<Digest> = desk
        .entries()
        .await
        .iter()
        .map(|entry| leaf_hash(&entry.leaf))
        .collect();
    head(&desk).await;
    assert_eq!(tile(0, 0, 10).await.as_deref(), Some(hashes.as_slice()));
    assert_eq!(tile(0, 0, 4).await.as_deref(), Some(&hashes[..4]));
    assert_eq!(tile(0, 0, 11).await, None);
    append(&desk, 2, 290).await;
    head(&desk).await;
    assert_eq!(tile(0, 0, 10).await.as_deref(), Some(hashes.as_slice()));
    assert_eq!(tile(0, 0, TILE_WIDTH).await.map(|hashes| hashes.len()), Some(256));
    assert_eq!(tile(0, 1, 44).await.map(|hashes| hashes.len()), Some(44));
    assert_eq!(tile(1, 0, 1).await.map(|hashes| hashes.len()), Some(1));
    for (level, index, width) in [
        (0, 1, 45),
        (0, 2, 1),
        (1, 0, 2),
        (2, 0, 1),
        (0, 0, 0),
        (0, 0, 257),
        (9, 0, 1),
    ] {
        assert_eq!(tile(level, index, width).await, None, "{level}/{index}/{width}");
    }
}

/// The signed head of the largest tree stays; one of a smaller tree never replaces it.
pub async fn a_signed_head_of_a_smaller_tree_never_replaces_a_larger(h: &dyn Harness) {
    let desk = Desk::at(h);
    let tree = &desk.stores().tree;
    assert_eq!(tree.published().await.expect("published"), None);
    append(&desk, 1, 2).await;
    let small = head(&desk).await;
    append(&desk, 2, 2).await;
    let large = head(&desk).await;
    tree.publish(small, "small").await.expect("publish");
    assert_eq!(
        tree.published().await.expect("published"),
        Some((small, "small".to_owned()))
    );
    tree.publish(large, "large").await.expect("publish");
    tree.publish(small, "small again").await.expect("publish");
    assert_eq!(
        tree.published().await.expect("published"),
        Some((large, "large".to_owned()))
    );
}
