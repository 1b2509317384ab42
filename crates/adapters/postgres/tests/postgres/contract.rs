//! The contract suites of the ports that this store serves, each case on a schema of its own.

use std::sync::Arc;

use arbiter_adapter_postgres::{PostgresConfig, PostgresWakeups};
use arbiter_adapter_system::SystemClock;
use arbiter_core::model::{Digest, TenantId};
use arbiter_core::ports::Wakeups;
use arbiter_testkit::contract::{ArtifactHarness, Damage, ManualHarness, Stores, TelemetryHarness};
use arbiter_testkit::{ManualClock, TestSpawner};
use async_trait::async_trait;

use crate::support::Place;

async fn harness() -> ManualHarness {
    harness_with(|_| {}).await
}

pub(crate) async fn harness_with(change: impl FnOnce(&mut PostgresConfig)) -> ManualHarness {
    let mut place = Place::new().await;
    change(&mut place.config);
    let clock = Arc::new(ManualClock::new());
    let store = place.open_at(Arc::clone(&clock) as _).await;
    let stores = Stores::of(&Arc::new(store));
    let max_agents = place.config.max_agents;
    ManualHarness::new(stores, clock, max_agents).keeping(place)
}

arbiter_testkit::task_store_contract!(harness().await);
arbiter_testkit::task_reader_contract!(harness().await);
arbiter_testkit::documents_contract!(harness().await);
arbiter_testkit::outbox_contract!(harness().await);
arbiter_testkit::audit_log_contract!(harness().await);
arbiter_testkit::audit_tree_contract!(harness().await);
arbiter_testkit::lease_store_contract!(harness().await);
arbiter_testkit::agent_registry_contract!(harness().await);

/// Changes the first byte of an artifact's content; keeps the schema until the harness is dropped.
struct Rewritten(Place);

#[async_trait]
impl Damage for Rewritten {
    async fn damage(&self, tenant: TenantId, digest: Digest) {
        let client = self.0.client().await;
        let changed = client
            .execute(
                "UPDATE artifact_chunk SET body = set_byte(body, 0, 255 - get_byte(body, 0)) WHERE place = 0
                 AND upload = (SELECT upload FROM artifact WHERE tenant = $1::text::uuid AND digest = $2)",
                &[&tenant.to_string(), &digest.as_bytes().as_slice()],
            )
            .await;
        assert_eq!(changed.expect("the chunk is changed"), 1);
    }
}

async fn artifacts(quota_bytes: u64) -> ArtifactHarness {
    let place = Place::new().await;
    let store = place.open().await.artifacts(quota_bytes, &TestSpawner);
    ArtifactHarness {
        store: Arc::new(store),
        quota_bytes,
        damage: Box::new(Rewritten(place)),
    }
}

arbiter_testkit::artifact_store_contract!(artifacts(64).await);

mod in_chunks {
    //! The same with content of several chunks.
    use super::artifacts;

    arbiter_testkit::artifact_store_contract!(artifacts(600_000).await);
}

pub(crate) async fn telemetry() -> TelemetryHarness {
    let mut place = Place::new().await;
    place.config.max_series = 300;
    let store = place.open().await;
    TelemetryHarness {
        store: Arc::new(store),
        max_series: place.config.max_series,
        kept: Box::new(place),
    }
}

arbiter_testkit::telemetry_store_contract!(telemetry().await);

async fn wakeups() -> Arc<dyn Wakeups> {
    let place = Place::new().await;
    let clock = Arc::new(SystemClock::new());
    let wakeups = PostgresWakeups::start(&place.config, &TestSpawner, clock).await;
    Arc::new(wakeups.expect("it listens"))
}

arbiter_testkit::wakeups_contract!(wakeups().await);
