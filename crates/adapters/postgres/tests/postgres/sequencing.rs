//! Placing leaves: late commits, and several sequencers.

use std::collections::BTreeMap;

use arbiter_adapter_postgres::PostgresStore;
use arbiter_audit::leaf::Leaf;
use arbiter_audit::tree::{Frontier, leaf_hash};
use arbiter_core::model::RecordDraft;
use arbiter_core::ports::{
    AuditLog, AuditTree as _, DocumentContent, DocumentError, DocumentKey, DocumentWrite, Documents, Effects,
    Precondition,
};
use arbiter_testkit::builders::{batch, json, tenant};
use futures_util::future::{join, join_all};

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

/// Writes the next revision of a document, whoever else does so too, and says in its leaf which it is.
async fn write_next(store: &PostgresStore, id: &str) {
    let key = DocumentKey {
        kind: "counter",
        tenant: tenant(1),
        id: id.to_owned(),
    };
    let mut found = 0;
    loop {
        let effects = Effects {
            record: RecordDraft {
                detail: Some(json(&(found + 1).to_string())),
                ..RecordDraft::default()
            },
            ..Effects::default()
        };
        let write = DocumentWrite {
            key: key.clone(),
            precondition: if found == 0 {
                Precondition::Absent
            } else {
                Precondition::Revision(found)
            },
            content: Some(DocumentContent {
                body: json("{}"),
                index: Vec::new(),
                expires_at: None,
            }),
        };
        match Documents::write(store, vec![write], effects).await {
            Ok(_) => return,
            Err(DocumentError::Precondition { found: now, .. }) => found = now,
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// What a call could know of stands before what the call leaves, with many writers and sequencers at the same time.
#[tokio::test]
async fn leaves_of_a_document_stand_in_the_order_of_its_revisions() {
    const WRITES: usize = 60;
    let place = Place::new().await;
    let stores = [place.open().await, place.open().await];
    let (ids, writers) = (["a", "b", "c"], 6);
    let writing = join_all((0..writers).map(|writer| {
        let store = &stores[writer % 2];
        async move {
            for turn in 0..WRITES / writers {
                write_next(store, ids[(writer + turn) % ids.len()]).await;
            }
        }
    }));
    let placing = async {
        while stores[0].sequence(2).await.unwrap().size < WRITES as u64 {
            stores[1].sequence(3).await.unwrap();
        }
    };
    join(writing, placing).await;
    let mut last = BTreeMap::new();
    for entry in AuditLog::read(&stores[0], 0, 1000).await.unwrap() {
        let leaf = Leaf::decode(&entry.leaf).unwrap();
        let revision: u64 = entry.detail.unwrap().body.as_str().parse().unwrap();
        let before = last.insert(leaf.resource.unwrap().id, revision).unwrap_or(0);
        assert_eq!(revision, before + 1);
    }
    assert_eq!(last.values().sum::<u64>(), WRITES as u64);
}
