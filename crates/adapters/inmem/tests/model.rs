//! Random operations on the store in memory: its own invariants, and the driver that compares stores.

use std::sync::Arc;

use arbiter_adapter_inmem::InMemoryStore;
use arbiter_core::lifecycle::Rules;
use arbiter_testkit::contract::model::{check, compare, operations};
use arbiter_testkit::contract::{ManualHarness, Stores};
use arbiter_testkit::{ManualClock, SeededEntropy};
use proptest::prelude::*;
use tokio::runtime::Builder;

fn harness(salts: u64) -> ManualHarness {
    let clock = Arc::new(ManualClock::new());
    let entropy = Arc::new(SeededEntropy::new(salts));
    let store = InMemoryStore::new(Rules::default(), Arc::clone(&clock) as _, entropy);
    ManualHarness::new(Stores::of(&Arc::new(store)), clock, InMemoryStore::MAX_AGENTS)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_run_keeps_the_invariants(operations in operations(60)) {
        let runtime = Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(check(&harness(1), &operations));
    }

    #[test]
    fn two_stores_that_differ_in_their_salts_agree(operations in operations(20)) {
        let runtime = Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(compare(&harness(1), &harness(2), &operations))?;
    }
}
