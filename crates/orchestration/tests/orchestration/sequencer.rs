//! Placing audit leaves, one node at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arbiter_adapter_inmem::InMemoryStore;
use arbiter_core::lifecycle::Rules;
use arbiter_core::model::Digest;
use arbiter_core::ports::{AuditTree, LeaseStore as _, StoreError, TreeHead};
use arbiter_orchestration::{Sequencer, Stopper};
use arbiter_testkit::builders::node;
use arbiter_testkit::{ManualClock, SeededEntropy};
use async_trait::async_trait;

const LEASE: &str = "audit/sequencer";

/// Counts how often leaves were placed.
#[derive(Default)]
struct Tree(AtomicUsize);

#[async_trait]
impl AuditTree for Tree {
    async fn sequence(&self, _: usize) -> Result<TreeHead, StoreError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        self.head().await
    }

    async fn head(&self) -> Result<TreeHead, StoreError> {
        let root = Digest::of(b"");
        Ok(TreeHead { size: 0, root })
    }

    async fn tile(&self, _: u8, _: u64, _: u16) -> Result<Option<Vec<Digest>>, StoreError> {
        Ok(None)
    }

    async fn publish(&self, _: TreeHead, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn published(&self) -> Result<Option<(TreeHead, String)>, StoreError> {
        Ok(None)
    }
}

struct Bench {
    clock: Arc<ManualClock>,
    leases: Arc<InMemoryStore>,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        let entropy = Arc::new(SeededEntropy::new(1));
        let store = InMemoryStore::new(Rules::default(), Arc::clone(&clock) as _, entropy);
        Self {
            clock,
            leases: Arc::new(store),
        }
    }

    fn sequencer(&self, number: u64) -> (Sequencer, Arc<Tree>) {
        let tree = Arc::new(Tree::default());
        let sequencer = Sequencer {
            tree: Arc::clone(&tree) as _,
            leases: Arc::clone(&self.leases) as _,
            clock: Arc::clone(&self.clock) as _,
            node: node(number),
        };
        (sequencer, tree)
    }
}

/// Lets a loop do what it can until it waits for time.
macro_rules! settle {
    ($run:expr) => {
        for _ in 0..100 {
            assert!(futures_util::poll!($run.as_mut()).is_pending());
        }
    };
}

#[tokio::test]
async fn the_node_whose_turn_it_is_places_leaves_and_another_goes_on_after_it() {
    let bench = Bench::new();
    let ((one, by_one), (other, by_other)) = (bench.sequencer(1), bench.sequencer(2));
    let (stop_one, stop_other) = (Stopper::default(), Stopper::default());
    let mut first = Box::pin(one.run(stop_one.signal()));
    let mut second = Box::pin(other.run(stop_other.signal()));
    let rounds = |tree: &Tree| tree.0.load(Ordering::SeqCst);
    settle!(first);
    settle!(second);
    assert_eq!((rounds(&by_one), rounds(&by_other)), (1, 0));
    bench.clock.advance(Duration::from_millis(250));
    settle!(first);
    assert_eq!(rounds(&by_one), 2, "it looks four times a second");
    // the first one is silent, as if it were gone: its turn ends, and not before
    bench.clock.advance(Duration::from_secs(2));
    settle!(second);
    assert_eq!(rounds(&by_other), 0, "it is not its turn yet");
    bench.clock.advance(Duration::from_secs(1));
    settle!(second);
    assert_eq!(rounds(&by_other), 1);
    settle!(first);
    let silent = rounds(&by_one);
    bench.clock.advance(Duration::from_secs(1));
    settle!(first);
    assert_eq!(rounds(&by_one), silent, "another node has its turn");
    stop_one.stop();
    stop_other.stop();
    first.await;
    second.await;
    let free = bench.leases.take(LEASE, node(3), Duration::from_secs(1)).await;
    assert!(free.expect("a lease").is_some(), "who stops gives its turn back");
}
