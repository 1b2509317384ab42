//! One attempt: heartbeats, progress, how it ends and what is handed in.

use std::time::Duration;

use arbiter_core::lifecycle::RetryPlan;
use arbiter_core::model::{
    AttemptEnd, Budget, Failure, FailureClass, Holder, Progress, State, TaskId, Timestamp, Usage, Wait,
};
use arbiter_core::ports::Delivered;
use arbiter_core::services::{FailureEvent, WorkError};
use arbiter_testkit::builders::{agent, failure, kind, report, tenant};
use arbiter_testkit::faulty::Fault;

use crate::agents::Act;
use crate::given::{millis, seconds};
use crate::watch::lock;
use crate::world::{Attempting, World};

/// A world with one agent whose attempts wait for the test, and a task.
async fn waiting() -> (World, TaskId) {
    let mut world = World::new();
    world.host(1, 3);
    world.puppet.acts(|_| Act::Wait);
    let id = world.submit(1).await;
    (world, id)
}

/// The same, with an agent that does not hear that it is to stop.
async fn deaf() -> (World, TaskId) {
    let (world, id) = waiting().await;
    world.puppet.acts(|_| Act::Deaf);
    (world, id)
}

fn progress(message: &str) -> Progress {
    Progress {
        at: Timestamp::from_micros(0),
        fraction: None,
        message: message.to_owned(),
    }
}

fn tokens(count: u64) -> Usage {
    Usage {
        tokens: Some(count),
        ..Usage::default()
    }
}

async fn reports_of(world: &World, id: TaskId) -> usize {
    let attempts = world.history(id).await.attempts;
    let reported = attempts
        .iter()
        .filter(|one| matches!(one.outcome, AttemptEnd::Reported(_)));
    reported.count()
}

/// Whether the runner returned, with nothing to learn.
fn ended_without_a_lesson(attempt: &Attempting) -> bool {
    attempt.ended().is_some_and(|learnt| learnt.is_empty())
}

#[tokio::test]
async fn a_delivery_names_the_attempt_and_when_it_must_have_ended() {
    let (world, id) = waiting().await;
    let end = world.now().plus(seconds(200));
    let early = world
        .submit_with(2, |spec| spec.constraints.deadline = Some(end))
        .await;
    let _attempt = world.attempt(id).await;
    let _early = world.attempt(early).await;
    let seen = world.puppet.seen();
    let task = world.task(id).await;
    assert_eq!(
        (seen[0].agent, seen[0].number, seen[0].fence),
        (agent(1), 1, task.fence)
    );
    assert_eq!(
        seen[0].deadline,
        world.now().plus(seconds(300)),
        "the attempt's own limit"
    );
    assert_eq!(seen[1].deadline, end, "the task's deadline is earlier");
}

#[tokio::test]
async fn heartbeats_every_fifteen_seconds_keep_the_lease() {
    let (world, id) = waiting().await;
    let _timer = world.start_timer().await;
    let start = world.now();
    let attempt = world.attempt(id).await;
    world.pass(seconds(120)).await;
    let beats = world.desk.beats_of(attempt.assignment.fence);
    let expected: Vec<Timestamp> = (1..=8).map(|beat| start.plus(seconds(15 * beat))).collect();
    assert_eq!(beats, expected);
    let lease = world.state(id).await.lease().cloned().expect("a lease");
    assert_eq!(
        (lease.fence, lease.until),
        (attempt.assignment.fence, world.now().plus(seconds(45)))
    );
}

#[tokio::test]
async fn progress_is_forwarded_within_half_a_second_and_the_latest_counts() {
    let (world, id) = waiting().await;
    let _attempt = world.attempt(id).await;
    let sink = world.puppet.seen()[0].progress.clone();
    sink.tell(Some(progress("read")), None);
    sink.tell(Some(progress("counted")), Some(tokens(5)));
    sink.tell(None, Some(tokens(7)));
    world.pass(millis(500)).await;
    assert_eq!(world.desk.told(), [(Some("counted".to_owned()), Some(tokens(7)))]);
    let kept = world.task(id).await.progress.expect("progress");
    assert_eq!(
        (kept.message.as_str(), kept.at),
        ("counted", world.now()),
        "by the store's clock"
    );
}

#[tokio::test]
async fn a_talkative_agent_costs_two_calls_a_second() {
    let (world, id) = waiting().await;
    let _attempt = world.attempt(id).await;
    let sink = world.puppet.seen()[0].progress.clone();
    for step in 0..40 {
        sink.tell(Some(progress(&step.to_string())), None);
        world.pass(millis(250)).await;
    }
    let told = world.desk.told().len();
    assert!((10..=20).contains(&told), "in ten seconds: {told}");
}

#[tokio::test]
async fn progress_that_could_not_be_told_is_told_with_the_next_heartbeat() {
    let (world, id) = waiting().await;
    let _attempt = world.attempt(id).await;
    world.watch.fail("extend", [Fault::NotApplied]);
    world.puppet.seen()[0].progress.tell(Some(progress("half")), None);
    world.pass(millis(500)).await;
    assert_eq!(world.task(id).await.progress, None);
    world.pass(seconds(1)).await;
    let kept = world.task(id).await.progress.expect("progress");
    assert_eq!(kept.message, "half");
}

#[tokio::test]
async fn limits_that_are_not_enforced_are_known_although_the_attempt_is_cut_off() {
    let (world, id) = waiting().await;
    let _attempt = world.attempt(id).await;
    world.watch.fail("extend", [Fault::NotApplied]);
    let limits = ["network".to_owned()];
    world.puppet.seen()[0].progress.not_enforced(&limits);
    world.pass(millis(500)).await;
    world.pass(seconds(1)).await;
    world.cancel(id).await;
    let ended = &world.history(id).await.attempts[0];
    assert_eq!(ended.not_enforced(), Some(limits.as_slice()));
}

/// The three ends that come before the first heartbeat: what was told by then is known all the same.
#[tokio::test]
async fn limits_that_are_not_enforced_are_known_although_the_attempt_is_drained_at_once() {
    let (world, id) = waiting().await;
    let attempt = world.attempt(id).await;
    let limits = ["network".to_owned()];
    world.puppet.seen()[0].progress.not_enforced(&limits);
    attempt.drain.stop();
    world.settle().await;
    let ended = &world.history(id).await.attempts[0];
    assert!(matches!(ended.outcome, AttemptEnd::Returned { .. }));
    assert_eq!(ended.not_enforced(), Some(limits.as_slice()));
}

#[tokio::test]
async fn limits_that_are_not_enforced_are_known_although_the_budget_is_spent_at_once() {
    let (world, _) = waiting().await;
    let id = world
        .submit_with(2, |spec| {
            spec.constraints.budget.tokens = Some(10);
            spec.kind = crate::given::word("writing");
        })
        .await;
    let _attempt = world.attempt(id).await;
    let limits = ["network".to_owned()];
    let sink = world.puppet.seen()[0].progress.clone();
    sink.not_enforced(&limits);
    sink.tell(None, Some(tokens(11)));
    world.pass(millis(500)).await;
    assert_eq!(world.word(id).await, "failed: over_budget");
    let ended = &world.history(id).await.attempts[0];
    assert_eq!(ended.not_enforced(), Some(limits.as_slice()));
}

#[tokio::test]
async fn limits_that_are_not_enforced_are_known_although_the_transport_fails_at_once() {
    let (world, id) = waiting().await;
    let limits = ["network".to_owned()];
    world.puppet.acts(|delivery| {
        delivery.progress.not_enforced(&["network".to_owned()]);
        Act::Unreachable
    });
    let _attempt = world.attempt(id).await;
    let ended = &world.history(id).await.attempts[0];
    assert!(
        matches!(&ended.outcome, AttemptEnd::Failed(failure) if failure.class == FailureClass::Transport)
    );
    assert_eq!(ended.not_enforced(), Some(limits.as_slice()));
}

#[tokio::test]
async fn a_failed_heartbeat_is_sent_again_after_a_second() {
    let (world, id) = waiting().await;
    let start = world.now();
    let attempt = world.attempt(id).await;
    world
        .watch
        .fail("extend", [Fault::NotApplied, Fault::UnknownBefore]);
    world.pass(seconds(40)).await;
    let after: Vec<Duration> = world
        .desk
        .beats_of(attempt.assignment.fence)
        .iter()
        .map(|at| at.since(start))
        .collect();
    assert_eq!(after, [15, 16, 17, 32].map(seconds));
}

#[tokio::test]
async fn a_report_closes_the_task_and_says_that_the_agent_succeeded() {
    let (world, id) = waiting().await;
    let attempt = world.attempt(id).await;
    world.pass(seconds(20)).await;
    let mut handed = report();
    handed.usage.cost_micros = Some(42);
    world.puppet.answer(id, Delivered::Reported(handed.clone()));
    world.settle().await;
    assert_eq!(world.state(id).await, State::Succeeded);
    let history = world.history(id).await;
    assert_eq!(history.attempts[0].outcome, AttemptEnd::Reported(handed));
    let learnt = attempt.lesson();
    assert_eq!((learnt.task, learnt.agent, learnt.kind), (id, agent(1), kind()));
    assert_eq!(
        (learnt.succeeded, learnt.latency, learnt.cost_micros),
        (true, seconds(20), Some(42))
    );
}

#[tokio::test]
async fn what_the_agent_calls_a_failure_is_counted_told_and_learnt() {
    let (mut world, failures) = World::recording(RetryPlan::Retry {
        after: Some(seconds(7)),
    });
    world.host(1, 1);
    world.puppet.acts(|_| Act::Fail(failure()));
    let id = world.submit(1).await;
    let attempt = world.attempt(id).await;
    let wait = Wait::Until(world.now().plus(seconds(7)));
    assert_eq!(world.state(id).await, State::Queued { wait });
    assert_eq!(failures.asked(), [(id, 1, failure())]);
    let event = FailureEvent::Attempt {
        task: id,
        tenant: tenant(1),
        kind: kind(),
        agent: agent(1),
        failure: failure(),
    };
    assert_eq!(failures.told(), [event]);
    let learnt = attempt.lesson();
    assert!(!learnt.succeeded);
}

#[tokio::test]
async fn an_agent_that_cannot_be_reached_is_a_failure_of_the_transport() {
    let (mut world, failures) = World::recording(RetryPlan::Retry { after: None });
    world.host(1, 1);
    world.puppet.acts(|_| Act::Unreachable);
    let id = world.submit(1).await;
    let _attempt = world.attempt(id).await;
    let asked = failures.asked();
    assert_eq!(asked[0].2.class, FailureClass::Transport);
    assert!(
        asked[0].2.message.ends_with(": nobody answers"),
        "with its cause: {asked:?}"
    );
}

#[tokio::test]
async fn a_report_that_breaks_a_rule_is_a_failure_of_the_protocol() {
    let (world, id) = waiting().await;
    let attempt = world.attempt(id).await;
    lock(&world.desk.refusals).push_back(WorkError::Invalid {
        field: "output".to_owned(),
        problem: "is too large".to_owned(),
    });
    world.puppet.reports(id);
    world.settle().await;
    let history = world.history(id).await;
    let AttemptEnd::Failed(Failure { class, message, .. }) = &history.attempts[0].outcome else {
        panic!("the attempt failed: {history:?}");
    };
    assert_eq!(*class, FailureClass::Protocol);
    assert!(message.contains("output is too large"), "{message}");
    assert!(!attempt.lesson().succeeded);
}

#[tokio::test]
async fn a_hand_in_over_the_rate_limit_waits_as_long_as_it_is_told() {
    let (world, id) = waiting().await;
    let _attempt = world.attempt(id).await;
    lock(&world.desk.refusals).push_back(WorkError::RateLimited {
        retry_after: seconds(3),
    });
    world.puppet.reports(id);
    world.pass(millis(2_750)).await;
    assert_eq!(world.word(id).await, "running");
    world.pass(millis(250)).await;
    assert_eq!(world.word(id).await, "succeeded");
}

#[tokio::test]
async fn usage_above_the_budget_ends_the_task_on_the_next_heartbeat() {
    let (world, _) = waiting().await;
    let budget = Budget {
        tokens: Some(100),
        ..Budget::default()
    };
    let id = world
        .submit_with(2, |spec| {
            spec.constraints.budget = budget;
            spec.kind = crate::given::word("writing");
        })
        .await;
    let attempt = world.attempt(id).await;
    let sink = world.puppet.seen()[0].progress.clone();
    sink.tell(None, Some(tokens(100)));
    world.pass(seconds(1)).await;
    assert_eq!(world.word(id).await, "running", "equal to the limit passes");
    sink.tell(None, Some(tokens(101)));
    world.pass(seconds(1)).await;
    assert_eq!(world.word(id).await, "failed: over_budget");
    assert_eq!(world.puppet.stopped(), [(id, attempt.assignment.fence)]);
    assert!(ended_without_a_lesson(&attempt));
}

#[tokio::test]
async fn usage_told_once_is_told_with_every_heartbeat() {
    let (world, id) = waiting().await;
    let _attempt = world.attempt(id).await;
    world.puppet.seen()[0].progress.tell(None, Some(tokens(3)));
    world.pass(seconds(31)).await;
    let told = world.desk.told();
    assert!(
        told.len() >= 3 && told.iter().all(|(_, usage)| *usage == Some(tokens(3))),
        "{told:?}"
    );
}

#[tokio::test]
async fn an_attempt_that_runs_too_long_is_ended_and_its_late_report_refused() {
    let (world, _) = deaf().await;
    let _timer = world.start_timer().await;
    let id = world
        .submit_with(2, |spec| {
            spec.constraints.attempt_timeout = seconds(40);
            spec.kind = crate::given::word("writing");
        })
        .await;
    let attempt = world.attempt(id).await;
    world.pass(millis(39_750)).await;
    assert_eq!(world.word(id).await, "running");
    world.pass(millis(250)).await;
    assert_eq!(world.word(id).await, "queued");
    world.pass(seconds(5)).await;
    world.puppet.reports(id);
    world.settle().await;
    let history = world.history(id).await;
    assert_eq!(history.attempts.len(), 1);
    assert!(
        matches!(&history.attempts[0].outcome, AttemptEnd::Failed(failure) if failure.class == FailureClass::Timeout)
    );
    assert!(ended_without_a_lesson(&attempt));
    assert_eq!(world.metrics.total("attempt.refused_total"), 1);
}

#[tokio::test]
async fn cancelling_a_running_task_stops_its_transport_on_the_next_heartbeat() {
    let (world, id) = waiting().await;
    let attempt = world.attempt(id).await;
    world.cancel(id).await;
    world.pass(millis(14_750)).await;
    assert_eq!(world.puppet.stopped(), []);
    world.pass(millis(250)).await;
    assert_eq!(world.puppet.stopped(), [(id, attempt.assignment.fence)]);
    assert!(ended_without_a_lesson(&attempt));
    assert_eq!(lock(&world.desk.calls).len(), 0, "there is nothing to hand in");
    assert_eq!(world.state(id).await, State::Cancelled);
}

#[tokio::test]
async fn the_late_report_of_a_cancelled_task_is_refused() {
    let (world, id) = deaf().await;
    let attempt = world.attempt(id).await;
    world.cancel(id).await;
    world.pass(seconds(15)).await;
    world.puppet.reports(id);
    world.settle().await;
    assert_eq!(world.state(id).await, State::Cancelled);
    assert_eq!(reports_of(&world, id).await, 0);
    assert!(ended_without_a_lesson(&attempt));
    assert_eq!(world.metrics.total("attempt.refused_total"), 1);
}

#[tokio::test]
async fn a_report_is_repeated_while_the_store_is_away_and_recorded_once() {
    let (world, id) = waiting().await;
    let attempt = world.attempt(id).await;
    world.watch.set_down(true);
    world.puppet.reports(id);
    world.pass(seconds(20)).await;
    assert!(attempt.ended().is_none(), "not given up");
    world.watch.set_down(false);
    world.pass(millis(250)).await;
    assert_eq!(world.state(id).await, State::Succeeded);
    assert_eq!(reports_of(&world, id).await, 1);
    let calls = lock(&world.desk.calls).clone();
    assert!(
        calls.len() > 2 && calls.iter().all(|call| *call == calls[0]),
        "one command: {calls:?}"
    );
    assert!(attempt.lesson().succeeded);
}

#[tokio::test]
async fn a_report_whose_answer_was_lost_is_sent_again_and_recorded_once() {
    for fault in [Fault::UnknownAfter, Fault::UnknownBefore, Fault::Repeated] {
        let (world, id) = waiting().await;
        let attempt = world.attempt(id).await;
        world.watch.fail("apply", [fault]);
        world.puppet.reports(id);
        world.pass(seconds(1)).await;
        assert_eq!(reports_of(&world, id).await, 1, "{fault:?}");
        assert_eq!(world.state(id).await, State::Succeeded, "{fault:?}");
        let learnt = attempt.lesson();
        assert!(learnt.succeeded, "{fault:?}: the repeat got the first answer");
    }
}

#[tokio::test]
async fn a_report_is_given_up_once_its_lease_must_have_ended() {
    let (world, id) = waiting().await;
    let attempt = world.attempt(id).await;
    world.watch.set_down(true);
    world.puppet.reports(id);
    world.pass(seconds(44)).await;
    assert!(attempt.ended().is_none());
    world.pass(seconds(2)).await;
    assert!(ended_without_a_lesson(&attempt));
    world.watch.set_down(false);
    world.due().await;
    assert_eq!(
        world.task(id).await.losses,
        1,
        "the store ended the lease by itself"
    );
}

#[tokio::test]
async fn after_a_pause_longer_than_the_lease_the_transport_is_told_to_stop() {
    let (world, id) = waiting().await;
    let attempt = world.attempt(id).await;
    // nobody here gets a turn, while another node does what is overdue
    world.clock.advance(seconds(46));
    world.due().await;
    world.settle().await;
    assert_eq!(world.puppet.stopped(), [(id, attempt.assignment.fence)]);
    assert!(ended_without_a_lesson(&attempt));
    let history = world.history(id).await;
    assert_eq!(history.attempts[0].outcome, AttemptEnd::Lost);
}

#[tokio::test]
async fn the_report_of_a_paused_attempt_is_refused_while_another_holds_the_task() {
    let (world, id) = deaf().await;
    let attempt = world.attempt(id).await;
    world.clock.advance(seconds(46));
    world.due().await;
    let second = world.claim(id, Holder::Agent(agent(2))).await;
    assert!(second.fence > attempt.assignment.fence);
    world.puppet.reports(id);
    world.settle().await;
    assert!(ended_without_a_lesson(&attempt));
    assert_eq!(world.metrics.total("attempt.refused_total"), 1);
    assert_eq!(reports_of(&world, id).await, 0);
    let state = world.state(id).await;
    let lease = state.lease().expect("the second attempt holds it");
    assert_eq!(
        (lease.fence, lease.holder),
        (second.fence, Holder::Agent(agent(2)))
    );
}

#[tokio::test]
async fn a_failure_after_the_lease_is_lost_says_nothing_about_the_agent() {
    let (world, id) = deaf().await;
    let attempt = world.attempt(id).await;
    world.clock.advance(seconds(46));
    world.due().await;
    world.puppet.answer(id, Delivered::Failed(failure()));
    world.settle().await;
    assert!(ended_without_a_lesson(&attempt));
    assert_eq!(world.task(id).await.attempts, 1, "counted once, as lost");
}
