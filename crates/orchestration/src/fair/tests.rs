//! The scheduler against simulated backlogs.

use std::collections::{BTreeSet, VecDeque};

use arbiter_core::model::{Requires, SecurityLevel, Shape, TaskKind, Work};
use proptest::prelude::*;

use super::*;

fn tenant(number: u8) -> TenantId {
    TenantId::from_bytes([number; 16])
}

fn key(owner: u8, band: u8, kind: &str) -> LaneKey {
    LaneKey {
        tenant: tenant(owner),
        band: Band::new(band).expect("band"),
        work: Work::Attempt(Shape {
            kind: TaskKind::new(kind).expect("kind"),
            requires: Requires::default(),
            security: SecurityLevel::Internal,
        }),
    }
}

/// Backlogs served through a scheduler, as a store and agents would.
struct World {
    fair: FairScheduler,
    backlog: BTreeMap<LaneId, (LaneKey, VecDeque<i64>)>,
    blocked: Vec<LaneId>,
    clock: i64,
    /// Tenant and band of each assignment, in order.
    served: Vec<(TenantId, Band)>,
}

impl World {
    fn new(weights: &[(u8, u32)]) -> Self {
        let weights = weights
            .iter()
            .map(|(owner, weight)| (tenant(*owner), *weight))
            .collect();
        let fair = FairScheduler::new(FairSettings {
            weights,
            ..FairSettings::default()
        });
        Self {
            fair,
            backlog: BTreeMap::new(),
            blocked: Vec::new(),
            clock: 0,
            served: Vec::new(),
        }
    }

    fn add(&mut self, key: &LaneKey, count: usize) {
        let clock = &mut self.clock;
        let (_, tasks) = self
            .backlog
            .entry(key.id())
            .or_insert_with(|| (key.clone(), VecDeque::new()));
        tasks.extend(
            std::iter::repeat_with(|| {
                *clock += 1;
                *clock
            })
            .take(count),
        );
    }

    fn observe(&mut self) {
        let heads = self.backlog.iter().filter_map(|(lane, (key, tasks))| {
            Some(LaneHead {
                lane: *lane,
                key: key.clone(),
                first: OrderKey(*tasks.front()?),
            })
        });
        self.fair.observe(heads.collect());
    }

    fn round(&mut self, batch: u32) -> usize {
        self.observe();
        let capacity = self
            .fair
            .lanes()
            .map(|(lane, _)| (lane, batch))
            .filter(|(lane, _)| !self.blocked.contains(lane));
        let capacity = capacity.collect();
        let quotas = self.fair.plan(batch, &capacity);
        let before = self.served.len();
        let mut asked = BTreeSet::new();
        for quota in quotas {
            let (key, tasks) = self.backlog.get_mut(&quota.lane).expect("a planned lane exists");
            let taken = tasks.drain(..tasks.len().min(quota.take as usize)).count();
            self.served
                .extend(std::iter::repeat_n((key.tenant, key.band), taken));
            self.fair.served(quota.lane, taken as u32);
            asked.insert(quota.lane);
        }
        for lane in asked {
            let (_, tasks) = &self.backlog[&lane];
            self.fair.moved(lane, tasks.front().map(|first| OrderKey(*first)));
        }
        self.served.len() - before
    }

    fn share(window: &[(TenantId, Band)], owner: u8) -> f64 {
        window
            .iter()
            .filter(|(tenant_id, _)| *tenant_id == tenant(owner))
            .count() as f64
            / window.len() as f64
    }
}

#[test]
fn weights_hold_in_every_window_of_two_hundred() {
    for batch in [1, 3, 7, 16, 20] {
        let mut world = World::new(&[(1, 3), (2, 1)]);
        world.add(&key(1, 2, "analysis"), 10_000);
        world.add(&key(2, 2, "analysis"), 10_000);
        while world.served.len() < 4_000 {
            assert!(world.round(batch) > 0);
        }
        for window in world.served.windows(200) {
            let share = World::share(window, 1);
            assert!((share - 0.75).abs() <= 0.02 + 1e-9, "batch {batch}: {share}");
        }
    }
}

#[test]
fn a_lone_tenant_gets_everything() {
    let mut world = World::new(&[(1, 1), (2, 1_000)]);
    world.add(&key(1, 2, "analysis"), 100);
    for _ in 0..5 {
        assert_eq!(world.round(20), 20);
    }
    assert_eq!(world.round(20), 0);
}

#[test]
fn one_task_amid_a_hundred_thousand_waits_no_longer_than_tenants_and_batch() {
    for batch in [1, 20] {
        let mut world = World::new(&[]);
        world.add(&key(1, 2, "analysis"), 100_000);
        for _ in 0..50 {
            world.round(batch);
        }
        world.add(&key(2, 2, "analysis"), 1);
        let start = world.served.len();
        while !world.served[start..].iter().any(|(owner, _)| *owner == tenant(2)) {
            world.round(batch);
            assert!(world.served.len() - start <= 2 + batch as usize, "batch {batch}");
        }
    }
}

#[test]
fn every_band_with_work_gets_one_of_each_twenty() {
    for batch in [1, 5, 20] {
        let mut world = World::new(&[]);
        for band in 0..4 {
            world.add(&key(1, band, "analysis"), 5_000);
        }
        while world.served.len() < 4_000 {
            world.round(batch);
        }
        let ordered = batch == 1;
        for window in world
            .served
            .windows(if ordered { 20 } else { 20 + batch as usize })
        {
            for band in 0..4 {
                assert!(
                    window.iter().any(|(_, served)| served.get() == band),
                    "batch {batch}, band {band}"
                );
            }
        }
        let top = world.served.iter().filter(|(_, band)| band.get() == 3).count();
        assert!(
            top as f64 / world.served.len() as f64 >= 0.8,
            "bands are strict beside their minimum share"
        );
    }
}

#[test]
fn an_idle_tenant_banks_no_credit_and_a_flapping_one_gains_nothing() {
    let mut world = World::new(&[]);
    world.add(&key(1, 2, "analysis"), 10_000);
    for _ in 0..500 {
        world.round(1);
    }
    // Idle for 500 assignments, then backlogged: an equal share from now on, not 500 in a row.
    world.add(&key(2, 2, "analysis"), 1_000);
    let start = world.served.len();
    for _ in 0..100 {
        world.round(1);
    }
    assert!((World::share(&world.served[start..], 2) - 0.5).abs() <= 0.02);
    // One task at a time, always just after the last one was served.
    let mut world = World::new(&[]);
    world.add(&key(1, 2, "analysis"), 10_000);
    for _ in 0..400 {
        if world
            .backlog
            .get(&key(2, 2, "analysis").id())
            .is_none_or(|(_, tasks)| tasks.is_empty())
        {
            world.add(&key(2, 2, "analysis"), 1);
        }
        world.round(1);
    }
    assert!(World::share(&world.served, 2) <= 0.52);
}

#[test]
fn a_cancelled_backlog_costs_nothing() {
    let mut world = World::new(&[]);
    world.add(&key(1, 2, "analysis"), 10_000);
    world.add(&key(2, 2, "analysis"), 5_000);
    world.observe();
    world.backlog.remove(&key(2, 2, "analysis").id());
    for _ in 0..50 {
        world.round(1);
    }
    world.add(&key(2, 2, "analysis"), 100);
    let start = world.served.len();
    for _ in 0..100 {
        world.round(1);
    }
    assert!((World::share(&world.served[start..], 2) - 0.5).abs() <= 0.02);
}

#[test]
fn blocked_lanes_are_stepped_over_and_the_oldest_lane_of_a_tenant_goes_first() {
    let mut world = World::new(&[]);
    world.add(&key(1, 3, "research"), 100_000);
    world.blocked.push(key(1, 3, "research").id());
    world.add(&key(1, 2, "writing"), 2);
    world.add(&key(1, 2, "analysis"), 2);
    assert_eq!(world.round(2), 2);
    assert!(
        world.backlog[&key(1, 2, "writing").id()].1.is_empty(),
        "the older lane went first"
    );
    assert_eq!(world.round(20), 2);
    assert!(world.served.iter().all(|(_, band)| band.get() == 2));
}

#[test]
fn tenants_without_work_are_forgotten() {
    let mut world = World::new(&[]);
    for owner in 1..=200 {
        world.add(&key(owner, 2, "analysis"), 1);
        world.round(1);
    }
    world.add(&key(201, 2, "analysis"), 50);
    for _ in 0..50 {
        world.round(1);
    }
    world.observe();
    assert!(
        world.fair.bands[2].remembered() <= 2,
        "{}",
        world.fair.bands[2].remembered()
    );
}

proptest! {
    #[test]
    fn a_plan_never_exceeds_batch_or_capacity_and_never_leaves_room_unused(
        lanes in prop::collection::vec((1_u8..6, 0_u8..4, 0_usize..3, 1_usize..30, 0_u32..12), 1..24),
        batch in 1_u32..40,
    ) {
        let mut world = World::new(&[(1, 3), (2, 1_000)]);
        let mut capacity = BTreeMap::new();
        for (owner, band, kind, count, room) in lanes {
            let key = key(owner, band, ["analysis", "research", "writing"][kind]);
            world.add(&key, count);
            capacity.insert(key.id(), room);
        }
        world.observe();
        let quotas = world.fair.plan(batch, &capacity);
        let planned: u32 = quotas.iter().map(|quota| quota.take).sum();
        let room: u32 = capacity.values().sum();
        prop_assert_eq!(planned, batch.min(room));
        for (lane, room) in &capacity {
            let taken: u32 = quotas.iter().filter(|quota| quota.lane == *lane).map(|quota| quota.take).sum();
            prop_assert!(taken <= *room);
        }
        prop_assert!(quotas.windows(2).all(|pair| pair[0].lane != pair[1].lane), "neighbours are one quota");
    }
}
