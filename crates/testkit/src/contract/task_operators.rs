//! What people and operators do: cancel, release, retry, dead letters.

use std::time::Duration;

use arbiter_core::lifecycle::{Command, ReleaseDecision, RetryPlan};
use arbiter_core::model::{Fence, HoldReason, Stage, State, Task, Wait};

use crate::builders::{new_task, new_task_with};
use crate::contract::desk::{TENANT, cancel_command, fail_with, name, report_command};
use crate::contract::{Desk, Harness, suite};

suite!($ task_operators_contract, task_operators, [
    an_open_task_can_be_cancelled_in_every_state,
    an_open_task_can_be_given_up_in_every_state,
    a_closed_task_stays_closed,
    a_held_task_goes_on_where_it_was_held,
    there_must_be_an_output_to_accept,
    a_dead_letter_starts_again_and_its_fence_goes_on,
    a_failed_task_can_be_retried,
    a_deadline_that_has_passed_is_lifted_by_the_operator,
]);

/// One task in each open state: queued, assigned, running, reviewing, in review, held.
async fn open(desk: &Desk<'_>, from: u64) -> Vec<Task> {
    let queued = desk.submit(new_task(from + 9)).await;
    let chooser = |acknowledged| crate::choosers::AssignAll {
        acknowledged,
        ..crate::choosers::AssignAll::to(arbiter_core::model::Holder::Agent(crate::builders::agent(1)))
    };
    let mut tasks = Vec::new();
    for (number, acknowledged) in [(1, false), (2, true)] {
        let higher = new_task_with(from + number, |spec| {
            spec.priority = arbiter_core::model::Priority::HIGH;
        });
        let task = desk.submit(higher).await;
        desk.start_with(&task, chooser(acknowledged)).await;
        tasks.push(task.id);
    }
    for number in [3, 4] {
        let higher = new_task_with(from + number, |spec| {
            spec.priority = arbiter_core::model::Priority::HIGH;
        });
        let task = desk.reviewing(higher, &[Stage::Judge]).await;
        if number == 3 {
            desk.review(&task).await;
        }
        tasks.push(task.id);
    }
    let higher = new_task_with(from + 5, |spec| {
        spec.priority = arbiter_core::model::Priority::HIGH;
    });
    let work = desk.running(higher).await;
    desk.done(desk.by(work, fail_with(RetryPlan::Hold(HoldReason::Rule))))
        .await;
    tasks.push(work.task);
    tasks.push(queued.id);
    let mut found = Vec::new();
    for id in tasks {
        found.push(desk.get(id).await);
    }
    let names: Vec<_> = found.iter().map(name).collect();
    assert_eq!(
        names,
        ["assigned", "running", "reviewing", "reviewing", "held", "queued"]
    );
    found
}

/// An open task can be cancelled in every state; its open attempt ends with it.
pub async fn an_open_task_can_be_cancelled_in_every_state(h: &dyn Harness) {
    let desk = Desk::at(h);
    for task in open(&desk, 0).await {
        let cancelled = desk.done(desk.order(task.id, cancel_command())).await;
        assert_eq!((cancelled.state, cancelled.attempt), (State::Cancelled, None));
        assert_eq!(
            desk.history(task.id).await.attempts.len(),
            usize::from(task.attempts)
        );
        desk.check_versions(task.id).await;
    }
    let tally = desk.stores().reader.tally(TENANT).await.expect("tally");
    assert_eq!(tally, arbiter_core::ports::Tally::default());
    assert_eq!(desk.stores().tasks.lanes(None, 9).await.expect("lanes"), []);
}

/// An open task can be given up in every state; dead letters are counted.
pub async fn an_open_task_can_be_given_up_in_every_state(h: &dyn Harness) {
    let desk = Desk::at(h);
    for task in open(&desk, 0).await {
        let why = "stuck".to_owned();
        let dead = desk.done(desk.order(task.id, Command::DeadLetter { why })).await;
        assert_eq!(
            (name(&dead), dead.state.reason()),
            ("dead_lettered", Some("by_operator"))
        );
    }
    let tally = desk.stores().reader.tally(TENANT).await.expect("tally");
    assert_eq!((tally.open, tally.dead), (0, 6));
}

/// A closed task stays closed: nothing but retry of a failed one and requeue of a dead letter opens it.
pub async fn a_closed_task_stays_closed(h: &dyn Harness) {
    let desk = Desk::at(h);
    let succeeded = desk.running(new_task(1)).await;
    desk.done(desk.by(succeeded, report_command())).await;
    let cancelled = desk.submit(new_task(2)).await.id;
    desk.done(desk.order(cancelled, cancel_command())).await;
    let failed = desk.running(new_task(3)).await;
    let policy = RetryPlan::Fail(arbiter_core::model::FailReason::Policy);
    desk.done(desk.by(failed, fail_with(policy))).await;
    let dead = desk.submit(new_task(4)).await.id;
    desk.done(desk.order(dead, Command::DeadLetter { why: String::new() }))
        .await;
    let why = String::new;
    let release = |decision| Command::Release { decision, why: why() };
    for id in [succeeded.task, cancelled, failed.task, dead] {
        let mut actions = vec![
            cancel_command(),
            Command::DeadLetter { why: why() },
            release(ReleaseDecision::Resume),
            release(ReleaseDecision::Accept),
            Command::Revoke { why: why() },
        ];
        if id != failed.task {
            actions.push(Command::Retry { why: why() });
        }
        if id != dead {
            actions.push(Command::Requeue { why: why() });
        }
        for action in actions {
            assert_eq!(
                desk.refused(desk.order(id, action)).await.code(),
                "illegal_transition"
            );
        }
    }
}

/// A held task goes on where it was held: here, in the queue, in its old place.
pub async fn a_held_task_goes_on_where_it_was_held(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let held = desk
        .done(desk.by(work, fail_with(RetryPlan::Hold(HoldReason::RetryPlan))))
        .await;
    assert_eq!(desk.stores().tasks.lanes(None, 9).await.expect("lanes"), []);
    desk.advance(Duration::from_secs(5)).await;
    let release = Command::Release {
        decision: ReleaseDecision::Resume,
        why: "try again".to_owned(),
    };
    let task = desk.done(desk.order(work.task, release)).await;
    assert_eq!(task.state, State::Queued { wait: Wait::Ready });
    assert_eq!((task.order_key, task.attempts), (held.order_key, 1));
}

/// Without an output there is nothing to accept; refusing is possible.
pub async fn there_must_be_an_output_to_accept(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    desk.done(desk.by(work, fail_with(RetryPlan::Hold(HoldReason::RetryPlan))))
        .await;
    let release = |decision| Command::Release {
        decision,
        why: String::new(),
    };
    let accept = desk
        .refused(desk.order(work.task, release(ReleaseDecision::Accept)))
        .await;
    assert_eq!(accept.code(), "illegal_transition");
    let task = desk
        .done(desk.order(work.task, release(ReleaseDecision::Reject)))
        .await;
    assert_eq!((name(&task), task.state.reason()), ("failed", Some("policy")));
}

/// A requeued dead letter starts again with its attempts, while its fence and its versions go on.
pub async fn a_dead_letter_starts_again_and_its_fence_goes_on(h: &dyn Harness) {
    let desk = Desk::at(h);
    let queued = desk
        .submit(new_task_with(1, |spec| spec.constraints.max_attempts = 1))
        .await;
    let first = desk.start(&queued).await;
    let at_once = RetryPlan::Retry { after: None };
    let dead = desk.done(desk.by(first, fail_with(at_once))).await;
    assert_eq!(name(&dead), "dead_lettered");
    let requeue = Command::Requeue {
        why: "fixed".to_owned(),
    };
    let task = desk.done(desk.order(queued.id, requeue)).await;
    assert_eq!(task.state, State::Queued { wait: Wait::Ready });
    assert_eq!((task.attempts, task.returns, task.losses), (0, 0, 0));
    assert_eq!((task.fence, task.avoid.len()), (first.fence, 0));
    let second = desk.start(&task).await;
    assert_eq!(second.fence, Fence(first.fence.0 + 1));
    desk.done(desk.by(second, report_command())).await;
    let history = desk.history(queued.id).await;
    let attempts: Vec<_> = history
        .attempts
        .iter()
        .map(|attempt| (attempt.open.fence, attempt.open.number))
        .collect();
    assert_eq!(
        attempts,
        [(first.fence, 1), (second.fence, 1)],
        "numbers restart, fences do not"
    );
    desk.check_versions(queued.id).await;
}

/// A failed task can be retried.
pub async fn a_failed_task_can_be_retried(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let policy = RetryPlan::Fail(arbiter_core::model::FailReason::Policy);
    desk.done(desk.by(work, fail_with(policy))).await;
    let retry = Command::Retry {
        why: "policy changed".to_owned(),
    };
    let task = desk.done(desk.order(work.task, retry)).await;
    assert_eq!(
        (name(&task), task.attempts, task.fence),
        ("queued", 0, work.fence)
    );
    let tally = desk.stores().reader.tally(TENANT).await.expect("tally");
    assert_eq!((tally.open, tally.queued), (1, 1));
}

/// A deadline that has passed is lifted when an operator asks for another try; one to come stays.
pub async fn a_deadline_that_has_passed_is_lifted_by_the_operator(h: &dyn Harness) {
    let desk = Desk::at(h);
    let deadline = desk.now().await.plus(Duration::from_secs(10));
    let task = desk
        .submit(new_task_with(1, |spec| {
            spec.constraints.deadline = Some(deadline);
        }))
        .await;
    desk.advance(Duration::from_secs(10)).await;
    desk.due_all().await;
    assert_eq!(desk.get(task.id).await.state.reason(), Some("deadline"));
    let retry = || Command::Retry { why: String::new() };
    let task = desk.done(desk.order(task.id, retry())).await;
    assert_eq!((name(&task), task.terms.deadline), ("queued", None));
    desk.due_all().await;
    assert_eq!(name(&desk.get(task.id).await), "queued");
}
