//! The contract suites of the ports that this store serves, each case on a schema of its own.

use std::sync::Arc;

use arbiter_adapter_inmem::InMemoryStore;
use arbiter_adapter_postgres::PostgresWakeups;
use arbiter_adapter_system::SystemClock;
use arbiter_core::lifecycle::Rules;
use arbiter_core::ports::Wakeups;
use arbiter_testkit::contract::{ManualHarness, Stores};
use arbiter_testkit::{ManualClock, SeededEntropy, TestSpawner};

use crate::support::Place;

async fn harness() -> ManualHarness {
    let place = Place::new().await;
    let clock = Arc::new(ManualClock::new());
    let store = Arc::new(place.open().await.with_clock(Arc::clone(&clock) as _));
    // the suites that are run here use no tasks; whoever tries finds them in no log of this store
    let entropy = Arc::new(SeededEntropy::new(1));
    let tasks = Arc::new(InMemoryStore::new(
        Rules::default(),
        Arc::clone(&clock) as _,
        entropy,
    ));
    let stores = Stores {
        tasks: Arc::clone(&tasks) as _,
        reader: tasks,
        documents: Arc::clone(&store) as _,
        outbox: Arc::clone(&store) as _,
        log: Arc::clone(&store) as _,
        tree: Arc::clone(&store) as _,
        leases: Arc::clone(&store) as _,
        agents: store,
    };
    let max_agents = place.config.max_agents;
    ManualHarness::new(stores, clock, max_agents).keeping(place)
}

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
