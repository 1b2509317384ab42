//! Random operations get the same answers, and leave the same behind, as in the store in memory.

use std::sync::Arc;

use arbiter_adapter_inmem::{InMemoryStore, InMemoryTelemetry};
use arbiter_core::lifecycle::Rules;
use arbiter_testkit::contract::model::{compare, operations};
use arbiter_testkit::contract::{ManualHarness, Stores, TelemetryHarness, telemetry_model};
use arbiter_testkit::{ManualClock, SeededEntropy};
use proptest::prelude::*;
use tokio::runtime::Builder;

use crate::contract::{harness_with, telemetry};

const MAX_AGENTS: usize = InMemoryStore::MAX_AGENTS;

fn model() -> ManualHarness {
    let clock = Arc::new(ManualClock::new());
    let entropy = Arc::new(SeededEntropy::new(1));
    let store = InMemoryStore::new(Rules::default(), Arc::clone(&clock) as _, entropy);
    ManualHarness::new(Stores::of(&Arc::new(store)), clock, MAX_AGENTS)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_database_agrees_with_the_model(operations in operations(40)) {
        let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let database = harness_with(|config| config.max_agents = MAX_AGENTS).await;
            compare(&database, &model(), &operations).await
        })?;
    }

    #[test]
    fn measurements_agree_with_the_model(operations in telemetry_model::operations(40)) {
        let runtime = Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let tested = telemetry().await;
            let model = TelemetryHarness {
                store: Arc::new(InMemoryTelemetry::new(tested.max_series)),
                max_series: tested.max_series,
                kept: Box::new(()),
            };
            telemetry_model::compare(&tested, &model, &operations).await
        })?;
    }
}
