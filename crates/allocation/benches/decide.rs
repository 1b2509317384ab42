//! What one decision costs: 10 000 and 1 000 000 registered agents, 100 candidates.

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot start has nothing to measure"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arbiter_allocation::{Allocation, Settings, Strategy};
use arbiter_core::model::{
    AgentBeat, AgentCost, AgentId, AgentMode, AgentProfile, Band, Budget, Capabilities, LaneKey,
    OutcomeDelta, Priority, RecordDraft, RegisteredAgent, Requires, SecurityLevel, Shape, TaskId, TaskKind,
    TenantId, TenantScope, Timestamp, Transport, Work,
};
use arbiter_core::ports::{
    AgentChanges, AgentPage, AgentQuery, AgentRegistry, AgentsHeard, Candidate, Clock, Entropy, HeardFrom,
    IdSource, NoMetrics, Registered, RegistryError, Revision,
};
use arbiter_core::services::{Allocator as _, Offer};
use async_trait::async_trait;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

struct Fleet(u32);
struct Still;
struct Count(AtomicU64);

fn id(number: u32) -> AgentId {
    AgentId::from_bytes(u128::from(number).to_be_bytes())
}

#[async_trait]
impl AgentRegistry for Fleet {
    async fn register(&self, _: AgentProfile, _: RecordDraft) -> Result<Registered, RegistryError> {
        Ok(Registered::Unchanged)
    }
    async fn set_mode(&self, _: AgentId, _: AgentMode, _: RecordDraft) -> Result<bool, RegistryError> {
        Ok(false)
    }
    async fn beat(&self, _: Vec<AgentBeat>) -> Result<Vec<AgentId>, RegistryError> {
        Ok(Vec::new())
    }
    async fn changes(&self, _: Revision, _: usize) -> Result<AgentChanges, RegistryError> {
        let kind =
            |number: u32| TaskKind::new(if number < 100 { "analysis" } else { "writing" }).expect("kind");
        let agents = (0..self.0)
            .map(|number| RegisteredAgent {
                profile: AgentProfile {
                    id: id(number),
                    tenant: None,
                    name: "a".into(),
                    model_family: "none".into(),
                    model_version: None,
                    capabilities: Capabilities {
                        kinds: [kind(number)].into(),
                        ..Capabilities::default()
                    },
                    transport: Transport::Pull,
                    slots: 4,
                    clearance: SecurityLevel::Internal,
                    cost: AgentCost::default(),
                    labels: BTreeMap::new(),
                },
                mode: AgentMode::Active,
                registered_at: Timestamp::default(),
                seen_at: Timestamp::default(),
                beat: None,
                records: BTreeMap::new(),
            })
            .collect();
        Ok(AgentChanges {
            agents,
            removed: Vec::new(),
            revision: Revision(1),
            more: false,
        })
    }
    async fn heard(&self, _: HeardFrom, _: usize) -> Result<AgentsHeard, RegistryError> {
        Ok(AgentsHeard::default())
    }
    async fn learn(&self, _: Vec<OutcomeDelta>) -> Result<(), RegistryError> {
        Ok(())
    }
    async fn remove_silent(&self, _: Timestamp, _: RecordDraft) -> Result<Vec<AgentId>, RegistryError> {
        Ok(Vec::new())
    }
    async fn remove(&self, _: AgentId, _: RecordDraft) -> Result<bool, RegistryError> {
        Ok(false)
    }
    async fn get(&self, ids: &[AgentId]) -> Result<Vec<Option<RegisteredAgent>>, RegistryError> {
        Ok(vec![None; ids.len()])
    }
    async fn list(&self, _: TenantScope, _: AgentQuery) -> Result<AgentPage, RegistryError> {
        Ok(AgentPage::default())
    }
}

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::default()
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
    async fn sleep_until(&self, _: Duration) {}
}

impl Entropy for Still {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

impl IdSource for Count {
    fn next(&self) -> [u8; 16] {
        u128::from(self.0.fetch_add(1, Ordering::Relaxed)).to_be_bytes()
    }
}

/// Drives a future that never waits.
fn now<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

fn decide(criterion: &mut Criterion) {
    let shape = Shape {
        kind: TaskKind::new("analysis").expect("kind"),
        requires: Requires::default(),
        security: SecurityLevel::Internal,
    };
    let key = LaneKey {
        tenant: TenantId::from_bytes([1; 16]),
        band: Band::HIGHEST,
        work: Work::Attempt(shape),
    };
    let task = Candidate {
        task: TaskId::from_bytes([1; 16]),
        lane: key.id(),
        key: Arc::new(key),
        priority: Priority::NORMAL,
        attempts: 0,
        avoid: Vec::new(),
        deadline: None,
        attempt_timeout: Duration::from_secs(300),
        budget: Budget::default(),
    };
    for fleet in [10_000, 1_000_000] {
        for strategy in Strategy::ALL {
            let allocation = Allocation::new(
                Settings {
                    strategy,
                    ..Settings::default()
                },
                Arc::new(Fleet(fleet)),
                Arc::new(NoMetrics),
                Arc::new(Still),
                Arc::new(Still),
                Arc::new(Count(AtomicU64::new(0))),
            );
            now(allocation.refresh()).expect("refreshed");
            let offers: Vec<Offer> = (0..100)
                .map(|number| Offer {
                    agent: id(number),
                    free: 2,
                    acknowledges: false,
                    without: Vec::new(),
                })
                .collect();
            // Offers are the dispatcher's; a claim of twenty tasks shares one chooser.
            let tasks = vec![task.clone(); 20];
            criterion.bench_function(
                &format!("{}/{fleet} agents/20 tasks", strategy.word()),
                |bencher| {
                    bencher.iter_batched(
                        || allocation.chooser(offers.clone()),
                        |chooser| black_box(chooser.choose(&tasks, Timestamp::default())),
                        BatchSize::SmallInput,
                    );
                },
            );
        }
    }
}

criterion_group!(benches, decide);
criterion_main!(benches);
