//! Tasks that wait for others.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::lifecycle::Command;
use arbiter_core::model::{OnPrerequisiteFailure, OrderKey, State, Task, TaskId, Wait};
use arbiter_core::ports::NewTask;

use crate::builders::{idempotency, new_task, new_task_with, submit_each, task};
use crate::contract::desk::{cancel_command, name, report_command, waits_until};
use crate::contract::{Desk, Harness, suite};

suite!($ task_dependencies_contract, task_dependencies, [
    a_task_becomes_ready_when_its_prerequisites_have_succeeded,
    a_prerequisite_that_ends_otherwise_fails_or_holds_its_dependants,
    a_prerequisite_that_has_ended_counts_at_once,
    the_ends_of_prerequisites_reach_everybody_in_turn,
    many_dependants_are_told_in_batches,
    a_dependant_that_has_ended_is_left_alone,
    a_dependant_waits_for_its_own_time_as_well,
    a_prerequisite_named_by_a_repeat_is_the_stored_one,
]);

fn after(number: u64, prerequisites: &[u64]) -> NewTask {
    let after = prerequisites.iter().map(|number| task(*number)).collect();
    new_task_with(number, |spec| spec.after = after)
}

async fn succeed(desk: &Desk<'_>, id: TaskId) -> Task {
    let queued = desk.get(id).await;
    let work = desk.start(&queued).await;
    let task = desk.done(desk.by(work, report_command())).await;
    desk.due_all().await;
    task
}

/// A task becomes ready when the last of its prerequisites has succeeded, and takes its place then.
pub async fn a_task_becomes_ready_when_its_prerequisites_have_succeeded(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit_many(vec![new_task(1), new_task(2), after(3, &[1, 2])])
        .await;
    desk.advance(Duration::from_secs(1)).await;
    succeed(&desk, task(1)).await;
    let waits = State::Queued {
        wait: Wait::Prerequisites(1),
    };
    assert_eq!(desk.get(task(3)).await.state, waits);
    succeed(&desk, task(2)).await;
    let ready = desk.get(task(3)).await;
    assert_eq!(ready.state, State::Queued { wait: Wait::Ready });
    assert_eq!(ready.order_key, Some(OrderKey(desk.now().await.as_micros())));
    assert!(!desk.get(task(1)).await.has_dependants);
    for number in 1..=3 {
        desk.check_versions(task(number)).await;
    }
    succeed(&desk, task(3)).await;
}

/// A prerequisite that ends without success fails its dependants, or holds those that ask for it.
pub async fn a_prerequisite_that_ends_otherwise_fails_or_holds_its_dependants(h: &dyn Harness) {
    let desk = Desk::at(h);
    let mut holding = after(3, &[1]);
    Arc::make_mut(&mut holding.spec).on_prerequisite_failure = OnPrerequisiteFailure::Hold;
    desk.submit_many(vec![new_task(1), after(2, &[1]), holding]).await;
    desk.done(desk.order(task(1), cancel_command())).await;
    assert_eq!(
        name(&desk.get(task(2)).await),
        "queued",
        "the end of a task is no transition of another"
    );
    desk.due_all().await;
    let (failed, held) = (desk.get(task(2)).await, desk.get(task(3)).await);
    assert_eq!(
        (name(&failed), failed.state.reason()),
        ("failed", Some("prerequisite_failed"))
    );
    assert_eq!(
        (name(&held), held.state.reason()),
        ("held", Some("prerequisite_failed"))
    );
    desk.check_versions(task(2)).await;
    desk.check_versions(task(3)).await;
}

/// A prerequisite that has ended before the submit counts at once.
pub async fn a_prerequisite_that_has_ended_counts_at_once(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit_many(vec![new_task(1), new_task(2)]).await;
    succeed(&desk, task(1)).await;
    let why = String::new();
    desk.done(desk.order(task(2), Command::DeadLetter { why })).await;
    let ready = desk.submit(after(3, &[1])).await;
    assert_eq!(ready.state, State::Queued { wait: Wait::Ready });
    let failed = desk.submit(after(4, &[1, 2])).await;
    assert_eq!(
        (name(&failed), failed.state.reason()),
        ("failed", Some("prerequisite_failed"))
    );
    let tally = desk
        .stores()
        .reader
        .tally(crate::contract::desk::TENANT)
        .await
        .expect("tally");
    assert_eq!(tally.open, 1);
    desk.check_versions(task(4)).await;
}

/// The end of a task reaches those that wait for those that wait for it.
pub async fn the_ends_of_prerequisites_reach_everybody_in_turn(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit_many(vec![new_task(1), after(2, &[1]), after(3, &[2]), after(4, &[3])])
        .await;
    desk.done(desk.order(task(1), cancel_command())).await;
    desk.due_all().await;
    for number in 2..=4 {
        assert_eq!(name(&desk.get(task(number)).await), "failed");
        desk.check_versions(task(number)).await;
    }
}

/// Many dependants are told in batches of the limit, each once.
pub async fn many_dependants_are_told_in_batches(h: &dyn Harness) {
    let desk = Desk::at(h);
    let mut tasks = vec![new_task(1)];
    tasks.extend((2..=26).map(|number| after(number, &[1])));
    desk.submit_many(tasks).await;
    desk.done(desk.order(task(1), cancel_command())).await;
    let mut changed = Vec::new();
    for _ in 0..30 {
        let done = desk.due(10).await;
        assert!(done.changed.len() <= 10, "{}", done.changed.len());
        if done.handled == 0 {
            break;
        }
        changed.extend(done.changed.into_iter().map(|(id, _)| id));
    }
    changed.sort();
    assert_eq!(changed, (2..=26).map(task).collect::<Vec<_>>());
    assert_eq!(desk.due(10).await.next, None);
}

/// A dependant that was cancelled meanwhile is left alone, without a leaf.
pub async fn a_dependant_that_has_ended_is_left_alone(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.submit_many(vec![new_task(1), after(2, &[1])]).await;
    let cancelled = desk.done(desk.order(task(2), cancel_command())).await;
    succeed(&desk, task(1)).await;
    assert_eq!(desk.get(task(2)).await, cancelled);
    assert_eq!(desk.leaves_of(task(2)).await.len(), 2);
}

/// A dependant whose prerequisites are met waits for its own earliest moment.
pub async fn a_dependant_waits_for_its_own_time_as_well(h: &dyn Harness) {
    let desk = Desk::at(h);
    let at = desk.now().await.plus(Duration::from_secs(60));
    let mut later = after(2, &[1]);
    Arc::make_mut(&mut later.spec).not_before = Some(at);
    desk.submit_many(vec![new_task(1), later]).await;
    succeed(&desk, task(1)).await;
    assert_eq!(waits_until(&desk.get(task(2)).await), at);
    desk.advance(Duration::from_secs(60)).await;
    desk.due_all().await;
    assert!(desk.get(task(2)).await.is_claimable());
}

/// A prerequisite inside the request that turns out to be a repeat by key stands for the task stored then.
pub async fn a_prerequisite_named_by_a_repeat_is_the_stored_one(h: &dyn Harness) {
    let desk = Desk::at(h);
    let keyed = |number| NewTask {
        idempotency: Some(idempotency("k", "content")),
        ..new_task(number)
    };
    desk.submit(keyed(1)).await;
    let answers = desk.submit_request(submit_each([keyed(2), after(3, &[2])])).await;
    assert_eq!(answers[0], arbiter_core::ports::Submitted::Known(task(1)));
    let waits = State::Queued {
        wait: Wait::Prerequisites(1),
    };
    assert_eq!(desk.get(task(3)).await.state, waits);
    succeed(&desk, task(1)).await;
    assert!(desk.get(task(3)).await.is_claimable());
}
