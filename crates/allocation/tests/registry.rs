//! What is chosen from is what the registry knows, heartbeats included.
#![expect(clippy::expect_used, reason = "helpers of tests fail the test")]

use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_inmem::InMemoryStore;
use arbiter_allocation::{Allocation, NoAgent, Settings};
use arbiter_core::lifecycle::Rules;
use arbiter_core::model::{
    AgentBeat, AgentId, AgentMode, Budget, Priority, RecordDraft, Requires, SecurityLevel, Shape,
};
use arbiter_core::ports::AgentRegistry as _;
use arbiter_core::services::Offer;
use arbiter_testkit::builders::{agent, kind, profile, tenant};
use arbiter_testkit::{ManualClock, RecordingMetrics, SeededEntropy, SeededIds};

struct Bench {
    clock: Arc<ManualClock>,
    store: Arc<InMemoryStore>,
    metrics: Arc<RecordingMetrics>,
    allocation: Allocation,
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
        let allocation = Allocation::new(
            Settings::default(),
            Arc::clone(&store) as _,
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
        };
        bench.refresh().await;
        bench
    }

    async fn refresh(&self) {
        self.allocation.refresh().await.expect("refreshed");
    }

    async fn beat(&self, able: bool) {
        let beat = AgentBeat {
            agent: agent(1),
            able,
            cpu: None,
            memory: None,
        };
        assert_eq!(self.store.beat(vec![beat]).await.expect("noted"), []);
        self.refresh().await;
    }

    /// Whether agent 1 could get a task, by its heartbeats alone.
    fn found(&self) -> Result<Vec<AgentId>, NoAgent> {
        let shape = Shape {
            kind: kind(),
            requires: Requires::default(),
            security: SecurityLevel::Internal,
        };
        let offer = Offer {
            agent: agent(1),
            free: 1,
            acknowledges: false,
        };
        let explained = self.allocation.explain(
            tenant(1),
            &shape,
            Priority::NORMAL,
            Budget::default(),
            None,
            &[offer],
        );
        explained
            .agents
            .map(|found| found.into_iter().map(|found| found.agent).collect())
    }

    fn available(&self) -> Option<f64> {
        self.metrics
            .last_gauge("agent_registry.available_agents", &[("kind", kind().as_str())])
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
