//! What goes wrong: panics, full disks, read-only files, commits that fail.

use std::sync::Arc;

use arbiter_core::model::*;
use arbiter_core::ports::*;

use super::support::*;
use crate::error::Fault;
use crate::job::Job;
use crate::{SqliteStore, Writer};

struct Panicking;

impl Chooser for Panicking {
    fn choose(&self, _: &[Candidate], _: Timestamp) -> Vec<Option<Choice>> {
        panic!("a chooser's mistake")
    }
}

struct TooFew;

impl Chooser for TooFew {
    fn choose(&self, _: &[Candidate], _: Timestamp) -> Vec<Option<Choice>> {
        Vec::new()
    }
}

#[tokio::test]
async fn a_chooser_that_fails_takes_nothing_and_hurts_nobody() {
    let fixture = Fixture::new();
    submit(&fixture.store, vec![new_task(1)]).await;
    let lane = lane(&fixture.store).await;
    for chooser in [Arc::new(Panicking) as Arc<dyn Chooser>, Arc::new(TooFew)] {
        let error = fixture
            .store
            .claim(claim(lane, 1, 100, chooser))
            .await
            .expect_err("refused");
        assert!(!error.is_transient() && !error.may_have_applied(), "{error:?}");
    }
    assert_eq!(
        fixture
            .store
            .claim(claim(lane, 1, 101, to_agent()))
            .await
            .unwrap()
            .assigned
            .len(),
        1
    );
    assert_eq!(fixture.verify_log().await, 2);
}

/// A store without threads, whose groups the test puts together.
struct Parts {
    store: SqliteStore,
    writer: Writer,
    _folder: tempfile::TempDir,
}

fn parts() -> Parts {
    let fixture = Fixture::new();
    let Fixture {
        store,
        clock,
        config,
        folder,
    } = fixture;
    drop(store);
    let clock: Arc<dyn Clock> = clock;
    let rules = arbiter_core::lifecycle::Rules::default();
    let (store, writer, _queue) =
        SqliteStore::open_without_threads(&config, rules, clock, Arc::new(Zeros)).unwrap();
    Parts {
        store,
        writer,
        _folder: folder,
    }
}

struct Zeros;

impl Entropy for Zeros {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

type Answer<T> = tokio::sync::oneshot::Receiver<Result<T, StoreError>>;

fn submit_job(number: u64) -> (Job, Answer<Vec<Submitted>>) {
    let request = SubmitRequest {
        tasks: vec![new_task(number)],
        all_or_nothing: false,
    };
    Job::new("submit", 100, move |group| crate::submit::submit(group, &request))
}

/// Submits, and then fails in the given way.
fn failing_job(number: u64, panics: bool) -> (Job, Answer<()>) {
    let request = SubmitRequest {
        tasks: vec![new_task(number)],
        all_or_nothing: false,
    };
    Job::new("submit", 100, move |group| {
        crate::submit::submit(group, &request)?;
        assert!(!panics, "a mistake in the middle");
        Err(Fault::Misuse("a mistake at the end"))
    })
}

const NOW: Timestamp = Timestamp::from_micros(7_000_000);

#[tokio::test]
async fn a_job_that_fails_after_it_wrote_is_undone_alone() {
    for panics in [false, true] {
        let Parts {
            store,
            mut writer,
            _folder,
        } = parts();
        let (first, first_answer) = submit_job(1);
        let (bad, bad_answer) = failing_job(2, panics);
        let (last, last_answer) = submit_job(3);
        writer.run(vec![first, bad, last], NOW);
        assert!(first_answer.await.unwrap().is_ok());
        let error = bad_answer.await.unwrap().expect_err("failed");
        assert!(!error.is_transient() && !error.may_have_applied());
        assert!(last_answer.await.unwrap().is_ok());
        assert!(get(&store, 1).await.is_some() && get(&store, 3).await.is_some());
        assert!(get(&store, 2).await.is_none());
        assert_eq!(store.tally(TENANT).await.unwrap().queued, 2);
        assert_eq!(verify_log(&store).await, 2);
        // the undone task can be submitted after all
        let (again, answer) = submit_job(2);
        writer.run(vec![again], NOW);
        assert!(matches!(answer.await.unwrap().unwrap()[0], Submitted::Stored(_)));
        assert_eq!(verify_log(&store).await, 3);
    }
}

/// Changes a setting of the writer's connection.
fn pragma_job(name: &'static str, value: i64) -> (Job, Answer<()>) {
    Job::new("pragma", 0, move |group| {
        group.connection.pragma_update(None, name, value)?;
        Ok(())
    })
}

#[tokio::test]
async fn a_full_disk_fails_what_does_not_fit_and_the_store_goes_on() {
    let Parts {
        store,
        mut writer,
        _folder,
    } = parts();
    let (limit, answer) = pragma_job("max_page_count", 1);
    writer.run(vec![limit], NOW);
    answer.await.unwrap().unwrap();
    let big = |number: u64| {
        let mut spec = spec();
        spec.instructions = "x".repeat(90_000);
        let request = SubmitRequest {
            tasks: vec![NewTask {
                spec: Arc::new(spec),
                ..new_task(number)
            }],
            all_or_nothing: false,
        };
        Job::new("submit", 100_000, move |group| {
            crate::submit::submit(group, &request)
        })
    };
    let (job, answer) = big(1);
    writer.run(vec![job], NOW);
    let error = answer.await.unwrap().expect_err("no room");
    assert!(error.is_transient(), "{error:?}");
    assert!(get(&store, 1).await.is_none());
    // the connection was opened anew, without the limit
    let (job, answer) = big(2);
    let (small, small_answer) = submit_job(3);
    writer.run(vec![job, small], NOW);
    assert!(answer.await.unwrap().is_ok() && small_answer.await.unwrap().is_ok());
    assert_eq!(verify_log(&store).await, 2);
}

#[tokio::test]
async fn a_database_that_cannot_be_written_says_so_and_still_reads() {
    let Parts {
        store,
        mut writer,
        _folder,
    } = parts();
    let (job, answer) = submit_job(1);
    writer.run(vec![job], NOW);
    answer.await.unwrap().unwrap();
    let (limit, answer) = pragma_job("query_only", 1);
    writer.run(vec![limit], NOW);
    answer.await.unwrap().unwrap();
    let (job, answer) = submit_job(2);
    writer.run(vec![job], NOW);
    let error = answer.await.unwrap().expect_err("read-only");
    assert!(!error.is_transient() && !error.may_have_applied(), "{error:?}");
    assert!(get(&store, 1).await.is_some());
}

#[tokio::test]
async fn a_commit_that_fails_leaves_its_outcome_open() {
    let Parts {
        store,
        mut writer,
        _folder,
    } = parts();
    let (hook, answer) = Job::new("hook", 0, |group| {
        // makes every further commit of this connection fail
        group.connection.execute_batch(
            "CREATE TEMP TABLE parent (a INTEGER PRIMARY KEY);
             CREATE TEMP TABLE child (a REFERENCES parent (a) DEFERRABLE INITIALLY DEFERRED);",
        )?;
        Ok(())
    });
    writer.run(vec![hook], NOW);
    answer.await.unwrap().unwrap();
    // outside of a transaction, where the setting has an effect
    writer
        .connection()
        .unwrap()
        .pragma_update(None, "foreign_keys", true)
        .unwrap();
    let (orphan, orphan_answer) = Job::new("orphan", 0, |group| {
        group
            .connection
            .execute_batch("INSERT INTO temp.child VALUES (1)")?;
        Ok(())
    });
    let (job, answer) = submit_job(1);
    writer.run(vec![job, orphan], NOW);
    for error in [
        answer.await.unwrap().expect_err("unknown"),
        orphan_answer.await.unwrap().expect_err("unknown"),
    ] {
        assert!(error.may_have_applied(), "{error:?}");
    }
    assert!(get(&store, 1).await.is_none());
    let (again, answer) = submit_job(1);
    writer.run(vec![again], NOW);
    assert!(matches!(answer.await.unwrap().unwrap()[0], Submitted::Stored(_)));
    assert_eq!(verify_log(&store).await, 1);
}

#[tokio::test]
async fn a_full_queue_tells_its_callers_to_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = crate::SqliteConfig::new(folder.path());
    config.queue = 1;
    let clock: Arc<dyn Clock> = Arc::new(StandingClock(std::sync::atomic::AtomicI64::new(1)));
    let rules = arbiter_core::lifecycle::Rules::default();
    let (store, mut writer, mut queue) =
        SqliteStore::open_without_threads(&config, rules, clock, Arc::new(Zeros)).unwrap();
    let store = Arc::new(store);
    let mut first = std::pin::pin!(store.due(1));
    assert!(
        std::future::poll_fn(|context| std::task::Poll::Ready(first.as_mut().poll(context).is_pending()))
            .await
    );
    let error = store.due(1).await.expect_err("full");
    assert!(matches!(error, StoreError::Busy { .. }), "{error:?}");
    writer.run(queue.next_group().await.unwrap(), NOW);
    first.await.unwrap();
    assert!(queue.try_group().is_empty());
}

#[tokio::test]
async fn dropping_a_callers_future_does_not_stop_the_commit() {
    let fixture = Fixture::new();
    {
        let request = SubmitRequest {
            tasks: vec![new_task(1)],
            all_or_nothing: false,
        };
        let mut call = std::pin::pin!(fixture.store.submit(request));
        let _ =
            std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context).is_pending()))
                .await;
    }
    // the writer takes calls in order: the next answer comes after the first call's commit
    assert_eq!(
        submit(&fixture.store, vec![new_task(1)]).await,
        [Submitted::Known(task_id(1))]
    );
}
