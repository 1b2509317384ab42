//! Every contract suite of the storage ports, each case on a database of its own.
#![expect(clippy::expect_used, reason = "a harness that cannot be made fails its test")]

use std::sync::Arc;

use arbiter_adapter_sqlite::{SqliteConfig, SqliteStore};
use arbiter_core::lifecycle::Rules;
use arbiter_testkit::contract::{ManualHarness, Stores, TelemetryHarness};
use arbiter_testkit::{ManualClock, SeededEntropy, TestSpawner};

const MAX_AGENTS: usize = 20;

/// As the binary has it: a task of the runtime answers.
fn harness() -> ManualHarness {
    opened(|store| store.answer_on(&TestSpawner))
}

/// The writer's thread answers.
fn plain() -> ManualHarness {
    opened(|_| {})
}

fn telemetry() -> TelemetryHarness {
    let folder = tempfile::tempdir().expect("folder");
    let config = SqliteConfig {
        max_series: 300,
        ..SqliteConfig::new(folder.path())
    };
    let (clock, entropy) = (Arc::new(ManualClock::new()), Arc::new(SeededEntropy::new(1)));
    let store = SqliteStore::open(&config, Rules::default(), clock, entropy).expect("store");
    TelemetryHarness {
        store: Arc::new(store),
        max_series: config.max_series,
        kept: Box::new(folder),
    }
}

fn opened(change: impl FnOnce(&SqliteStore)) -> ManualHarness {
    let folder = tempfile::tempdir().expect("folder");
    let config = SqliteConfig {
        max_agents: MAX_AGENTS,
        ..SqliteConfig::new(folder.path())
    };
    let clock = Arc::new(ManualClock::new());
    let entropy = Arc::new(SeededEntropy::new(1));
    let store =
        SqliteStore::open(&config, Rules::default(), Arc::clone(&clock) as _, entropy).expect("store");
    change(&store);
    ManualHarness::new(Stores::of(&Arc::new(store)), clock, MAX_AGENTS).keeping(folder)
}

arbiter_testkit::task_store_contract!(harness());
arbiter_testkit::task_reader_contract!(harness());
arbiter_testkit::documents_contract!(harness());
arbiter_testkit::outbox_contract!(harness());
arbiter_testkit::audit_log_contract!(harness());
arbiter_testkit::audit_tree_contract!(harness());
arbiter_testkit::lease_store_contract!(harness());
arbiter_testkit::agent_registry_contract!(harness());
arbiter_testkit::telemetry_store_contract!(telemetry());

mod answered_by_the_writer {
    use super::plain;

    arbiter_testkit::task_store_contract!(plain());
    arbiter_testkit::documents_contract!(plain());
}
