//! What is overdue.

use std::time::Duration;

use arbiter_core::lifecycle::RetryPlan;
use arbiter_core::model::{HoldReason, Holder, Stage, Task};
use arbiter_core::ports::{NewTask, Scope};

use crate::builders::{agent, new_task, new_task_with, task, tenant};
use crate::choosers::AssignAll;
use crate::contract::desk::{TENANT, fail_with, name};
use crate::contract::{Desk, Harness, suite};

suite!($ task_timers_contract, task_timers, [
    a_deadline_fails_the_task_in_every_state,
    a_deadline_keeps_the_slot_of_a_running_attempt,
    what_is_overdue_is_handled_in_time_order_up_to_the_limit,
    doing_what_is_overdue_is_idempotent,
    the_next_moment_is_told,
    a_task_with_several_things_overdue_is_handled_whole,
]);

/// A deadline fails an open task whatever its state, and not before.
pub async fn a_deadline_fails_the_task_in_every_state(h: &dyn Harness) {
    let desk = Desk::at(h);
    let deadline = desk.now().await.plus(Duration::from_secs(20));
    let urgent = |number| {
        new_task_with(number, |spec| {
            spec.constraints.deadline = Some(deadline);
            spec.priority = arbiter_core::model::Priority::HIGH;
        })
    };
    let assigned = desk.submit(urgent(1)).await;
    let chooser = AssignAll {
        acknowledged: false,
        ..AssignAll::to(Holder::Agent(agent(1)))
    };
    desk.start_with(&assigned, chooser).await;
    desk.running(urgent(2)).await;
    let reviewed = desk.reviewing(urgent(3), &[Stage::Judge]).await;
    desk.review(&reviewed).await;
    desk.reviewing(urgent(4), &[Stage::Judge]).await;
    let work = desk.running(urgent(5)).await;
    desk.done(desk.by(work, fail_with(RetryPlan::Hold(HoldReason::Rule))))
        .await;
    desk.submit(urgent(6)).await;
    let mut later = urgent(7);
    std::sync::Arc::make_mut(&mut later.spec).not_before = Some(deadline.plus(Duration::from_secs(9)));
    desk.submit(later).await;
    let mut waiting = urgent(8);
    std::sync::Arc::make_mut(&mut waiting.spec).after = vec![task(9)];
    desk.submit_many(vec![new_task(9), waiting]).await;
    desk.advance(
        Duration::from_secs(20)
            .checked_sub(Duration::from_micros(1))
            .expect("time"),
    )
    .await;
    desk.due_all().await;
    for number in 1..=8 {
        assert_ne!(name(&desk.get(task(number)).await), "failed", "{number}");
    }
    desk.advance(Duration::from_micros(1)).await;
    desk.due_all().await;
    for number in 1..=8 {
        let ended = desk.get(task(number)).await;
        assert_eq!(
            (name(&ended), ended.state.reason()),
            ("failed", Some("deadline")),
            "{number}"
        );
        assert_eq!(ended.attempt, None);
        desk.check_versions(task(number)).await;
    }
    let tally = desk.stores().reader.tally(TENANT).await.expect("tally");
    assert_eq!(tally.open, 1, "only the one without a deadline");
}

/// A deadline ends a running attempt; its slot stays until the agent is heard of or its lease ends.
pub async fn a_deadline_keeps_the_slot_of_a_running_attempt(h: &dyn Harness) {
    let desk = Desk::at(h);
    let deadline = desk.now().await.plus(Duration::from_secs(5));
    let queued = desk
        .submit(new_task_with(1, |spec| {
            spec.constraints.deadline = Some(deadline);
        }))
        .await;
    let scope = Scope::Agent(agent(1));
    let chooser = AssignAll {
        loads: vec![(scope.clone(), 1)],
        ..AssignAll::to(Holder::Agent(agent(1)))
    };
    desk.start_with(&queued, chooser).await;
    desk.advance(Duration::from_secs(5)).await;
    desk.due_all().await;
    assert_eq!(name(&desk.get(queued.id).await), "failed");
    assert!(!desk.has_room(101, &scope, 1).await);
    desk.advance(h.rules().lease).await;
    desk.due_all().await;
    assert!(desk.has_room(102, &scope, 1).await);
    desk.check_versions(queued.id).await;
}

fn waiting(number: u64, until: arbiter_core::model::Timestamp) -> NewTask {
    new_task_with(number, |spec| spec.not_before = Some(until))
}

/// What is overdue is handled in the order of time, then id, at most so many tasks at once.
pub async fn what_is_overdue_is_handled_in_time_order_up_to_the_limit(h: &dyn Harness) {
    let desk = Desk::at(h);
    let start = desk.now().await;
    let at = |seconds| start.plus(Duration::from_secs(seconds));
    desk.submit_many(vec![
        waiting(1, at(3)),
        waiting(2, at(1)),
        waiting(4, at(2)),
        waiting(3, at(2)),
    ])
    .await;
    desk.advance(Duration::from_secs(3)).await;
    let mut order = Vec::new();
    for handled in [3, 1, 0] {
        let done = desk.due(3).await;
        assert_eq!(done.handled, handled);
        order.extend(done.changed);
    }
    assert_eq!(order, [2, 3, 4, 1].map(|number| (task(number), TENANT)));
    assert_eq!(desk.due(0).await.handled, 0);
}

/// Doing what is overdue again does nothing.
pub async fn doing_what_is_overdue_is_idempotent(h: &dyn Harness) {
    let desk = Desk::at(h);
    desk.running(new_task(1)).await;
    desk.advance(h.rules().lease).await;
    assert_eq!(desk.due(10).await.changed, [(task(1), TENANT)]);
    let (after, leaves) = (desk.get(task(1)).await, desk.leaves().await.len());
    let again = desk.due(10).await;
    assert_eq!((again.changed.len(), again.handled), (0, 0));
    assert_eq!(
        (desk.get(task(1)).await, desk.leaves().await.len()),
        (after, leaves)
    );
}

/// The next moment at which something will be due is told, over all tenants.
pub async fn the_next_moment_is_told(h: &dyn Harness) {
    let desk = Desk::at(h);
    assert_eq!(desk.due(10).await.next, None);
    desk.submit(new_task(1)).await;
    assert_eq!(
        desk.due(10).await.next,
        None,
        "a task that waits for an agent needs no timer"
    );
    let at = desk.now().await.plus(Duration::from_secs(90));
    let foreign = NewTask {
        tenant: tenant(2),
        ..waiting(2, at)
    };
    desk.submit(foreign).await;
    assert_eq!(desk.due(10).await.next, Some(at));
    let queued: Task = desk.get(task(1)).await;
    desk.start(&queued).await;
    assert_eq!(
        desk.due(10).await.next,
        Some(desk.now().await.plus(h.rules().lease))
    );
}

/// A task with several things overdue is handled whole: here a deadline, and the slot of the attempt that it ends.
pub async fn a_task_with_several_things_overdue_is_handled_whole(h: &dyn Harness) {
    let desk = Desk::at(h);
    let deadline = desk.now().await.plus(Duration::from_secs(5));
    let queued = desk
        .submit(new_task_with(1, |spec| {
            spec.constraints.deadline = Some(deadline);
        }))
        .await;
    let scope = Scope::Agent(agent(1));
    let chooser = AssignAll {
        loads: vec![(scope.clone(), 1)],
        ..AssignAll::to(Holder::Agent(agent(1)))
    };
    desk.start_with(&queued, chooser).await;
    desk.advance(h.rules().lease * 2).await;
    let done = desk.due(10).await;
    assert_eq!((done.handled, done.next), (1, None));
    assert_eq!(done.changed, [(queued.id, TENANT)]);
    assert_eq!(name(&desk.get(queued.id).await), "failed");
    assert!(desk.has_room(101, &scope, 1).await);
    desk.check_versions(queued.id).await;
}
