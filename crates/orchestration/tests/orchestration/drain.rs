//! Stopping: what still runs goes on, or is given back.

use std::sync::Arc;

use arbiter_core::model::{AttemptEnd, Stage, State, TaskId};
use arbiter_core::ports::Clock as _;
use arbiter_testkit::builders::{agent, task};

use crate::agents::Act;
use crate::given::{many_of, millis, reviewed, seconds};
use crate::panel::{Panel, Say};
use crate::watch::lock;
use crate::world::{Running, World};

/// A node whose one agent works on two of four tasks.
async fn busy() -> (World, Running, [TaskId; 4]) {
    let mut world = World::new();
    world.host(1, 2);
    world.puppet.acts(|_| Act::Wait);
    let running = world.start().await;
    world.submit_many(many_of(1, 1..5)).await;
    world.settle().await;
    assert_eq!(world.puppet.tasks(), [task(1), task(2)]);
    (world, running, [1, 2, 3, 4].map(task))
}

#[tokio::test]
async fn after_the_signal_nothing_new_is_assigned_although_slots_become_free() {
    let (world, mut running, ids) = busy().await;
    running.stop.stop();
    world.puppet.reports(ids[0]);
    world.submit(9).await;
    world.pass(seconds(5)).await;
    assert_eq!(world.puppet.count(), 2);
    for id in [ids[2], ids[3], task(9)] {
        assert_eq!(world.word(id).await, "queued");
    }
    assert!(!running.has_ended(), "the other attempt still runs");
}

#[tokio::test]
async fn what_runs_keeps_its_lease_until_it_has_finished() {
    let (world, mut running, ids) = busy().await;
    let _timer = world.start_timer().await;
    running.stop.stop();
    world.pass(seconds(200)).await;
    for id in &ids[..2] {
        let task = world.task(*id).await;
        assert_eq!((task.state.name().word(), task.losses), ("running", 0));
    }
    world.puppet.reports(ids[0]);
    world.settle().await;
    assert!(!running.has_ended());
    world.puppet.reports(ids[1]);
    world.settle().await;
    assert!(running.has_ended(), "with the last attempt");
    for id in &ids[..2] {
        assert_eq!(world.word(*id).await, "succeeded");
    }
    assert_eq!(lock(&world.agents.learnt).len(), 2);
}

#[tokio::test]
async fn at_the_deadline_what_still_runs_is_stopped_and_given_back_at_once() {
    let (world, mut running, ids) = busy().await;
    running.stop.stop();
    world.pass(seconds(5)).await;
    running.drain.stop();
    world.settle().await;
    assert!(running.has_ended(), "without any time passing");
    assert_eq!(world.puppet.stopped().len(), 2);
    for id in &ids[..2] {
        let task = world.task(*id).await;
        assert!(task.is_claimable(), "{task:?}");
        assert_eq!(
            (task.attempts, task.returns),
            (0, 1),
            "the attempt does not count"
        );
        let history = world.history(*id).await;
        assert!(
            matches!(&history.attempts[0].outcome, AttemptEnd::Returned { why } if why.contains("drain"))
        );
    }
    assert_eq!(
        lock(&world.agents.learnt).len(),
        0,
        "it says nothing about the agent"
    );
}

#[tokio::test]
async fn both_signals_at_once_end_it_at_once() {
    let (world, mut running, _) = busy().await;
    running.stop.stop();
    running.drain.stop();
    world.settle().await;
    assert!(running.has_ended());
    assert_eq!(world.clock.monotonic(), std::time::Duration::ZERO);
}

#[tokio::test]
async fn an_idle_dispatcher_ends_at_once() {
    let mut world = World::new();
    world.host(1, 2);
    let mut running = world.start().await;
    assert!(!running.has_ended());
    running.stop.stop();
    world.settle().await;
    assert!(running.has_ended());
}

#[tokio::test]
async fn it_ends_while_the_store_is_down() {
    let mut world = World::new();
    world.host(1, 2);
    world.watch.set_down(true);
    let mut running = world.start().await;
    running.stop.stop();
    world.settle().await;
    assert!(running.has_ended());
}

#[tokio::test]
async fn a_report_on_its_way_is_handed_in_although_the_node_drains() {
    let (world, mut running, ids) = busy().await;
    world.watch.set_down(true);
    world.puppet.reports(ids[0]);
    world.pass(seconds(1)).await;
    running.stop.stop();
    running.drain.stop();
    world.pass(seconds(1)).await;
    assert!(!running.has_ended());
    world.watch.set_down(false);
    world.pass(millis(500)).await;
    assert!(running.has_ended());
    assert_eq!(world.word(ids[0]).await, "succeeded");
    assert!(world.task(ids[1]).await.is_claimable());
}

#[tokio::test]
async fn what_is_given_back_is_taken_by_another_node() {
    let (world, running, ids) = busy().await;
    let mut other = world.another_node(2);
    other.host(2, 4);
    let _there = other.start().await;
    running.stop.stop();
    running.drain.stop();
    world.pass(seconds(1)).await;
    for id in ids {
        assert_eq!(world.word(id).await, "succeeded");
        let history = world.history(id).await;
        let last = history.attempts.last().expect("an attempt");
        assert_eq!(last.open.agent, agent(2));
    }
}

#[tokio::test]
async fn a_review_under_way_finishes_after_the_signal_and_is_given_back_at_the_deadline() {
    for deadline in [false, true] {
        let panel = Panel::new(Stage::Verify, [Say::Wait]);
        let mut world = World::new();
        world.host(1, 1);
        world.review_slots = 1;
        world.stages.push(Arc::clone(&panel) as _);
        let mut running = world.start().await;
        let id = world
            .submit_with(1, |spec| spec.review = reviewed(&[Stage::Verify]))
            .await;
        world.settle().await;
        running.stop.stop();
        world.pass(seconds(60)).await;
        assert_eq!(panel.waiting(), 1);
        assert!(!running.has_ended());
        if deadline {
            running.drain.stop();
        } else {
            panel.decide(Say::Passed);
        }
        world.settle().await;
        assert!(running.has_ended());
        let state = world.state(id).await;
        if deadline {
            assert!(
                world.task(id).await.is_claimable(),
                "another node may review: {state:?}"
            );
            assert_eq!(world.history(id).await.stages.len(), 0);
        } else {
            assert_eq!(state, State::Succeeded);
        }
    }
}

#[tokio::test]
async fn a_killed_node_loses_nothing() {
    let (world, running, ids) = busy().await;
    running.kill();
    let mut other = world.another_node(2);
    other.host(2, 4);
    let (_there, _timer) = (other.start().await, other.start_timer().await);
    world.settle().await;
    // its attempts run on under their spawner and keep their leases: they are told to finish
    for id in &ids[..2] {
        world.puppet.reports(*id);
    }
    world.pass(seconds(1)).await;
    for id in ids {
        assert_eq!(
            (world.word(id).await.as_str(), world.task(id).await.attempts),
            ("succeeded", 1)
        );
    }
}
