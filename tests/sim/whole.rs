//! The whole control plane on the store in memory: several nodes that share it.

use std::sync::Arc;

use arbiter_adapter_inmem::InMemoryStore;
use arbiter_core::lifecycle::Rules;
use arbiter_testkit::SeededEntropy;
use arbiter_testkit::contract::Stores;

use crate::schedule::{Ground, Outcome};
use crate::world::World;
use crate::{schedule, seeds};

const NODES: usize = 2;

/// The store outlives the nodes.
struct Shared(Option<Stores>);

impl Ground for Shared {
    fn nodes(&self) -> usize {
        NODES
    }

    fn stores(&mut self, world: &Arc<World>, _: usize) -> Stores {
        let made = || {
            let entropy = Arc::new(SeededEntropy::new(1));
            let store = InMemoryStore::new(Rules::default(), Arc::clone(&world.clock) as _, entropy);
            Stores::of(&Arc::new(store))
        };
        self.0.get_or_insert_with(made).clone()
    }

    fn crashed(&mut self, _: &World, _: usize, _: Option<u64>) {}
}

fn schedule(seed: u64) -> Outcome {
    schedule::run(seed, Shared(None))
}

#[test]
fn nothing_is_lost_or_recorded_twice() {
    seeds::run("the whole control plane in memory, 2 nodes", 1, schedule);
}

#[test]
fn a_seed_replays_exactly() {
    for seed in 0..5 {
        assert_eq!(schedule(seed), schedule(seed), "seed {seed}");
    }
    assert_ne!(schedule(1).trace, schedule(2).trace);
}
