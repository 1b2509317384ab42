//! What the timer does, and how often it looks.

use arbiter_core::lifecycle::Command;
use arbiter_core::model::{AttemptEnd, Holder, State};
use arbiter_core::ports::{Hint, Wakeups as _};
use arbiter_testkit::builders::{agent, new_task_with, task};
use arbiter_testkit::choosers::AssignAll;
use arbiter_testkit::faulty::Fault;

use crate::given::{millis, seconds};
use crate::world::World;

#[tokio::test]
async fn a_task_becomes_ready_at_its_moment() {
    let world = World::new();
    let _timer = world.start_timer().await;
    let at = world.now().plus(millis(700));
    let id = world.submit_with(1, |spec| spec.not_before = Some(at)).await;
    world.settle().await;
    world.jump(millis(699)).await;
    assert!(!world.task(id).await.is_claimable());
    world.jump(millis(1)).await;
    assert!(world.task(id).await.is_claimable());
}

#[tokio::test]
async fn a_deadline_fails_a_task_whatever_it_does() {
    let world = World::new();
    let _timer = world.start_timer().await;
    let end = world.now().plus(seconds(20));
    for number in 1..=3 {
        world
            .submit_with(number, |spec| spec.constraints.deadline = Some(end))
            .await;
    }
    let running = world.claim(task(1), Holder::Agent(agent(1))).await;
    let mut assigned = AssignAll::to(Holder::Agent(agent(1)));
    assigned.acknowledged = false;
    world.claim_with(task(2), assigned).await;
    assert_eq!(running.stored.task.id, task(1));
    world.pass(millis(19_750)).await;
    for number in 1..=3 {
        assert!(!world.state(task(number)).await.is_closed());
    }
    world.pass(millis(250)).await;
    for number in 1..=3 {
        assert_eq!(world.word(task(number)).await, "failed: deadline");
    }
}

#[tokio::test]
async fn a_lapsed_lease_is_taken_back_when_it_ends() {
    let world = World::new();
    let _timer = world.start_timer().await;
    let id = world.submit(1).await;
    world.claim(id, Holder::Agent(agent(1))).await;
    world.pass(millis(44_750)).await;
    assert_eq!(world.word(id).await, "running");
    world.pass(millis(250)).await;
    let task = world.task(id).await;
    assert!(task.is_claimable() && task.losses == 1, "{task:?}");
}

#[tokio::test]
async fn an_assignment_that_nobody_acknowledged_is_given_back_after_ten_seconds() {
    let world = World::new();
    let _timer = world.start_timer().await;
    let id = world.submit(1).await;
    let mut chooser = AssignAll::to(Holder::Agent(agent(1)));
    chooser.acknowledged = false;
    world.claim_with(id, chooser).await;
    world.pass(millis(9_750)).await;
    assert_eq!(world.word(id).await, "assigned");
    world.pass(millis(250)).await;
    let task = world.task(id).await;
    assert!(task.is_claimable());
    assert_eq!((task.attempts, task.returns), (0, 1), "the attempt is given back");
    let history = world.history(id).await;
    assert!(matches!(history.attempts[0].outcome, AttemptEnd::Returned { .. }));
}

#[tokio::test]
async fn dependants_hear_of_the_end_of_what_they_wait_for() {
    let mut world = World::new();
    world.host(1, 1);
    let _timer = world.start_timer().await;
    let first = world.submit(1).await;
    let second = world.submit_with(2, |spec| spec.after = vec![first]).await;
    assert!(!world.task(second).await.is_claimable());
    let _running = world.start().await;
    world.pass(millis(250)).await;
    assert_eq!(world.word(second).await, "succeeded");
}

#[tokio::test]
async fn it_sleeps_until_the_next_moment_and_not_past_it() {
    let world = World::new();
    let at = world.now().plus(millis(300));
    world.submit_with(1, |spec| spec.not_before = Some(at)).await;
    let _timer = world.start_timer().await;
    assert_eq!(world.watch.calls("due"), 1);
    world.jump(millis(299)).await;
    assert_eq!(world.watch.calls("due"), 1, "nothing is asked before");
    world.jump(millis(1)).await;
    assert_eq!(
        world.watch.calls("due"),
        3,
        "one that does it, and one for the hint that it published itself"
    );
}

#[tokio::test]
async fn an_idle_timer_looks_once_a_second() {
    let world = World::new();
    let far = world.now().plus(seconds(3_600));
    world.submit_with(1, |spec| spec.not_before = Some(far)).await;
    let _timer = world.start_timer().await;
    let before = world.watch.all_calls();
    world.pass(seconds(60)).await;
    assert_eq!(
        (world.watch.calls("due"), world.watch.all_calls() - before),
        (61, 60)
    );
}

#[tokio::test]
async fn a_storm_of_hints_costs_a_query_or_two() {
    let world = World::new();
    let _timer = world.start_timer().await;
    let before = world.watch.calls("due");
    for number in 0..5_000 {
        world.wakeups.publish(&[Hint::Task(task(number))]);
    }
    world.settle().await;
    assert!((1..=2).contains(&(world.watch.calls("due") - before)));
}

#[tokio::test]
async fn what_is_stored_with_an_earlier_moment_is_done_in_time() {
    let world = World::new();
    let far = world.now().plus(seconds(3_600));
    world.submit_with(1, |spec| spec.not_before = Some(far)).await;
    let _timer = world.start_timer().await;
    let soon = world.now().plus(millis(400));
    let id = world.submit_with(2, |spec| spec.not_before = Some(soon)).await;
    world.settle().await;
    world.jump(millis(400)).await;
    assert!(world.task(id).await.is_claimable());
}

#[tokio::test]
async fn more_than_one_round_is_done_without_waiting() {
    let world = World::new();
    let at = world.now().plus(millis(500));
    let tasks = (0..600).map(|number| new_task_with(number, |spec| spec.not_before = Some(at)));
    world.submit_quietly(tasks.collect()).await;
    let _timer = world.start_timer().await;
    let before = world.watch.calls("due");
    world.jump(millis(500)).await;
    for number in 0..600 {
        assert!(world.task(task(number)).await.is_claimable(), "{number}");
    }
    assert!(world.watch.calls("due") - before >= 3, "rounds are bounded");
    assert_eq!(world.metrics.total("queue.due_handled_total"), 600);
}

#[tokio::test]
async fn while_the_store_is_down_it_backs_off_and_goes_on_when_it_is_back() {
    let world = World::new();
    let at = world.now().plus(seconds(5));
    let id = world.submit_with(1, |spec| spec.not_before = Some(at)).await;
    world.watch.set_down(true);
    let _timer = world.start_timer().await;
    let before = world.watch.all_calls();
    world.pass(seconds(10)).await;
    assert_eq!(world.watch.all_calls() - before, 20, "twice a second");
    world.watch.set_down(false);
    world.pass(millis(500)).await;
    assert!(world.task(id).await.is_claimable());
}

#[tokio::test]
async fn what_was_done_twice_or_without_an_answer_has_one_effect() {
    for fault in [Fault::Repeated, Fault::UnknownAfter, Fault::UnknownBefore] {
        let world = World::new();
        let id = world.submit(1).await;
        world.claim(id, Holder::Agent(agent(1))).await;
        let _timer = world.start_timer().await;
        world.pass(millis(44_750)).await;
        world.watch.fail("due", [fault]);
        world.pass(seconds(2)).await;
        let task = world.task(id).await;
        assert_eq!((task.losses, task.attempts), (1, 1), "{fault:?}");
        assert_eq!(world.history(id).await.attempts.len(), 1, "{fault:?}");
    }
}

#[tokio::test]
async fn two_timers_do_each_thing_once() {
    let world = World::new();
    let other = world.another_node(2);
    let id = world.submit(1).await;
    world.claim(id, Holder::Agent(agent(1))).await;
    let (_one, _two) = (world.start_timer().await, other.start_timer().await);
    world.pass(seconds(46)).await;
    assert_eq!(world.task(id).await.losses, 1);
}

#[tokio::test]
async fn it_ends_when_told_to_stop() {
    let world = World::new();
    let mut timer = world.start_timer().await;
    assert!(!timer.has_ended());
    timer.stop.stop();
    world.settle().await;
    assert!(timer.has_ended());
    let before = world.watch.all_calls();
    world.pass(seconds(5)).await;
    assert_eq!(world.watch.all_calls(), before);
}

#[tokio::test]
async fn a_cancelled_task_gives_its_slot_back_when_its_lease_would_have_ended() {
    let world = World::new();
    let _timer = world.start_timer().await;
    let id = world.submit(1).await;
    world.claim(id, Holder::Agent(agent(1))).await;
    let why = "not needed".to_owned();
    world.order(id, Command::Cancel { why }).await.expect("cancelled");
    assert_eq!(world.task(id).await.releases.len(), 1);
    world.pass(seconds(45)).await;
    assert_eq!(world.task(id).await.releases, []);
    assert_eq!(world.state(id).await, State::Cancelled);
}
