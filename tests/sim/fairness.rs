//! Fair order through the whole control plane: the queue, a store, the dispatcher, agents that finish their work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arbiter_adapter_inmem::InMemoryStore;
use arbiter_audit::leaf::Leaf;
use arbiter_core::lifecycle::Rules;
use arbiter_core::model::{Principal, Priority, Role, TenantId};
use arbiter_orchestration::fair::FairSettings;
use arbiter_queue::Submission;
use arbiter_testkit::SeededEntropy;
use arbiter_testkit::builders::{spec, tenant, user};
use arbiter_testkit::contract::Stores;

use crate::node::{Door, Node};
use crate::schedule::now;
use crate::world::{OUTSIDE, World};

/// One node in a world where nothing goes wrong.
struct Calm {
    world: Arc<World>,
    door: Arc<Door>,
    stores: Stores,
    /// By the task's id, as text.
    owner: BTreeMap<String, (TenantId, u8)>,
}

impl Calm {
    fn new(fair: FairSettings) -> Self {
        let world = World::new(7);
        world.wild.store(false, Ordering::Relaxed);
        world.faults_per_hundred.store(0, Ordering::Relaxed);
        let entropy = Arc::new(SeededEntropy::new(1));
        let store = InMemoryStore::new(Rules::default(), Arc::clone(&world.clock) as _, entropy);
        let stores = Stores::of(&Arc::new(store));
        let door = Arc::<Door>::default();
        let node = Node {
            number: 0,
            world: Arc::clone(&world),
            door: Arc::clone(&door),
            stores: stores.clone(),
            cut: Arc::default(),
            seed: 1,
            fair,
        };
        node.start();
        let mut calm = Self {
            world,
            door,
            stores,
            owner: BTreeMap::new(),
        };
        calm.until(|calm| calm.door.queue().is_some());
        calm
    }

    /// Runs until something is so.
    fn until(&mut self, reached: impl Fn(&Self) -> bool) {
        let mut steps = 0_u64;
        while !reached(self) {
            steps += 1;
            assert!(steps < 20_000_000, "it never comes");
            if !self.world.executor.step() {
                self.world
                    .clock
                    .advance_to_next_sleeper()
                    .expect("somebody waits for time");
            }
        }
    }

    fn assigned(&self) -> usize {
        self.world.journal().delivered.len()
    }

    /// Submits tasks of a tenant at a priority.
    fn submit(&mut self, number: u64, priority: u8, count: usize) {
        let who = Principal {
            tenant: tenant(number),
            ..user(number, [Role::Submitter])
        };
        let queue = self.door.queue().expect("the node is up");
        let mut left = count;
        while left > 0 {
            let submissions: Vec<Submission> = (0..left.min(1_000))
                .map(|_| {
                    let mut spec = spec();
                    spec.priority = Priority::new(priority).expect("a priority");
                    Submission::new(spec)
                })
                .collect();
            left -= submissions.len();
            let told = Arc::new(std::sync::Mutex::new(None));
            let (answer, queue, who) = (Arc::clone(&told), Arc::clone(&queue), who.clone());
            let future = async move {
                let accepted = queue
                    .submit_many(&who, submissions, true)
                    .await
                    .expect("accepted");
                *answer.lock().expect("not poisoned") = Some(accepted);
            };
            self.world
                .executor
                .spawner(OUTSIDE)
                .spawn("submit", Box::pin(future));
            self.until(|_| told.lock().expect("not poisoned").is_some());
            let accepted = told.lock().expect("not poisoned").take().expect("answered");
            for one in accepted {
                self.owner.insert(
                    one.expect("accepted").task.to_string(),
                    (tenant(number), priority),
                );
            }
        }
    }

    /// Whose task each assignment was, in the order of the audit log, from the `from`th on.
    fn order(&self, from: usize, count: usize) -> Vec<(TenantId, u8)> {
        let log = &self.stores.log;
        let mut assigned = Vec::new();
        let mut next = 0;
        while assigned.len() < from + count {
            let entries = now(log.read(next, 1_000)).expect("read");
            assert!(!entries.is_empty(), "there are not so many assignments");
            next += entries.len() as u64;
            for entry in entries {
                let leaf = Leaf::decode(&entry.leaf).expect("a canonical leaf");
                let is_assigned = leaf
                    .actions
                    .as_slice()
                    .iter()
                    .any(|action| action.as_str() == "assigned");
                let task = leaf.resource.filter(|_| is_assigned).map(|resource| resource.id);
                assigned.extend(task.and_then(|id| self.owner.get(&id).copied()));
            }
        }
        assigned.drain(from..from + count).collect()
    }
}

/// The weights of tenants 1 and 2.
fn weighted(first: u32, second: u32) -> FairSettings {
    FairSettings {
        weights: [(tenant(1), first), (tenant(2), second)].into(),
        ..FairSettings::default()
    }
}

#[test]
fn weights_3_to_1_give_shares_within_2_points_in_every_window_of_200() {
    let mut calm = Calm::new(weighted(3, 1));
    calm.submit(1, 50, 2_000);
    calm.submit(2, 50, 2_000);
    let from = calm.assigned();
    calm.until(|calm| calm.assigned() >= from + 1_000);
    let order = calm.order(from, 1_000);
    for (start, window) in order.windows(200).enumerate() {
        let first = window.iter().filter(|(owner, _)| *owner == tenant(1)).count();
        assert!((146..=154).contains(&first), "{first} of 200 from {start}");
    }
}

#[test]
fn one_task_does_not_wait_for_the_backlog_of_another_tenant() {
    let mut calm = Calm::new(FairSettings::default());
    calm.submit(1, 50, 9_000);
    calm.until(|calm| calm.assigned() >= 50);
    calm.submit(2, 50, 1);
    let from = calm.assigned();
    calm.until(|calm| calm.assigned() >= from + 60);
    let place = calm
        .order(from, 60)
        .iter()
        .position(|(owner, _)| *owner == tenant(2));
    // active tenants and one batch
    assert!(place.is_some_and(|place| place <= 2 + 20), "{place:?}");
}

#[test]
fn every_band_with_work_gets_one_of_20_and_the_highest_the_most() {
    let mut calm = Calm::new(FairSettings::default());
    let bands = [10, 40, 60, 90];
    for priority in bands {
        calm.submit(1, priority, 1_000);
    }
    let from = calm.assigned();
    calm.until(|calm| calm.assigned() >= from + 400);
    let order = calm.order(from, 400);
    for (start, window) in order.windows(20).enumerate() {
        for priority in bands {
            let served = window.iter().filter(|(_, of)| *of == priority).count();
            assert!(served >= 1, "band {priority} in the window from {start}");
        }
    }
    let highest = order.iter().filter(|(_, of)| *of == 90).count();
    assert!(
        highest >= 400 * 16 / 20,
        "bands are strict beside their minimum: {highest}"
    );
}

#[test]
fn a_lone_tenant_gets_everything() {
    let mut calm = Calm::new(weighted(1, 1_000));
    calm.submit(1, 50, 300);
    calm.until(|calm| calm.assigned() >= 300);
    assert_eq!(calm.order(0, 300).len(), 300);
}
