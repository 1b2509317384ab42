//! Files that end in the middle of a write: what was committed in the part that is there, is there.

use arbiter_core::ports::*;

use super::support::*;
use crate::SqliteConfig;

/// The lengths of the write-ahead log after each commit, with the database that it belongs to.
struct Recorded {
    fixture: Fixture,
    lengths: Vec<u64>,
}

async fn record(commits: u64) -> Recorded {
    let fixture = Fixture::new();
    let mut lengths = Vec::new();
    let log = fixture.config.database().with_extension("db-wal");
    for number in 1..=commits {
        submit(&fixture.store, vec![new_task(number)]).await;
        lengths.push(std::fs::metadata(&log).unwrap().len());
    }
    Recorded { fixture, lengths }
}

#[tokio::test]
async fn a_log_cut_anywhere_keeps_every_commit_before_the_cut() {
    let Recorded { fixture, lengths } = record(30).await;
    let database = std::fs::read(fixture.config.database()).unwrap();
    let log = std::fs::read(fixture.config.database().with_extension("db-wal")).unwrap();
    // cuts at, just before and just after each commit, and inside frames
    let mut cuts: Vec<usize> = lengths
        .iter()
        .flat_map(|length| {
            let length = *length as usize;
            [length - 4097, length - 1, length, length + 1, length + 2000]
        })
        .filter(|cut| *cut <= log.len())
        .collect();
    cuts.sort_unstable();
    for cut in cuts {
        let folder = tempfile::tempdir().unwrap();
        let config = SqliteConfig::new(folder.path());
        std::fs::write(config.database(), &database).unwrap();
        std::fs::write(config.database().with_extension("db-wal"), &log[..cut]).unwrap();
        let store = open(&config, &fixture.clock);
        let committed = lengths.iter().filter(|length| **length as usize <= cut).count() as u64;
        for number in 1..=30 {
            let found = get(&store, number).await.is_some();
            assert_eq!(found, number <= committed, "task {number}, cut {cut}");
        }
        assert_eq!(verify_log(&store).await, committed, "cut {cut}");
        assert_eq!(store.tally(TENANT).await.unwrap().queued, committed);
        // and the store goes on from there
        submit(&store, vec![new_task(99)]).await;
        assert_eq!(verify_log(&store).await, committed + 1);
        store.close().await;
    }
}

#[tokio::test]
async fn a_process_that_dies_loses_nothing_that_was_answered() {
    let Recorded { fixture, .. } = record(5).await;
    // what the file system has at the moment of death: no checkpoint, no orderly end
    let folder = tempfile::tempdir().unwrap();
    for name in ["arbiter.db", "arbiter.db-wal"] {
        std::fs::copy(fixture.folder.path().join(name), folder.path().join(name)).unwrap();
    }
    let store = open(&SqliteConfig::new(folder.path()), &fixture.clock);
    for number in 1..=5 {
        assert!(get(&store, number).await.is_some());
    }
    assert_eq!(verify_log(&store).await, 5);
}

#[tokio::test]
async fn a_changed_audit_hash_is_found_at_the_next_start() {
    let Recorded { fixture, .. } = record(3).await;
    fixture.store.close().await;
    let connection = rusqlite::Connection::open(fixture.config.database()).unwrap();
    connection
        .execute("UPDATE audit_batch SET hashes = zeroblob(32) WHERE first = 1", [])
        .unwrap();
    drop(connection);
    let clock: std::sync::Arc<dyn Clock> = fixture.clock.clone();
    let rules = arbiter_core::lifecycle::Rules::default();
    let opened = crate::SqliteStore::open(&fixture.config, rules, clock, std::sync::Arc::new(Silent));
    assert!(
        matches!(opened, Err(crate::OpenError::AuditLog { .. })),
        "{opened:?}"
    );
}

struct Silent;

impl Entropy for Silent {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(1);
    }
}
