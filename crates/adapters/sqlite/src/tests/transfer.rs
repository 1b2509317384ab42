//! A database that is made of the rows of another one. What every kind of row becomes is tested with both kinds of stores.

use std::path::Path;
use std::sync::Arc;

use arbiter_core::lifecycle::Rules;
use arbiter_core::ports::{AuditTree as _, TaskReader as _, TaskStore as _};
use arbiter_testkit::builders::{new_task, submit_each, task};
use arbiter_testkit::{ManualClock, SeededEntropy};
use arbiter_wire::transfer::TransferError;
use tokio::sync::mpsc::channel;

use crate::{SqliteConfig, SqliteStore, import};

fn open(folder: &Path) -> SqliteStore {
    let (clock, entropy) = (Arc::new(ManualClock::new()), Arc::new(SeededEntropy::new(1)));
    SqliteStore::open(&SqliteConfig::new(folder), Rules::default(), clock, entropy).unwrap()
}

#[tokio::test]
async fn rows_of_one_snapshot_make_another_database() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("one"));
    let tasks = (1..=700).map(new_task).collect::<Vec<_>>();
    store.submit(submit_each(tasks)).await.unwrap();
    std::fs::create_dir(folder.path().join("two")).unwrap();
    let config = SqliteConfig::new(folder.path().join("two"));
    let (rows, taken) = channel(1);
    let head = store.head().await.unwrap();
    let (exported, imported) = tokio::join!(store.export(rows), import(config.database(), taken));
    exported.unwrap();
    assert_eq!(imported.unwrap(), head);
    let names: Vec<_> = std::fs::read_dir(&config.directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["arbiter.db"], "one file");
    let copy = open(&config.directory);
    assert_eq!(copy.head().await.unwrap(), head);
    let ids: Vec<_> = (1..=700).map(task).collect();
    let scope = arbiter_core::model::TenantScope::All;
    let (one, two) = (
        store.get(scope, &ids).await.unwrap(),
        copy.get(scope, &ids).await.unwrap(),
    );
    assert!(one.iter().all(Option::is_some));
    assert_eq!(one, two);
    let (_no_rows, none) = channel(1);
    let refused = import(config.database(), none).await;
    assert!(
        matches!(refused, Err(TransferError::NotEmpty { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn an_export_that_nobody_takes_ends() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.submit(submit_each([new_task(1)])).await.unwrap();
    let (rows, taken) = channel(1);
    drop(taken);
    let unwanted = store.export(rows).await;
    assert!(matches!(unwanted, Err(TransferError::Unwanted)), "{unwanted:?}");
}

#[tokio::test]
async fn a_key_that_does_not_lead_to_its_task_stops_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut keyed = new_task(1);
    keyed.idempotency = Some(arbiter_testkit::builders::idempotency("key", "content"));
    store.submit(submit_each([keyed])).await.unwrap();
    let other = rusqlite::Connection::open(SqliteConfig::new(folder.path()).database()).unwrap();
    other.execute("DELETE FROM idempotency", []).unwrap();
    let (rows, mut taken) = channel(1);
    let (exported, ended) = tokio::join!(store.export(rows), async {
        let mut ended = false;
        while let Some(rows) = taken.recv().await {
            ended |= matches!(rows, arbiter_wire::transfer::Rows::End(_));
        }
        ended
    });
    assert!(matches!(exported, Err(TransferError::Store(_))), "{exported:?}");
    assert!(!ended, "what is not whole has no end");
}
