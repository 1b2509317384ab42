//! What is chosen from is what the registry knows, heartbeats included.
#![expect(clippy::expect_used, reason = "helpers of tests fail the test")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbiter_adapter_inmem::InMemoryStore;
use arbiter_allocation::{Allocation, NoAgent, Question, Settings};
use arbiter_core::lifecycle::Rules;
use arbiter_core::model::{
    AgentBeat, AgentId, AgentMode, Budget, Priority, RecordDraft, Requires, SecurityLevel, Shape,
};
use arbiter_core::ports::{AgentRegistry as _, Clock as _, RegistryError};
use arbiter_core::services::{Allocator as _, Offer};
use arbiter_testkit::builders::{agent, kind, profile, tenant};
use arbiter_testkit::faulty::FaultyRegistry;
use arbiter_testkit::{ManualClock, RecordingMetrics, SeededEntropy, SeededIds};

struct Bench {
    clock: Arc<ManualClock>,
    store: Arc<InMemoryStore>,
    metrics: Arc<RecordingMetrics>,
    allocation: Allocation,
    /// The calls of the registry that are answered; after them comes one that fails.
    answered: Arc<Mutex<VecDeque<&'static str>>>,
}

impl Bench {
    /// Agent 1 is registered.
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let store = Arc::new(InMemoryStore::new(
            Rules::default(),
            Arc::clone(&clock) as _,
            Arc::new(SeededEntropy::new(1)),
        ));
        let metrics = Arc::new(RecordingMetrics::new());
        let answered = Arc::new(Mutex::new(VecDeque::new()));
        let script = Arc::clone(&answered);
        let registry = FaultyRegistry::new(Arc::clone(&store) as _, move |call, _| {
            let next = script.lock().expect("lock").pop_front();
            next.filter(|next| *next != call)
                .map(|_| FaultyRegistry::away(call))
        });
        let allocation = Allocation::new(
            Settings::default(),
            Arc::new(registry),
            Arc::clone(&metrics) as _,
            Arc::clone(&clock) as _,
            Arc::new(SeededEntropy::new(2)),
            Arc::new(SeededIds::new(3)),
        );
        store
            .register(profile(1), RecordDraft::default())
            .await
            .expect("registered");
        let bench = Self {
            clock,
            store,
            metrics,
            allocation,
            answered,
        };
        bench.refresh().await;
        bench
    }

    async fn refresh(&self) {
        self.allocation.refresh().await.expect("refreshed");
    }

    /// Reads the registry, which answers these calls and then fails.
    async fn refresh_in_part(&self, answered: &[&'static str]) {
        let script = answered.iter().copied().chain(["nothing"]);
        *self.answered.lock().expect("lock") = script.collect();
        let read = self.allocation.refresh().await;
        assert!(matches!(read, Err(RegistryError::Unavailable { .. })), "{read:?}");
        assert!(self.answered.lock().expect("lock").is_empty(), "all were asked");
    }

    async fn register_many(&self, numbers: std::ops::RangeInclusive<u64>) {
        for number in numbers {
            let registered = self.store.register(profile(number), RecordDraft::default()).await;
            registered.expect("registered");
        }
    }

    async fn beat(&self, able: bool) {
        assert_eq!(self.store.beat(vec![beat(able)]).await.expect("noted"), []);
        self.refresh().await;
    }

    /// Whether agent 1 could get a task, by its heartbeats alone.
    fn found(&self) -> Result<Vec<AgentId>, NoAgent> {
        let explained = self.allocation.explain(&Question {
            tenant: tenant(1),
            shape: &shape(),
            priority: Priority::NORMAL,
            budget: Budget::default(),
            deadline: None,
            offers: &[offer()],
            running: &[],
            only_offered: false,
        });
        explained
            .agents
            .map(|found| found.into_iter().map(|one| one.agent).collect())
    }

    fn available(&self) -> Option<f64> {
        self.metrics
            .last_gauge("agent_registry.available_agents", &[("kind", kind().as_str())])
    }
}

fn shape() -> Shape {
    Shape {
        kind: kind(),
        requires: Requires::default(),
        security: SecurityLevel::Internal,
    }
}

/// A free slot of agent 1.
fn offer() -> Offer {
    Offer {
        agent: agent(1),
        free: 1,
        acknowledges: false,
        without: Vec::new(),
    }
}

fn beat(able: bool) -> AgentBeat {
    AgentBeat {
        agent: agent(1),
        able,
        cpu: None,
        memory: None,
    }
}

#[tokio::test]
async fn an_agent_that_is_heard_of_stays_healthy() {
    let bench = Bench::new().await;
    for _ in 0..40 {
        bench.clock.advance(Duration::from_secs(15));
        bench.beat(true).await;
        assert_eq!(bench.found(), Ok(vec![agent(1)]));
        assert_eq!(bench.available(), Some(1.0));
    }
    bench.clock.advance(Duration::from_secs(150));
    bench.refresh().await;
    assert_eq!(
        bench.found(),
        Err(NoAgent::NoneHealthy),
        "silent for ten heartbeats"
    );
}

#[tokio::test]
async fn an_agent_that_says_it_cannot_work_gets_nothing_until_it_can() {
    let bench = Bench::new().await;
    bench.beat(false).await;
    assert_eq!(bench.found(), Err(NoAgent::NoneHealthy));
    bench.beat(true).await;
    assert_eq!(bench.found(), Ok(vec![agent(1)]));
    bench
        .store
        .set_mode(agent(1), AgentMode::Quarantined, RecordDraft::default())
        .await
        .expect("set");
    bench.refresh().await;
    assert_eq!(bench.found(), Err(NoAgent::NoneHealthy));
    assert_eq!(bench.allocation.quarantined(), [agent(1)].into());
}

#[tokio::test]
async fn a_kind_without_agents_left_is_measured_as_none() {
    let bench = Bench::new().await;
    assert_eq!(bench.available(), Some(1.0));
    bench.clock.advance(Duration::from_secs(3_600));
    let gone = bench
        .store
        .remove_silent(bench.clock.now(), RecordDraft::default())
        .await;
    assert_eq!(gone.expect("removed"), [agent(1)]);
    bench.refresh().await;
    assert_eq!(bench.available(), Some(0.0));
}

#[tokio::test]
async fn what_changed_counts_although_nobody_tells_who_was_heard_of() {
    let bench = Bench::new().await;
    let set = bench
        .store
        .set_mode(agent(1), AgentMode::Quarantined, RecordDraft::default());
    assert!(set.await.expect("set"));
    bench.refresh_in_part(&["changes"]).await;
    assert_eq!(bench.allocation.quarantined(), [agent(1)].into());
}

#[tokio::test]
async fn pages_that_were_read_are_not_read_again() {
    let bench = Bench::new().await;
    bench.register_many(2..=2_500).await;
    bench.refresh_in_part(&["changes"]).await;
    bench.refresh_in_part(&["changes", "changes", "heard"]).await;
    assert_eq!(bench.available(), Some(2_500.0));
    bench.refresh_in_part(&["changes"]).await;
}

#[tokio::test]
async fn half_a_feed_makes_no_profile_young() {
    let bench = Bench::new().await;
    bench.register_many(2..=1_500).await;
    bench.clock.advance(Settings::default().stale_after);
    // One that this process runs itself is healthy without a word.
    let hosted = Offer {
        acknowledges: true,
        ..offer()
    };
    let without = Offer {
        without: vec![kind()],
        ..hosted.clone()
    };
    let known = |bench: &Bench| {
        bench
            .allocation
            .capacity(&[(tenant(1), shape())], std::slice::from_ref(&hosted))
    };
    bench.refresh_in_part(&["changes"]).await;
    assert_eq!(known(&bench), [1]);
    let kept_away = bench.allocation.capacity(&[(tenant(1), shape())], &[without]);
    assert_eq!(kept_away, [0], "a kind that it is offered without");
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(known(&bench), [0], "too old");
    bench.refresh().await;
    assert_eq!(known(&bench), [1]);
}

#[tokio::test]
async fn everybody_who_was_heard_of_counts_however_many_they_are() {
    let bench = Bench::new().await;
    bench.register_many(2..=2_500).await;
    bench.refresh().await;
    bench.clock.advance(Duration::from_secs(150));
    let beats = (1..=2_500).map(|number| AgentBeat {
        agent: agent(number),
        ..beat(true)
    });
    assert_eq!(bench.store.beat(beats.collect()).await.expect("noted"), []);
    bench.refresh().await;
    assert_eq!(bench.available(), Some(2_500.0));
}
