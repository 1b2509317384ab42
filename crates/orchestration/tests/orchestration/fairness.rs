//! Shares, bands and limits, through the store.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{Band, TaskId, TenantId};
use arbiter_core::ports::{NewTask, Scope};
use arbiter_testkit::builders::{new_task_with, task, tenant};

use crate::agents::Act;
use crate::given::{many_of, of, priority, seconds, word};
use crate::watch::lock;
use crate::world::World;

/// A node with so many slots whose attempts report at once.
fn quick(slots: u32) -> World {
    let mut world = World::new();
    world.host(1, slots);
    world
}

/// The tenants of what was started, in order.
fn owners(world: &World) -> Vec<TenantId> {
    let seen = world.puppet.seen();
    seen.iter().map(|one| one.stored.task.tenant).collect()
}

/// Tasks of tenant 1 with this priority.
fn of_priority(value: u8, numbers: std::ops::Range<u64>) -> Vec<NewTask> {
    numbers
        .map(|number| new_task_with(number, |spec| spec.priority = priority(value)))
        .collect()
}

#[tokio::test]
async fn weights_hold_in_every_window_of_two_hundred() {
    for slots in [1, 7, 20, 64] {
        let mut world = quick(slots);
        world.fair.weights = BTreeMap::from([(tenant(1), 3), (tenant(2), 1)]);
        world.submit_many(many_of(1, 0..1_200)).await;
        world.submit_many(many_of(2, 2_000..2_400)).await;
        let _running = world.start().await;
        world
            .until("everything is started", || world.puppet.count() == 1_600)
            .await;
        // while both are backlogged
        let served = owners(&world);
        for window in served[..1_500].windows(200) {
            let share = window.iter().filter(|owner| **owner == tenant(1)).count();
            assert!((146..=154).contains(&share), "{slots} slots: {share} of 200");
        }
    }
}

#[tokio::test]
async fn a_lone_tenant_gets_everything() {
    let mut world = quick(20);
    world.fair.weights = BTreeMap::from([(tenant(1), 1), (tenant(2), 1_000)]);
    world.submit_many(many_of(1, 0..300)).await;
    let _running = world.start().await;
    world
        .until("everything is started", || world.puppet.count() == 300)
        .await;
    let claims = world.watch.calls("claim");
    assert!(claims <= 16, "no slot waits for a tenant without work: {claims}");
}

#[tokio::test]
async fn one_task_amid_ten_thousand_waits_for_a_batch_at_most() {
    // with more free slots than a batch has tasks, claims follow each other without a pause
    for slots in [1, 20, 400] {
        let world = quick(slots);
        world.submit_many(many_of(1, 0..10_000)).await;
        let _running = world.launch();
        let assigned = || world.metrics.total("dispatcher.assigned_total");
        world.until("a hundred are assigned", || assigned() >= 100).await;
        let before = assigned();
        assert!(before < 200, "it comes amid the backlog: {before}");
        let newcomer = world.submit_for(tenant(2), 20_000).await;
        let place = |id: TaskId| world.puppet.tasks().iter().position(|other| *other == id);
        let limit = before as usize + 2 + 20;
        world
            .until("so many have started", || world.puppet.count() > limit)
            .await;
        let place = place(newcomer);
        assert!(
            place.is_some_and(|place| place < limit),
            "{slots} slots: {place:?} of {limit}"
        );
    }
}

#[tokio::test]
async fn a_newcomer_that_nobody_told_of_is_seen_within_a_second_of_a_busy_dispatcher() {
    let mut world = quick(1);
    world.puppet.acts(|_| Act::Wait);
    // no hints: neither of the submit nor of the ends of attempts
    world.host_for(2, 1, [word("writing")]);
    world.submit_many(many_of(1, 0..50)).await;
    let _running = world.start().await;
    world
        .submit_quietly(vec![{
            let mut new = of(tenant(2), 100);
            std::sync::Arc::make_mut(&mut new.spec).kind = word("writing");
            new
        }])
        .await;
    world.pass(seconds(1)).await;
    assert!(world.puppet.tasks().contains(&task(100)));
}

#[tokio::test]
async fn every_band_with_work_gets_one_of_every_twenty() {
    // within one claim the order is that of the plan: a window of one batch more covers it
    for (slots, window) in [(1, 20), (20, 40), (50, 40)] {
        let world = quick(slots);
        for band in 0..4_u8 {
            let first = u64::from(band) * 1_000;
            let count = if band == 3 { 900 } else { 50 };
            world
                .submit_many(of_priority(band * 25, first..first + count))
                .await;
        }
        let _running = world.start().await;
        world
            .until("most is started", || world.puppet.count() >= 800)
            .await;
        let bands: Vec<Band> = world
            .puppet
            .seen()
            .iter()
            .map(|one| one.stored.spec.priority.band())
            .collect();
        for (place, part) in bands[..800].windows(window).enumerate() {
            let served: BTreeSet<Band> = part.iter().copied().collect();
            assert_eq!(served.len(), 4, "{slots} slots, from {place}: {part:?}");
        }
        let urgent = bands[..800].iter().filter(|band| **band == Band::HIGHEST).count();
        assert!(
            urgent >= 640,
            "beside that, the highest band goes first: {urgent}"
        );
    }
}

#[tokio::test]
async fn a_band_that_nobody_can_serve_does_not_keep_the_others_waiting() {
    let world = quick(5);
    let blocked = (0..200).map(|number| {
        new_task_with(number, |spec| {
            spec.priority = priority(100);
            spec.kind = word("research");
        })
    });
    world.submit_many(blocked.collect()).await;
    world.submit_many(of_priority(0, 1_000..1_100)).await;
    let _running = world.start().await;
    world
        .until("all that can be done is started", || world.puppet.count() == 100)
        .await;
}

/// The most that ran at once, by what `of` says of a task, while each attempt takes a second.
async fn most_at_once<K: Ord + Clone>(
    world: &World,
    count: usize,
    of: impl Fn(&arbiter_core::ports::Delivery) -> K,
) -> BTreeMap<K, usize> {
    let mut most = BTreeMap::new();
    let mut done = 0;
    while done < count {
        world.settle().await;
        let seen = world.puppet.seen();
        assert!(seen.len() > done, "it goes on: {done} of {count}");
        let mut now: BTreeMap<K, usize> = BTreeMap::new();
        for delivery in &seen[done..] {
            *now.entry(of(delivery)).or_default() += 1;
        }
        for (key, running) in now {
            let most = most.entry(key).or_insert(0);
            *most = running.max(*most);
        }
        world.puppet.reports(seen[done].stored.task.id);
        done += 1;
        world.pass(seconds(1)).await;
    }
    most
}

#[tokio::test]
async fn no_more_tasks_of_a_tenant_run_than_it_may_have_running() {
    let world = quick(8);
    world.puppet.acts(|_| Act::Wait);
    lock(&world.agents.limits).insert(Scope::Tenant(tenant(1)), 3);
    world.submit_many(many_of(1, 0..30)).await;
    world.submit_many(many_of(2, 100..130)).await;
    let _running = world.start().await;
    let most = most_at_once(&world, 60, |delivery| delivery.stored.task.tenant).await;
    assert_eq!(most[&tenant(1)], 3);
    assert!(most[&tenant(2)] >= 5, "the other has what is left: {most:?}");
}

#[tokio::test]
async fn no_more_tasks_of_a_kind_run_than_its_tenant_may_have_running() {
    let mut world = World::new();
    world.host_for(1, 8, [word("analysis"), word("writing")]);
    world.puppet.acts(|_| Act::Wait);
    let limited = Scope::TenantKind(tenant(1), word("writing"));
    lock(&world.agents.limits).insert(limited, 2);
    let written = (0..20).map(|number| new_task_with(number, |spec| spec.kind = word("writing")));
    world.submit_many(written.collect()).await;
    world.submit_many(many_of(1, 100..120)).await;
    let _running = world.start().await;
    let most = most_at_once(&world, 40, |delivery| delivery.stored.spec.kind.clone()).await;
    assert_eq!(most[&word("writing")], 2);
    assert!(
        most[&word("analysis")] >= 6,
        "the other kind has what is left: {most:?}"
    );
}

#[tokio::test]
async fn two_dispatchers_share_fairly_and_start_each_task_once() {
    let world = quick(10);
    let mut other = world.another_node(2);
    other.host(2, 10);
    world.submit_many(many_of(1, 0..400)).await;
    world.submit_many(many_of(2, 1_000..1_400)).await;
    let (_here, _there) = (world.start().await, other.start().await);
    let all = || world.puppet.count() + other.puppet.count();
    world.until("everything is started", || all() == 800).await;
    world.settle().await;
    assert_eq!(all(), 800);
    let started: BTreeSet<TaskId> = [world.puppet.tasks(), other.puppet.tasks()]
        .into_iter()
        .flatten()
        .collect();
    assert_eq!(started.len(), 800, "each of them once");
    for node in [&world, &other] {
        let served = owners(node);
        let half = &served[..served.len() / 2];
        let share = half.iter().filter(|owner| **owner == tenant(1)).count() as f64 / half.len() as f64;
        assert!((0.4..=0.6).contains(&share), "{share}");
    }
}
