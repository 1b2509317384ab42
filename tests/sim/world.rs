//! What everybody in one schedule shares: time, chance, faults and the journal.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_core::model::{Fence, TaskId, Timestamp};
use arbiter_core::ports::{Clock, Entropy};
use arbiter_testkit::{ManualClock, SeededEntropy};
use async_trait::async_trait;
use futures_util::future::poll_fn;
use std::task::Poll;

use crate::executor::{Executor, Group};

/// The group of clients and of what happens to the nodes.
pub(crate) const OUTSIDE: Group = usize::MAX;

pub(crate) struct World {
    pub(crate) executor: Executor,
    /// The store's clock.
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) chance: Arc<SeededEntropy>,
    /// Of 100 calls so many go wrong.
    pub(crate) faults_per_hundred: AtomicU8,
    /// Whether agents and stages misbehave.
    pub(crate) wild: AtomicBool,
    /// How long the log of the database was before the last commit.
    pub(crate) answered: AtomicU64,
    journal: Mutex<Journal>,
    pub(crate) events: Mutex<Vec<Event>>,
}

/// What happens to the world beside its tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Start(usize),
    Resume(usize),
    Heal(usize),
    /// The database of a node was written to beyond this length of its log when the node died.
    Torn {
        node: usize,
        kept: u64,
    },
}

/// What the outside saw.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Tasks that a client was told are stored, by its key.
    pub(crate) accepted: Vec<(String, TaskId)>,
    /// Attempts that agents were given.
    pub(crate) delivered: Vec<(TaskId, Fence)>,
    /// How often what went wrong.
    pub(crate) kills: u64,
    pub(crate) pauses: u64,
    pub(crate) partitions: u64,
    pub(crate) torn: u64,
    pub(crate) faults: u64,
}

impl World {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            executor: Executor::new(seed),
            clock: Arc::new(ManualClock::new()),
            chance: Arc::new(SeededEntropy::new(seed ^ 0x5eed)),
            faults_per_hundred: AtomicU8::new(4),
            wild: AtomicBool::new(true),
            answered: AtomicU64::new(0),
            journal: Mutex::default(),
            events: Mutex::default(),
        })
    }

    /// A number below `below`.
    pub(crate) fn draw(&self, below: u64) -> u64 {
        let entropy: &dyn Entropy = &*self.chance;
        entropy.number() % below.max(1)
    }

    /// True in `of` of a thousand cases.
    pub(crate) fn happens(&self, of: u64) -> bool {
        self.draw(1_000) < of
    }

    pub(crate) fn wild(&self) -> bool {
        self.wild.load(Ordering::Relaxed)
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, event: Event) {
        self.events
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event);
    }

    pub(crate) fn told(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        let until = self.clock.monotonic() + duration;
        self.clock.sleep_until(until).await;
    }

    /// Tells an event after a time.
    pub(crate) fn tell_after(self: &Arc<Self>, delay: Duration, event: Event) {
        let world = Arc::clone(self);
        let future = async move {
            world.sleep(delay).await;
            world.tell(event);
        };
        self.executor.spawner(OUTSIDE).spawn("later", Box::pin(future));
    }
}

/// Lets others run.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The clock of a node: wrong by a constant, while time passes as everywhere.
pub(crate) struct SkewedClock {
    pub(crate) base: Arc<ManualClock>,
    pub(crate) ahead: bool,
    pub(crate) by: Duration,
}

#[async_trait]
impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let now = self.base.now();
        if self.ahead {
            now.plus(self.by)
        } else {
            now.minus(self.by)
        }
    }

    fn monotonic(&self) -> Duration {
        self.base.monotonic()
    }

    async fn sleep_until(&self, moment: Duration) {
        self.base.sleep_until(moment).await;
    }
}
