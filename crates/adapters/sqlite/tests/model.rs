//! Random operations get the same answers, and leave the same behind, as in the store in memory.

#![expect(clippy::expect_used, reason = "a store that cannot be made fails the test")]

use std::sync::Arc;

use arbiter_adapter_inmem::{InMemoryStore, InMemoryTelemetry};
use arbiter_adapter_sqlite::{SqliteConfig, SqliteStore};
use arbiter_core::lifecycle::Rules;
use arbiter_testkit::contract::model::{compare, operations};
use arbiter_testkit::contract::{ManualHarness, Stores, TelemetryHarness, telemetry_model};
use arbiter_testkit::{ManualClock, SeededEntropy};
use proptest::prelude::*;
use tokio::runtime::Builder;

const MAX_AGENTS: usize = InMemoryStore::MAX_AGENTS;

fn model() -> ManualHarness {
    let clock = Arc::new(ManualClock::new());
    let entropy = Arc::new(SeededEntropy::new(1));
    let store = InMemoryStore::new(Rules::default(), Arc::clone(&clock) as _, entropy);
    ManualHarness::new(Stores::of(&Arc::new(store)), clock, MAX_AGENTS)
}

fn database() -> ManualHarness {
    let folder = tempfile::tempdir().expect("folder");
    let config = SqliteConfig {
        max_agents: MAX_AGENTS,
        ..SqliteConfig::new(folder.path())
    };
    let clock = Arc::new(ManualClock::new());
    let entropy = Arc::new(SeededEntropy::new(2));
    let store =
        SqliteStore::open(&config, Rules::default(), Arc::clone(&clock) as _, entropy).expect("store");
    ManualHarness::new(Stores::of(&Arc::new(store)), clock, MAX_AGENTS).keeping(folder)
}

fn telemetry() -> (TelemetryHarness, TelemetryHarness) {
    let folder = tempfile::tempdir().expect("folder");
    let config = SqliteConfig::new(folder.path());
    let (clock, entropy) = (Arc::new(ManualClock::new()), Arc::new(SeededEntropy::new(2)));
    let store = SqliteStore::open(&config, Rules::default(), clock, entropy).expect("store");
    let tested = TelemetryHarness {
        store: Arc::new(store),
        max_series: config.max_series,
        kept: Box::new(folder),
    };
    let model = TelemetryHarness {
        store: Arc::new(InMemoryTelemetry::new(config.max_series)),
        max_series: config.max_series,
        kept: Box::new(()),
    };
    (tested, model)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_database_agrees_with_the_model(operations in operations(40)) {
        let runtime = Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(compare(&database(), &model(), &operations))?;
    }

    #[test]
    fn measurements_agree_with_the_model(operations in telemetry_model::operations(40)) {
        let runtime = Builder::new_current_thread().build().expect("runtime");
        let (tested, model) = telemetry();
        runtime.block_on(telemetry_model::compare(&tested, &model, &operations))?;
    }
}
