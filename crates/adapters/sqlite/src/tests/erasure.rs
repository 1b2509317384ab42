//! What is erased is in no file of the store any more.

use std::time::Duration;

use arbiter_core::lifecycle::{Command, Expect, RetryPlan};
use arbiter_core::model::*;
use arbiter_core::ports::*;

use super::support::*;

/// Text that is looked for in the files: long enough to spill over several pages.
fn canary(number: u64) -> String {
    format!("canary-{number:04}-").repeat(800)
}

/// Each file of the store that has the beginning of a canary, with how often.
fn hits(fixture: &Fixture) -> Vec<(String, usize)> {
    hits_in(fixture.folder.path())
}

fn hits_in(folder: &std::path::Path) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let count = bytes.windows(7).filter(|window| window == b"canary-").count();
            if count > 0 {
                found.push((path.file_name().unwrap().to_string_lossy().into_owned(), count));
            }
        }
    }
    found
}

fn secret_task(number: u64) -> NewTask {
    let mut spec = spec();
    spec.instructions = canary(number);
    let detail = Json::of(&serde_json::json!({ "why": canary(number) }));
    NewTask {
        spec: std::sync::Arc::new(spec),
        effects: Effects::of(draft().with_detail(detail)),
        ..new_task(number)
    }
}

/// Fills the store with what is to be erased: specifications, progress that is told again and again, outputs, details
/// of the audit log, documents.
async fn fill(fixture: &Fixture) {
    let store = &fixture.store;
    for number in 1..=20 {
        submit(store, vec![secret_task(number)]).await;
    }
    let lane = lane(store).await;
    let claimed = store.claim(claim(lane, 20, 900, to_agent())).await.unwrap();
    assert_eq!(claimed.assigned.len(), 20);
    for round in 0..5 {
        for number in 1..=20 {
            let told = LeaseRef {
                task: task_id(number),
                tenant: TENANT,
                fence: Fence(1),
                holder: Holder::Agent(AGENT),
                progress: Some(Progress {
                    at: Timestamp::from_micros(0),
                    fraction: None,
                    message: format!("canary-{round} of {number}"),
                }),
                usage: None,
                not_enforced: None,
            };
            store.extend(vec![told]).await.unwrap();
        }
    }
    for number in 1..=20 {
        let action = if number % 2 == 0 {
            Command::Report(Box::new(Report {
                output: Some(Json::of(&serde_json::json!({ "text": canary(number) }))),
                ..Report::default()
            }))
        } else {
            Command::Fail {
                failure: Failure {
                    class: FailureClass::Agent,
                    code: None,
                    message: canary(number),
                    usage: Usage::default(),
                    not_enforced: None,
                },
                plan: RetryPlan::DeadLetter(DeadReason::Poison),
            }
        };
        let done = store
            .apply(vec![transition(number, 1000 + number, lease(1), action)])
            .await;
        done.unwrap().remove(0).unwrap();
    }
    for number in 1..=20 {
        let write = DocumentWrite {
            key: DocumentKey {
                kind: "hook",
                tenant: TENANT,
                id: number.to_string(),
            },
            precondition: Precondition::Any,
            content: Some(DocumentContent {
                body: Json::of(&serde_json::json!({ "url": canary(number) })),
                index: vec![("url", format!("canary-{number}"))],
                expires_at: None,
            }),
        };
        for _ in 0..2 {
            Documents::write(&**store, vec![write.clone()], Effects::default())
                .await
                .unwrap();
        }
    }
}

async fn erase(fixture: &Fixture) {
    let store = &fixture.store;
    let purge = Retention {
        keyed_before: None,
        which: Purge::Tenant(TENANT),
        limit: 100,
        effects: Effects::default(),
    };
    assert_eq!(store.purge(purge).await.unwrap(), 20);
    let clearance = Clearance {
        which: Cleared::Tenant {
            tenant: TENANT,
            keep: Vec::new(),
        },
        told: TENANT,
        limit: 100,
        effects: Effects::default(),
    };
    assert_eq!(Documents::clear(&**store, clearance).await.unwrap(), 20);
    let rule = Seal {
        scope: TenantScope::Tenant(TENANT),
        before: None,
        about: None,
        submitted_by: None,
        told: TENANT,
        from: 0,
        limit: 10_000,
    };
    let sealed = store.seal(rule, RecordDraft::default()).await.unwrap();
    assert!(sealed.removed >= 20 && sealed.next.is_none(), "{sealed:?}");
}

#[tokio::test]
async fn what_is_erased_is_in_no_file_any_more() {
    let fixture = Fixture::new();
    fill(&fixture).await;
    assert!(!hits(&fixture).is_empty(), "there is something to erase");
    erase(&fixture).await;
    assert_eq!(hits(&fixture), []);
    fixture.verify_log().await;
}

#[tokio::test]
async fn a_reader_only_delays_the_emptying_of_the_log() {
    let fixture = Fixture::new();
    fill(&fixture).await;
    let reader = rusqlite::Connection::open(fixture.config.database()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM task;").unwrap();
    erase(&fixture).await;
    drop(reader);
    // A commit after a while tries again, if the idle writer has not.
    fixture.advance(Duration::from_secs(1));
    submit(&fixture.store, vec![new_task(77)]).await;
    assert_eq!(hits(&fixture), []);
    let cancel = Command::Cancel { why: "done".into() };
    let left = fixture
        .store
        .apply(vec![transition(77, 5000, Expect::Any, cancel)])
        .await;
    left.unwrap().remove(0).unwrap();
    fixture.verify_log().await;
}

#[tokio::test]
async fn what_was_erased_before_a_crash_is_in_no_file_after_the_next_start() {
    let fixture = Fixture::new();
    fill(&fixture).await;
    let reader = rusqlite::Connection::open(fixture.config.database()).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM task;").unwrap();
    erase(&fixture).await;
    // As a crash leaves it while the reader is in the way.
    let left = tempfile::tempdir().unwrap();
    for name in ["arbiter.db", "arbiter.db-wal"] {
        std::fs::copy(fixture.folder.path().join(name), left.path().join(name)).unwrap();
    }
    assert!(!hits_in(left.path()).is_empty(), "the log of writes has it yet");
    let store = open(&crate::SqliteConfig::new(left.path()), &fixture.clock);
    submit(&store, vec![new_task(77)]).await;
    assert_eq!(hits_in(left.path()), []);
}
