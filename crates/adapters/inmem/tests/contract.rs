//! Every contract suite, run on the adapters in memory.

use std::sync::Arc;

use arbiter_adapter_inmem::{
    InMemoryArtifacts, InMemoryStore, InMemoryTelemetry, InProcessRateLimiter, InProcessWakeups,
};
use arbiter_core::lifecycle::Rules;
use arbiter_core::model::{Digest, TenantId};
use arbiter_core::ports::{Clock, Entropy, IdSource, Spawner, Wakeups};
use arbiter_testkit::contract::{
    ArtifactHarness, Damage, LimiterHarness, ManualHarness, MetricsHarness, Stores, TelemetryHarness,
};
use arbiter_testkit::{ManualClock, RecordingMetrics, SeededEntropy, SeededIds, TestSpawner};
use async_trait::async_trait;

const MAX_AGENTS: usize = 20;

fn store(clock: &Arc<ManualClock>, entropy: Arc<SeededEntropy>) -> InMemoryStore {
    InMemoryStore::new(Rules::default(), Arc::clone(clock) as _, entropy).with_max_agents(MAX_AGENTS)
}

fn harness() -> ManualHarness {
    let clock = Arc::new(ManualClock::new());
    let entropy = Arc::new(SeededEntropy::new(1));
    let store = store(&clock, entropy);
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

/// The decorator that tests put before stores changes nothing while nothing goes wrong, and a call that is done twice
/// is one that was repeated.
mod with_faults {
    use std::sync::Arc;

    use arbiter_core::ports::TaskStore;
    use arbiter_testkit::contract::{ManualHarness, Stores};
    use arbiter_testkit::faulty::{FaultyTaskStore, Script};
    use arbiter_testkit::{ManualClock, SeededEntropy};

    fn harness() -> ManualHarness {
        let clock = Arc::new(ManualClock::new());
        let entropy = Arc::new(SeededEntropy::new(1));
        let store = Arc::new(super::store(&clock, entropy));
        let tasks: Arc<dyn TaskStore> = Arc::new(FaultyTaskStore::new(
            Arc::clone(&store) as _,
            Arc::new(Script::default()),
        ));
        let stores = Stores {
            tasks,
            ..Stores::of(&store)
        };
        ManualHarness::new(stores, clock, super::MAX_AGENTS)
    }

    arbiter_testkit::task_store_contract!(harness());
}

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

fn telemetry() -> TelemetryHarness {
    TelemetryHarness {
        store: Arc::new(InMemoryTelemetry::new(300)),
        max_series: 300,
        kept: Box::new(()),
    }
}

arbiter_testkit::telemetry_store_contract!(telemetry());

fn limiter() -> LimiterHarness {
    let clock = Arc::new(ManualClock::new());
    LimiterHarness {
        limiter: Arc::new(InProcessRateLimiter::new(Arc::clone(&clock) as _)),
        clock,
    }
}

arbiter_testkit::rate_limiter_contract!(limiter());

arbiter_testkit::wakeups_contract!(Arc::new(InProcessWakeups::new()) as Arc<dyn Wakeups>);

arbiter_testkit::entropy_contract!(Arc::new(SeededEntropy::new(1)) as Arc<dyn Entropy>);
arbiter_testkit::id_source_contract!(Arc::new(SeededIds::new(1)) as Arc<dyn IdSource>);
arbiter_testkit::spawner_contract!(Arc::new(TestSpawner) as Arc<dyn Spawner>);

fn recorded() -> MetricsHarness {
    let metrics = Arc::new(RecordingMetrics::new());
    let [one, two, three] = std::array::from_fn(|_| Arc::clone(&metrics));
    MetricsHarness {
        metrics,
        counter: Box::new(move |name, label| {
            let counted = one.counter(name, &[label]);
            (counted > 0).then_some(counted as f64)
        }),
        gauge: Box::new(move |name, label| two.last_gauge(name, &[label])),
        observed: Box::new(move |name, label| Some(three.observations(name, &[label]).len() as u64)),
    }
}

arbiter_testkit::metrics_contract!(recorded());

arbiter_testkit::clock_contract!(Arc::new(ManualClock::new()) as Arc<dyn Clock>);
