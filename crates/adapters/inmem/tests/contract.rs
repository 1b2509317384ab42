//! Every contract suite, run on the adapters in memory.

use std::sync::Arc;

use arbiter_adapter_inmem::{InMemoryArtifacts, InMemoryStore, InProcessRateLimiter, InProcessWakeups};
use arbiter_core::lifecycle::Rules;
use arbiter_core::model::{Digest, TenantId};
use arbiter_core::ports::{Clock, Wakeups};
use arbiter_testkit::contract::{ArtifactHarness, Damage, LimiterHarness, ManualHarness, Stores};
use arbiter_testkit::{ManualClock, SeededEntropy};
use async_trait::async_trait;

const MAX_AGENTS: usize = 20;

fn harness() -> ManualHarness {
    let clock = Arc::new(ManualClock::new());
    let entropy = Arc::new(SeededEntropy::new(1));
    let store =
        InMemoryStore::new(Rules::default(), Arc::clone(&clock) as _, entropy).with_max_agents(MAX_AGENTS);
    ManualHarness::new(Stores::of(&Arc::new(store)), clock, MAX_AGENTS)
}

arbiter_testkit::task_store_contract!(harness());
arbiter_testkit::task_reader_contract!(harness());
arbiter_testkit::documents_contract!(harness());
arbiter_testkit::outbox_contract!(harness());
arbiter_testkit::audit_log_contract!(harness());
arbiter_testkit::audit_tree_contract!(harness());
arbiter_testkit::lease_store_contract!(harness());
arbiter_testkit::agent_registry_contract!(harness());

struct Inverted(Arc<InMemoryArtifacts>);

#[async_trait]
impl Damage for Inverted {
    async fn damage(&self, tenant: TenantId, digest: Digest) {
        assert!(self.0.damage(tenant, digest));
    }
}

fn artifacts() -> ArtifactHarness {
    let store = Arc::new(InMemoryArtifacts::new(64));
    ArtifactHarness {
        store: Arc::clone(&store) as _,
        quota_bytes: 64,
        damage: Box::new(Inverted(store)),
    }
}

arbiter_testkit::artifact_store_contract!(artifacts());

fn limiter() -> LimiterHarness {
    let clock = Arc::new(ManualClock::new());
    LimiterHarness {
        limiter: Arc::new(InProcessRateLimiter::new(Arc::clone(&clock) as _)),
        clock,
    }
}

arbiter_testkit::rate_limiter_contract!(limiter());

arbiter_testkit::wakeups_contract!(Arc::new(InProcessWakeups::new()) as Arc<dyn Wakeups>);

arbiter_testkit::clock_contract!(Arc::new(ManualClock::new()) as Arc<dyn Clock>);
