//! One seeded schedule: a wild phase in which everything fails, then calm, then the history is checked.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arbiter_core::model::{State, TaskId, Version};
use arbiter_core::ports::Clock as _;
use arbiter_orchestration::fair::FairSettings;
use arbiter_testkit::contract::Stores;
use futures_util::FutureExt as _;

use crate::history;
use crate::node::{Door, Node};
use crate::people::People;
use crate::world::{Event, World};

/// How long everything fails.
const WILD: Duration = Duration::from_secs(180);
/// By then everything has come to rest.
const LIMIT: Duration = Duration::from_secs(3_600);

/// The database that the nodes share, and what a crash does to it.
pub(crate) trait Ground {
    /// How many nodes share it.
    fn nodes(&self) -> usize;
    /// The ports for the next life of a node.
    fn stores(&mut self, world: &Arc<World>, node: usize) -> Stores;
    /// A node died; `kept` is how much of the log of the database was written when it did, if that was in a commit.
    fn crashed(&mut self, world: &World, node: usize, kept: Option<u64>);
}

/// What a schedule was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Outcome {
    /// Follows from every choice that was made.
    pub(crate) trace: u64,
    pub(crate) tasks: u64,
    pub(crate) attempts: u64,
    pub(crate) kills: u64,
    pub(crate) pauses: u64,
    pub(crate) partitions: u64,
    pub(crate) torn: u64,
    pub(crate) faults: u64,
}

struct Schedule<G> {
    world: Arc<World>,
    ground: G,
    doors: Vec<Arc<Door>>,
    cuts: Vec<Arc<AtomicBool>>,
    lives: u64,
    seed: u64,
    up: Vec<bool>,
    /// Held tasks that somebody was told to decide about.
    settled: BTreeSet<(TaskId, Version)>,
}

/// Runs a schedule to its end and checks it. Panics where a rule is broken.
pub(crate) fn run(seed: u64, ground: impl Ground) -> Outcome {
    let world = World::new(seed);
    let nodes = ground.nodes();
    let mut schedule = Schedule {
        doors: (0..nodes).map(|_| Arc::default()).collect(),
        cuts: (0..nodes).map(|_| Arc::default()).collect(),
        up: vec![false; nodes],
        lives: 0,
        settled: BTreeSet::new(),
        world,
        ground,
        seed,
    };
    schedule.run()
}

/// The answer of a future that never waits.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future
        .now_or_never()
        .expect("the store answers at once when nothing is between")
}

impl<G: Ground> Schedule<G> {
    fn run(&mut self) -> Outcome {
        let nodes = self.ground.nodes();
        let mut stores: Option<Stores> = None;
        for node in 0..nodes {
            stores = Some(self.start(node));
        }
        let mut stores = stores.expect("a node");
        let people = Arc::new(People {
            world: Arc::clone(&self.world),
            doors: self.doors.clone(),
            busy: Arc::new(AtomicUsize::new(0)),
        });
        people.start(3, 4);
        let mut steps = 0_u64;
        loop {
            for event in self.world.told() {
                stores = self.happen(event).unwrap_or(stores);
            }
            let wild = self.world.wild();
            assert_eq!(
                self.world.executor.panics(),
                Vec::<String>::new(),
                "tasks that panicked"
            );
            if wild && self.world.clock.monotonic() > WILD {
                self.calm();
            }
            if self.world.executor.step() {
                steps += 1;
                assert!(steps < 5_000_000, "the schedule makes no progress");
                if wild && self.world.happens(3) {
                    self.harm();
                }
                continue;
            }
            self.world
                .clock
                .advance_to_next_sleeper()
                .expect("somebody waits for time");
            assert!(self.world.clock.monotonic() < LIMIT, "{}", stuck(&stores));
            if steps.is_multiple_of(64) {
                now(history::check_slots(&stores, nodes));
            }
            if !wild && people.busy.load(Ordering::Relaxed) == 0 && self.rests(&people, &stores) {
                break;
            }
        }
        now(history::check(&self.world, &stores, nodes));
        assert_eq!(
            self.world.executor.panics(),
            Vec::<String>::new(),
            "tasks that panicked"
        );
        let tasks = now(history::tasks(&stores)).len() as u64;
        let journal = self.world.journal();
        Outcome {
            trace: self.world.executor.trace(),
            tasks,
            attempts: journal.delivered.len() as u64,
            kills: journal.kills,
            pauses: journal.pauses,
            partitions: journal.partitions,
            torn: journal.torn,
            faults: journal.faults,
        }
    }

    fn start(&mut self, node: usize) -> Stores {
        self.lives += 1;
        self.up[node] = true;
        let stores = self.ground.stores(&self.world, node);
        let life = Node {
            number: node,
            world: Arc::clone(&self.world),
            door: Arc::clone(&self.doors[node]),
            stores: stores.clone(),
            cut: Arc::clone(&self.cuts[node]),
            seed: self.seed.wrapping_mul(1_000).wrapping_add(self.lives),
            fair: FairSettings::default(),
        };
        life.start();
        stores
    }

    fn kill(&mut self, node: usize, kept: Option<u64>) {
        self.up[node] = false;
        self.doors[node].close();
        self.world.journal().kills += 1;
        self.world.journal().torn += u64::from(kept.is_some());
        // Before anything is closed: what the files hold now is what the next life finds.
        self.ground.crashed(&self.world, node, kept);
        self.world.executor.kill(node);
        let down = Duration::from_millis(self.world.draw(60_000));
        self.world.tell_after(down, Event::Start(node));
    }

    /// Something goes wrong with a node.
    fn harm(&mut self) {
        let node = self.world.draw(self.ground.nodes() as u64) as usize;
        match self.world.draw(10) {
            0..4 if self.up[node] => self.kill(node, None),
            4..7 => {
                self.world.executor.pause(node, true);
                self.world.journal().pauses += 1;
                let length = Duration::from_millis(self.world.draw(120_000));
                self.world.tell_after(length, Event::Resume(node));
            }
            7..10 => {
                self.cuts[node].store(true, Ordering::Relaxed);
                self.world.journal().partitions += 1;
                let length = Duration::from_millis(self.world.draw(60_000));
                self.world.tell_after(length, Event::Heal(node));
            }
            _ => {}
        }
    }

    /// Nothing goes wrong from now on.
    fn calm(&mut self) {
        self.world.wild.store(false, Ordering::Relaxed);
        self.world.faults_per_hundred.store(0, Ordering::Relaxed);
        for node in 0..self.ground.nodes() {
            self.world.executor.pause(node, false);
            self.cuts[node].store(false, Ordering::Relaxed);
        }
    }

    fn happen(&mut self, event: Event) -> Option<Stores> {
        match event {
            Event::Start(node) if !self.up[node] => return Some(self.start(node)),
            Event::Resume(node) => self.world.executor.pause(node, false),
            Event::Heal(node) => self.cuts[node].store(false, Ordering::Relaxed),
            Event::Torn { node, kept } if self.up[node] => self.kill(node, Some(kept)),
            Event::Start(_) | Event::Torn { .. } => {}
        }
        None
    }

    /// Whether every task is closed; what is held is settled on the way.
    fn rests(&mut self, people: &Arc<People>, stores: &Stores) -> bool {
        let tasks = now(history::tasks(stores));
        for stored in &tasks {
            let held = matches!(stored.task.state, State::Held { .. });
            if held && self.settled.insert((stored.task.id, stored.task.version)) {
                people.settle(stored);
            }
        }
        self.up.iter().all(|up| *up)
            && tasks.iter().all(|stored| stored.task.state.is_closed())
            && quiet(stores)
    }
}

/// Whether every cancelled attempt has given its slot back.
fn quiet(stores: &Stores) -> bool {
    now(history::tasks(stores))
        .iter()
        .all(|stored| stored.task.releases.is_empty())
}

fn stuck(stores: &Stores) -> String {
    let open: Vec<String> = now(history::tasks(stores))
        .iter()
        .filter(|stored| !stored.task.state.is_closed() || !stored.task.releases.is_empty())
        .map(|stored| format!("{:?}", stored.task))
        .collect();
    format!("tasks that do not come to rest: {}", open.join("\n"))
}
