//! Services start in order, stop in reverse, and come back when they crash.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use arbiter_core::ports::BoxError;
use arbiter_orchestration::Stop;
use arbiter_orchestration::supervisor::{Service, Standing, Supervisor, SupervisorPorts};
use arbiter_testkit::{ManualClock, RecordingMetrics, TestSpawner};
use async_trait::async_trait;
use tokio::sync::Notify;

use crate::given::{millis, seconds};
use crate::watch::lock;

type Journal = Arc<Mutex<Vec<String>>>;

/// A service that writes down what happens to it.
struct Told {
    name: &'static str,
    journal: Journal,
    /// So many of its starts fail, from the second on where `first_works`.
    fails: AtomicU32,
    first_works: bool,
    crash: Notify,
    /// Does not hear that it is to stop.
    deaf: bool,
}

impl Told {
    fn new(name: &'static str, journal: &Journal) -> Self {
        Self {
            name,
            journal: Arc::clone(journal),
            fails: AtomicU32::new(0),
            first_works: false,
            crash: Notify::new(),
            deaf: false,
        }
    }

    fn note(&self, what: &str) {
        lock(&self.journal).push(format!("{} {what}", self.name));
    }
}

#[async_trait]
impl Service for Told {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn start(&self) -> Result<(), BoxError> {
        let first = self.first_works && !lock(&self.journal).contains(&format!("{} starts", self.name));
        self.note("starts");
        let left = self.fails.load(Ordering::Relaxed);
        if left > 0 && !first {
            self.fails.store(left - 1, Ordering::Relaxed);
            return Err("it is broken".into());
        }
        Ok(())
    }

    async fn run(&self, stop: Stop) {
        self.note("runs");
        tokio::select! {
            biased;
            () = self.crash.notified() => panic!("it crashes"),
            () = async {
                if self.deaf {
                    std::future::pending::<()>().await;
                }
                stop.wait().await;
            } => {}
        }
        self.note("ends");
    }
}

struct Stage {
    clock: Arc<ManualClock>,
    metrics: Arc<RecordingMetrics>,
    journal: Journal,
}

impl Stage {
    fn new() -> Self {
        Self {
            clock: Arc::new(ManualClock::new()),
            metrics: Arc::new(RecordingMetrics::new()),
            journal: Journal::default(),
        }
    }

    fn ports(&self) -> SupervisorPorts {
        SupervisorPorts {
            spawner: Arc::new(TestSpawner),
            clock: Arc::clone(&self.clock) as _,
            metrics: Arc::clone(&self.metrics) as _,
        }
    }

    async fn pass(&self, by: std::time::Duration) {
        turns().await;
        self.clock.advance(by);
        turns().await;
    }

    fn told(&self) -> Vec<String> {
        lock(&self.journal).clone()
    }
}

async fn turns() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn standing(supervisor: &Supervisor) -> Vec<Standing> {
    (supervisor.states())()
        .iter()
        .map(|state| state.standing)
        .collect()
}

#[tokio::test]
async fn services_start_in_order_and_stop_in_reverse() {
    let stage = Stage::new();
    let services = ["a", "b", "c"].map(|name| Arc::new(Told::new(name, &stage.journal)) as Arc<dyn Service>);
    let supervisor = Supervisor::start(stage.ports(), services.into(), seconds(5))
        .await
        .expect("started");
    turns().await;
    assert_eq!(standing(&supervisor), [Standing::Running; 3]);
    let states = supervisor.states();
    assert_eq!(supervisor.stop(seconds(5)).await, Vec::<&str>::new());
    let starts: Vec<_> = stage
        .told()
        .into_iter()
        .filter(|line| line.ends_with("starts"))
        .collect();
    assert_eq!(starts, ["a starts", "b starts", "c starts"]);
    let ends: Vec<_> = stage
        .told()
        .into_iter()
        .filter(|line| line.ends_with("ends"))
        .collect();
    assert_eq!(ends, ["c ends", "b ends", "a ends"]);
    assert!(states().iter().all(|state| state.standing == Standing::Stopped));
}

#[tokio::test]
async fn a_start_that_fails_is_undone_for_each_service_in_turn() {
    for broken in 0..3 {
        let stage = Stage::new();
        let names = ["a", "b", "c"];
        let services = names.iter().enumerate().map(|(number, name)| {
            let told = Told::new(name, &stage.journal);
            told.fails.store(u32::from(number == broken), Ordering::Relaxed);
            Arc::new(told) as Arc<dyn Service>
        });
        let failed = Supervisor::start(stage.ports(), services.collect(), seconds(5)).await;
        let error = failed.expect_err("it does not start");
        assert_eq!(
            (error.service, error.source.to_string()),
            (names[broken], "it is broken".to_owned())
        );
        let told = stage.told();
        let ended: Vec<_> = told
            .iter()
            .filter_map(|line| line.strip_suffix(" ends"))
            .collect();
        let before: Vec<_> = names[..broken].iter().rev().copied().collect();
        // One that was told to stop before its first turn never ran.
        let ran: Vec<_> = before
            .iter()
            .copied()
            .filter(|name| told.contains(&format!("{name} runs")))
            .collect();
        assert_eq!(ended, ran, "those before it ended in reverse order");
        assert!(
            names[broken + 1..]
                .iter()
                .all(|name| !told.contains(&format!("{name} starts")))
        );
    }
}

#[tokio::test]
async fn a_service_that_crashes_comes_back_after_longer_and_longer_waits() {
    let stage = Stage::new();
    let told = Arc::new(Told {
        first_works: true,
        fails: AtomicU32::new(1),
        ..Told::new("a", &stage.journal)
    });
    let supervisor = Supervisor::start(stage.ports(), vec![Arc::clone(&told) as _], seconds(5))
        .await
        .expect("started");
    turns().await;
    told.crash.notify_one();
    turns().await;
    assert_eq!(standing(&supervisor), [Standing::Restarting { crashes: 1 }]);
    stage.pass(millis(100)).await;
    assert_eq!(
        standing(&supervisor),
        [Standing::Restarting { crashes: 2 }],
        "its second start failed"
    );
    stage.pass(millis(100)).await;
    assert_eq!(standing(&supervisor), [Standing::Restarting { crashes: 2 }]);
    stage.pass(millis(100)).await;
    assert_eq!(standing(&supervisor), [Standing::Running]);
    assert_eq!(
        stage
            .metrics
            .counter("supervisor.restarts_total", &[("service", "a")]),
        1
    );
    supervisor.stop(seconds(5)).await;
    assert_eq!(
        stage.told(),
        ["a starts", "a runs", "a starts", "a starts", "a runs", "a ends"]
    );
}

#[tokio::test]
async fn a_service_that_does_not_end_in_time_is_cut_off() {
    let stage = Stage::new();
    let deaf = Arc::new(Told {
        deaf: true,
        ..Told::new("deaf", &stage.journal)
    });
    let first = Arc::new(Told::new("first", &stage.journal));
    let supervisor = Supervisor::start(stage.ports(), vec![first as _, deaf as _], seconds(5))
        .await
        .expect("started");
    turns().await;
    let stopping = supervisor.stop(seconds(5));
    let (overdue, ()) = tokio::join!(stopping, stage.pass(seconds(5)));
    assert_eq!(overdue, ["deaf"]);
    assert_eq!(stage.told().last().map(String::as_str), Some("first ends"));
}
