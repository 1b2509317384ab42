//! Copies that are made while the store is in use, and looks at databases.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arbiter_core::lifecycle::Rules;
use arbiter_core::model::TenantScope;
use arbiter_core::ports::{AuditTree as _, TaskReader as _, TaskStore as _};
use arbiter_testkit::builders::{new_task, submit_each, task};
use arbiter_testkit::{ManualClock, SeededEntropy};

use crate::{SqliteConfig, SqliteStore, inspect};

fn open(config: &SqliteConfig) -> SqliteStore {
    let clock = Arc::new(ManualClock::new());
    SqliteStore::open(config, Rules::default(), clock, Arc::new(SeededEntropy::new(1))).unwrap()
}

#[tokio::test]
async fn a_copy_holds_what_was_answered_before_while_writes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&SqliteConfig::new(folder.path().join("live")));
    for number in 1..=50 {
        store.submit(submit_each([new_task(number)])).await.unwrap();
    }
    let before = store.head().await.unwrap();
    let config = SqliteConfig::new(folder.path().join("copy"));
    std::fs::create_dir(folder.path().join("copy")).unwrap();
    let copied = AtomicBool::new(false);
    let writing = async {
        let mut number = 51;
        while !copied.load(Ordering::Relaxed) {
            store.submit(submit_each([new_task(number)])).await.unwrap();
            number += 1;
        }
        number
    };
    let copying = async {
        let head = store.backup(config.database()).await.unwrap();
        copied.store(true, Ordering::Relaxed);
        head
    };
    let (end, head) = tokio::join!(writing, copying);
    assert!(head.size >= before.size);
    let names: Vec<_> = std::fs::read_dir(folder.path().join("copy"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["arbiter.db"], "one file");
    let copy = open(&config);
    assert_eq!(copy.head().await.unwrap(), head);
    let ids: Vec<_> = (1..end).map(task).collect();
    let found = copy.get(TenantScope::All, &ids).await.unwrap();
    let there = found.iter().take_while(|found| found.is_some()).count();
    assert!(there >= 50 && found[there..].iter().all(Option::is_none));
    assert_eq!(
        there as u64, head.size,
        "each task has its leaf, and each leaf its task"
    );
}

#[tokio::test]
async fn a_copy_into_a_folder_that_is_not_there_fails() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&SqliteConfig::new(folder.path()));
    let failed = store.backup(folder.path().join("absent/copy.db")).await;
    assert!(failed.is_err(), "{failed:?}");
}

#[tokio::test]
async fn a_look_tells_of_the_log_while_it_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig::new(folder.path());
    assert!(inspect(&config).is_err(), "there is none");
    assert!(!config.database().exists(), "and none is made");
    let store = open(&config);
    store
        .submit(submit_each([new_task(1), new_task(2)]))
        .await
        .unwrap();
    let signed = store.head().await.unwrap();
    store.publish(signed, "a note").await.unwrap();
    store.submit(submit_each([new_task(3)])).await.unwrap();
    let found = inspect(&config).unwrap();
    assert_eq!(found.damage, Vec::<String>::new());
    assert_eq!(found.head, Ok(store.head().await.unwrap()));
    assert_eq!(found.published, Some((signed, "a note".to_owned())));
    assert_eq!((found.continues, found.newest.is_some()), (Ok(()), true));
    let other = arbiter_core::ports::TreeHead {
        root: arbiter_core::model::Digest::of(b"another"),
        ..store.head().await.unwrap()
    };
    store.publish(other, "another note").await.unwrap();
    assert!(inspect(&config).unwrap().continues.is_err());
}

#[tokio::test]
async fn damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let config = SqliteConfig::new(folder.path());
    let store = open(&config);
    for number in 1..=50 {
        store.submit(submit_each([new_task(number)])).await.unwrap();
    }
    store.close().await;
    let mut bytes = std::fs::read(config.database()).unwrap();
    for byte in bytes.iter_mut().skip(4096) {
        *byte = 0x5a;
    }
    std::fs::write(config.database(), bytes).unwrap();
    let found = inspect(&config);
    let told = found
        .as_ref()
        .map_or(true, |found| !found.damage.is_empty() || found.head.is_err());
    assert!(told, "{found:?}");
}
