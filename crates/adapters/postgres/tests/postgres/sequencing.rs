//! Placing leaves: late commits, and several sequencers.

use arbiter_audit::tree::{Frontier, leaf_hash};
use arbiter_core::ports::{AuditLog as _, AuditTree as _};
use arbiter_testkit::builders::batch;
use futures_util::future::join_all;

use crate::support::{Place, record};

/// A batch whose commit is late is placed all the same, after one that took its number later.
#[tokio::test]
async fn a_late_commit_is_not_skipped() {
    let place = Place::new().await;
    let store = place.open().await;
    let late = place.client().await;
    let insert = "INSERT INTO audit_batch (count, at, hashes, leaves) VALUES (1, 1, decode(repeat('11', 32), 'hex'), '\\x01000000ff')";
    late.batch_execute(&format!("BEGIN; {insert}")).await.unwrap();
    store.append(batch(1), vec![record(1)]).await.unwrap();
    assert_eq!(
        store.sequence(usize::MAX).await.unwrap().size,
        1,
        "it waits for nobody"
    );
    late.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.sequence(usize::MAX).await.unwrap().size, 2);
    let entries = store.read(0, 10).await.unwrap();
    assert_eq!(
        (entries.len(), entries[1].leaf.as_slice()),
        (2, [0xff].as_slice())
    );
}

/// Sequencers at the same time place every batch once.
#[tokio::test]
async fn sequencers_at_the_same_time_place_every_batch_once() {
    let place = Place::new().await;
    let stores = [place.open().await, place.open().await];
    for number in 0..30 {
        stores[0]
            .append(batch(number), vec![record(number), record(number + 100)])
            .await
            .unwrap();
    }
    let calls = (0..8).map(|number| stores[number % 2].sequence(7));
    for head in join_all(calls).await {
        assert!(head.unwrap().size <= 60);
    }
    let head = stores[0].sequence(usize::MAX).await.unwrap();
    let entries = stores[1].read(0, 100).await.unwrap();
    assert_eq!((head.size, entries.len()), (60, 60));
    let mut tree = Frontier::new();
    for (place, entry) in entries.iter().enumerate() {
        assert_eq!(entry.index, place as u64);
        tree.push(leaf_hash(&entry.leaf)).unwrap();
    }
    assert_eq!(tree.root(), head.root);
}
