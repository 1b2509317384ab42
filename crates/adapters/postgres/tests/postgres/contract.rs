//! The contract suites of the ports that this store serves, each case on a schema of its own.

use std::sync::Arc;

use arbiter_adapter_postgres::{PostgresConfig, PostgresWakeups};
use arbiter_adapter_system::SystemClock;
use arbiter_core::ports::Wakeups;
use arbiter_testkit::contract::{ManualHarness, Stores};
use arbiter_testkit::{ManualClock, TestSpawner};

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

async fn wakeups() -> Arc<dyn Wakeups> {
    let place = Place::new().await;
    let clock = Arc::new(SystemClock::new());
    let wakeups = PostgresWakeups::start(&place.config, &TestSpawner, clock).await;
    Arc::new(wakeups.expect("it listens"))
}

arbiter_testkit::wakeups_contract!(wakeups().await);
