//! What the plain rule makes of failures and losses, over the store.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_core::lifecycle::{RetryPlan, Rules};
use arbiter_core::mechanism::keyed_jitter;
use arbiter_core::model::{Failure, FailureClass, Holder, State, Task, TaskId, Wait};
use arbiter_core::services::{AttemptFailure, FailureHandler as _};
use arbiter_orchestration::PlainRetry;
use arbiter_testkit::builders::{agent, failure, kind, task, tenant};
use arbiter_testkit::choosers::AssignAll;

use crate::agents::Act;
use crate::given::{agents, millis, seconds};
use crate::world::World;

/// How long a queued task waits from now on.
fn wait_of(world: &World, task: &Task) -> Duration {
    match task.state {
        State::Queued { wait: Wait::Ready } => Duration::ZERO,
        State::Queued {
            wait: Wait::Until(at),
        } => at.since(world.now()),
        ref other => panic!("the task is queued: {other:?}"),
    }
}

/// A world with one agent that fails in this way every time.
fn failing(class: FailureClass) -> World {
    let mut world = World::new();
    world.host(1, 100);
    world
        .puppet
        .acts(move |_| Act::Fail(Failure { class, ..failure() }));
    world
}

/// Waits until a queued task can be claimed.
async fn ready(world: &World, id: TaskId) {
    let wait = wait_of(world, &world.task(id).await);
    world.jump(wait).await;
    world.due().await;
    assert!(world.task(id).await.is_claimable());
}

#[test]
fn every_failure_is_tried_again_after_the_rules_own_back_off() {
    for class in [FailureClass::Agent, FailureClass::Crash, FailureClass::Review] {
        let failure = Failure { class, ..failure() };
        let plan = PlainRetry.plan(&AttemptFailure {
            task: task(1),
            tenant: tenant(1),
            kind: &kind(),
            agent: None,
            attempts: 3,
            max_attempts: 3,
            failure: &failure,
        });
        assert_eq!(plan, RetryPlan::Retry { after: None });
    }
}

#[tokio::test]
async fn the_first_lost_lease_is_tried_again_at_once_and_later_ones_wait() {
    let world = World::new();
    let id = world
        .submit_with(1, |spec| spec.constraints.max_attempts = 4)
        .await;
    let holder = Holder::Agent(agent(1));
    let backoff = Rules::default().backoff;
    for loss in 1..=3_u32 {
        world.claim(id, holder).await;
        world.jump(seconds(45)).await;
        world.due().await;
        let task = world.task(id).await;
        assert_eq!(u32::from(task.losses), loss);
        let expected = if loss == 1 {
            Duration::ZERO
        } else {
            micros(backoff.delay(loss, keyed_jitter(id.as_bytes(), loss)))
        };
        assert_eq!(wait_of(&world, &task), expected, "loss {loss}");
        ready(&world, id).await;
    }
}

/// Times are kept in microseconds.
fn micros(exact: Duration) -> Duration {
    Duration::from_micros(exact.as_micros() as u64)
}

#[tokio::test]
async fn failures_back_off_from_one_second_doubled_to_at_most_a_minute() {
    let world = failing(FailureClass::Agent);
    let id = world
        .submit_with(1, |spec| spec.constraints.max_attempts = 12)
        .await;
    let ceilings = [1, 2, 4, 8, 16, 32, 60, 60, 60, 60];
    for (attempt, ceiling) in (1_u32..).zip(ceilings) {
        world.attempt(id).await;
        let task = world.task(id).await;
        let wait = wait_of(&world, &task);
        assert!(wait < seconds(ceiling), "attempt {attempt}: {wait:?}");
        let exact = seconds(ceiling).mul_f64(keyed_jitter(id.as_bytes(), attempt) as f64 / 2_f64.powi(64));
        assert!(
            wait.abs_diff(exact) <= millis(1),
            "attempt {attempt}: {wait:?}, not {exact:?}"
        );
        ready(&world, id).await;
    }
}

#[tokio::test]
async fn the_jitter_is_full_so_that_tasks_that_fail_together_do_not_come_back_together() {
    let world = failing(FailureClass::Agent);
    let mut waits = Vec::new();
    for number in 0..64 {
        let id = world.submit(number).await;
        world.attempt(id).await;
        waits.push(wait_of(&world, &world.task(id).await));
    }
    let different: BTreeSet<_> = waits.iter().collect();
    assert!(different.len() > 60, "{waits:?}");
    let early = waits.iter().filter(|wait| **wait < millis(500)).count();
    assert!(
        (16..48).contains(&early),
        "half of them in the first half: {early}"
    );
    assert!(waits.iter().min() < Some(&millis(100)) && waits.iter().max() > Some(&millis(900)));
}

#[tokio::test]
async fn a_task_goes_to_another_agent_than_the_one_that_failed_it() {
    let mut world = World::new();
    world.host(1, 5);
    world.host(2, 5);
    world.host(3, 5);
    world.puppet.acts(|_| Act::Fail(failure()));
    let (_running, _timer) = (world.start().await, world.start_timer().await);
    let id = world.submit(1).await;
    world.pass(seconds(10)).await;
    assert_eq!(world.puppet.agents(), agents(&[1, 2, 3]));
    assert_eq!(world.task(id).await.avoid, agents(&[1, 2, 3]));
}

#[tokio::test]
async fn a_task_goes_back_to_the_agent_that_failed_it_when_there_is_no_other() {
    let world = failing(FailureClass::Agent);
    let (_running, _timer) = (world.start().await, world.start_timer().await);
    world.submit(1).await;
    world.pass(seconds(10)).await;
    assert_eq!(world.puppet.agents(), agents(&[1, 1, 1]));
}

#[tokio::test]
async fn after_exactly_the_last_attempt_a_task_is_dead_lettered() {
    for (class, reason) in [
        (FailureClass::Agent, "attempts_exhausted"),
        (FailureClass::Timeout, "attempts_exhausted"),
        (FailureClass::Crash, "poison"),
    ] {
        for max in [1, 2, 4] {
            let world = failing(class);
            let (_running, _timer) = (world.start().await, world.start_timer().await);
            let id = world
                .submit_with(1, |spec| spec.constraints.max_attempts = max)
                .await;
            world.pass(seconds(10)).await;
            assert_eq!(world.word(id).await, format!("dead_lettered: {reason}"));
            assert_eq!(world.puppet.count(), usize::from(max));
            let task = world.task(id).await;
            assert_eq!((task.attempts, task.returns), (max, 0), "nothing was given back");
        }
    }
}

#[tokio::test]
async fn lost_leases_are_counted_and_end_in_poison() {
    let world = World::new();
    let id = world.submit(1).await;
    for attempts in 1..=3 {
        world.claim(id, Holder::Agent(agent(1))).await;
        world.jump(seconds(45)).await;
        world.due().await;
        let task = world.task(id).await;
        assert_eq!(
            (task.attempts, task.returns),
            (attempts, 0),
            "a crash gives nothing back"
        );
        world.jump(seconds(60)).await;
        world.due().await;
    }
    assert_eq!(world.word(id).await, "dead_lettered: poison");
}

#[tokio::test]
async fn a_missed_acknowledgement_gives_the_attempt_back_at_most_ten_times() {
    let world = World::new();
    let id = world.submit(1).await;
    let mut counts = Vec::new();
    for _ in 0..13 {
        let mut chooser = AssignAll::to(Holder::Agent(agent(1)));
        chooser.acknowledged = false;
        world.claim_with(id, chooser).await;
        world.jump(seconds(10)).await;
        world.due().await;
        let task = world.task(id).await;
        counts.push((task.returns, task.attempts));
        world.jump(seconds(60)).await;
        world.due().await;
    }
    let expected: Vec<(u16, u16)> = (1..=10)
        .map(|returns| (returns, 0))
        .chain([(10, 1), (10, 2), (10, 3)])
        .collect();
    assert_eq!(counts, expected);
    assert_eq!(world.word(id).await, "dead_lettered: attempts_exhausted");
}

#[tokio::test]
async fn a_drained_attempt_is_given_back_at_most_ten_times() {
    let mut world = World::new();
    world.host(1, 1);
    world.puppet.acts(|_| Act::Wait);
    let id = world.submit(1).await;
    for drained in 1..=13_u16 {
        let attempt = world.attempt(id).await;
        attempt.drain.stop();
        world.settle().await;
        assert!(attempt.ended().is_some());
        let task = world.task(id).await;
        assert_eq!(
            (task.returns, task.attempts),
            (drained.min(10), drained.saturating_sub(10))
        );
        world.jump(seconds(60)).await;
        world.due().await;
    }
    assert_eq!(world.word(id).await, "dead_lettered: attempts_exhausted");
}
