//! Every contract suite of the storage ports, each case on a database of its own.
#![expect(clippy::expect_used, reason = "a harness that cannot be made fails its test")]

use std::sync::Arc;

use arbiter_adapter_sqlite::{SqliteConfig, SqliteStore};
use arbiter_core::lifecycle::Rules;
use arbiter_testkit::contract::{ManualHarness, Stores};
use arbiter_testkit::{ManualClock, SeededEntropy};

const MAX_AGENTS: usize = 20;

fn harness() -> ManualHarness {
    let folder = tempfile::tempdir().expect("folder");
    let config = SqliteConfig {
        max_agents: MAX_AGENTS,
        ..SqliteConfig::new(folder.path())
    };
    let clock = Arc::new(ManualClock::new());
    let entropy = Arc::new(SeededEntropy::new(1));
    let store =
        SqliteStore::open(&config, Rules::default(), Arc::clone(&clock) as _, entropy).expect("store");
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
