//! What is old enough goes, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_inmem::InMemoryStore;
use arbiter_core::lifecycle::{Command, Expect, Rules};
use arbiter_core::model::{Json, RecordDraft, TaskId, TenantScope};
use arbiter_core::ports::{AuditLog, Effects, LeaseStore, TaskReader, TaskStore};
use arbiter_orchestration::{RetentionSweep, Stopper, Swept};
use arbiter_testkit::builders::{new_task, node, submit_each, task, transition};
use arbiter_testkit::{ManualClock, RecordingMetrics, SeededEntropy};

const DAY: Duration = Duration::from_hours(24);

struct Bench {
    clock: Arc<ManualClock>,
    store: Arc<InMemoryStore>,
    metrics: Arc<RecordingMetrics>,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let entropy = Arc::new(SeededEntropy::new(1));
        let store = InMemoryStore::new(Rules::default(), Arc::clone(&clock) as _, entropy);
        Self {
            clock,
            store: Arc::new(store),
            metrics: Arc::new(RecordingMetrics::new()),
        }
    }

    async fn sweep(&self, tasks: Option<Duration>, details: Option<Duration>) -> Swept {
        let sweep = RetentionSweep {
            store: Arc::clone(&self.store) as _,
            audit: Arc::clone(&self.store) as _,
            clock: Arc::clone(&self.clock) as _,
            metrics: Arc::clone(&self.metrics) as _,
            tasks,
            details,
            turn: None,
        };
        let stopper = Stopper::default();
        sweep.sweep(&stopper.signal()).await.expect("a sweep")
    }

    /// A task that is cancelled at once, with a detail in the audit log.
    async fn closed(&self, number: u64) {
        let store: &dyn TaskStore = &*self.store;
        store
            .submit(submit_each([new_task(number)]))
            .await
            .expect("submit");
        let why = "because".to_owned();
        let mut cancel = transition(10_000 + number, task(number), Command::Cancel { why });
        cancel.expect = Expect::Any;
        let detail = Json::of(&serde_json::json!({"reason": "because"}));
        cancel.effects = Effects::of(RecordDraft::default().with_detail(detail));
        store
            .apply(vec![cancel])
            .await
            .expect("apply")
            .remove(0)
            .expect("done");
    }

    async fn is_there(&self, id: TaskId) -> bool {
        let reader: &dyn TaskReader = &*self.store;
        let found = reader.get(TenantScope::All, &[id]).await.expect("get");
        found[0].is_some()
    }

    async fn details(&self) -> usize {
        let entries = self.store.read(0, 10_000).await.expect("read");
        entries.iter().filter(|entry| entry.detail.is_some()).count()
    }
}

/// Runs a sweep until it waits for its next round, and stops it.
async fn one_round(sweep: &RetentionSweep, stopper: &Stopper) {
    let mut run = Box::pin(sweep.run(stopper.signal()));
    for _ in 0..100 {
        assert!(futures_util::poll!(run.as_mut()).is_pending());
    }
    stopper.stop();
    run.await;
}

#[tokio::test]
async fn closed_tasks_and_details_go_at_their_age_and_not_before() {
    let bench = Bench::new();
    bench.closed(1).await;
    bench.clock.advance(DAY);
    bench.closed(2).await;
    bench.clock.advance(DAY);
    let two = Some(DAY * 2);
    assert_eq!(bench.sweep(two, two).await, Swept::default());
    bench.clock.advance(Duration::from_micros(1));
    let first = Swept { tasks: 1, details: 1 };
    assert_eq!(bench.sweep(two, two).await, first);
    assert_eq!(
        (bench.is_there(task(1)).await, bench.is_there(task(2)).await),
        (false, true)
    );
    assert_eq!(bench.details().await, 1);
    assert_eq!(
        bench.sweep(two, two).await,
        Swept::default(),
        "a repeat finds nothing"
    );
    assert_eq!(bench.metrics.total("retention.tasks_purged_total"), 1);
    assert_eq!(bench.metrics.total("retention.details_sealed_total"), 1);
}

#[tokio::test]
async fn what_has_no_age_is_kept_for_good_and_a_task_at_least_a_day() {
    let bench = Bench::new();
    bench.closed(1).await;
    bench.clock.advance(DAY * 10_000);
    assert_eq!(bench.sweep(None, None).await, Swept::default());
    bench.closed(2).await;
    bench.clock.advance(DAY / 2);
    let done = bench.sweep(Some(Duration::ZERO), None).await;
    assert_eq!(
        done,
        Swept { tasks: 1, details: 0 },
        "idempotency keys hold for a day"
    );
    assert!(bench.is_there(task(2)).await);
    assert_eq!(bench.details().await, 2);
}

#[tokio::test]
async fn a_sweep_goes_on_until_nothing_is_left() {
    let bench = Bench::new();
    for number in 1..=1_200 {
        bench.closed(number).await;
    }
    bench.clock.advance(DAY * 2);
    let swept = bench.sweep(Some(DAY), Some(DAY)).await;
    assert_eq!(
        swept,
        Swept {
            tasks: 1_200,
            details: 1_200
        }
    );
}

#[tokio::test]
async fn where_nodes_share_a_store_one_of_them_sweeps() {
    let bench = Bench::new();
    bench.closed(1).await;
    bench.clock.advance(DAY * 2);
    let sweep = |number| RetentionSweep {
        store: Arc::clone(&bench.store) as _,
        audit: Arc::clone(&bench.store) as _,
        clock: Arc::clone(&bench.clock) as _,
        metrics: Arc::clone(&bench.metrics) as _,
        tasks: Some(DAY),
        details: None,
        turn: Some((Arc::clone(&bench.store) as _, node(number))),
    };
    // another node has the turn: this one leaves everything as it is, and stops when it is told to
    let leases: &dyn LeaseStore = &*bench.store;
    let taken = leases.take("retention", node(9), Duration::from_hours(1)).await;
    assert!(taken.expect("a lease").is_some());
    let stopper = Stopper::default();
    one_round(&sweep(1), &stopper).await;
    assert!(bench.is_there(task(1)).await);
    leases.give_back("retention", node(9)).await.expect("given back");
    let stopper = Stopper::default();
    one_round(&sweep(1), &stopper).await;
    assert!(!bench.is_there(task(1)).await);
    let free = leases.take("retention", node(2), Duration::from_hours(1)).await;
    assert!(
        free.expect("a lease").is_some(),
        "a node that stops gives its turn back"
    );
}
