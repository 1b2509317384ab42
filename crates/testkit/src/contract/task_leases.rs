//! Heartbeats, and slots of attempts that were ended from outside.

use std::time::Duration;

use arbiter_core::lifecycle::{Command, Refusal};
use arbiter_core::model::{Holder, Progress, Ratio, State, Usage};
use arbiter_core::ports::{LeaseRef, LeaseStatus, Scope};

use crate::builders::{agent, new_task, new_task_with, task, tenant};
use crate::choosers::AssignAll;
use crate::contract::desk::{cancel_command, name, report_command};
use crate::contract::{Desk, Harness, Work, suite};

suite!($ task_leases_contract, task_leases, [
    a_heartbeat_extends_the_lease_and_is_no_transition,
    a_heartbeat_carries_progress_with_the_stores_time,
    limits_that_were_told_stay_with_the_attempt,
    an_assignment_is_not_kept_by_heartbeats,
    only_the_holder_with_the_token_extends,
    what_is_above_the_budget_is_told,
    limits_that_are_told_with_too_much_usage_stay,
    the_holder_of_a_cancelled_task_is_told,
    a_cancelled_attempt_keeps_its_slot_until_it_is_heard_of,
    a_cancelled_attempt_keeps_its_slot_no_longer_than_its_lease,
    a_late_report_gives_the_slot_back,
    the_answers_stand_in_the_order_of_the_leases,
]);

/// A heartbeat extends the lease from now on; it makes no version and no leaf.
pub async fn a_heartbeat_extends_the_lease_and_is_no_transition(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let leaves = desk.leaves().await.len();
    desk.advance(Duration::from_secs(30)).await;
    let until = desk.now().await.plus(h.rules().lease);
    assert_eq!(desk.extend(work.beat()).await, LeaseStatus::Held { until });
    let task = desk.get(work.task).await;
    assert_eq!(
        (task.state.lease().map(|lease| lease.until), task.version.0),
        (Some(until), 2)
    );
    assert_eq!(desk.leaves().await.len(), leaves);
    desk.advance(Duration::from_secs(30)).await;
    desk.due_all().await;
    assert_eq!(
        name(&desk.get(work.task).await),
        "running",
        "the first lease would have ended"
    );
}

/// A heartbeat carries progress; its time is the store's.
pub async fn a_heartbeat_carries_progress_with_the_stores_time(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    desk.advance(Duration::from_secs(5)).await;
    let told = Progress {
        at: arbiter_core::model::Timestamp::from_micros(7),
        fraction: Ratio::new(0.5).ok(),
        message: "half way".to_owned(),
    };
    let beat = LeaseRef {
        progress: Some(told.clone()),
        ..work.beat()
    };
    assert!(matches!(desk.extend(beat).await, LeaseStatus::Held { .. }));
    let at = desk.now().await;
    assert_eq!(desk.get(work.task).await.progress, Some(Progress { at, ..told }));
    desk.done(desk.by(work, report_command())).await;
    assert_eq!(
        desk.get(work.task).await.progress,
        None,
        "progress ends with the attempt"
    );
}

/// What a heartbeat tells of the limits stays, however the attempt ends, until a later one tells otherwise.
pub async fn limits_that_were_told_stay_with_the_attempt(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let limits = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
    let told = |names: &[&str]| LeaseRef {
        not_enforced: limits(names),
        ..work.beat()
    };
    for beat in [told(&["files"]), told(&["files", "network"]), work.beat()] {
        assert!(matches!(desk.extend(beat).await, LeaseStatus::Held { .. }));
    }
    let open = desk.get(work.task).await.attempt.expect("an attempt");
    assert_eq!(open.not_enforced, limits(&["files", "network"]));
    desk.done(desk.order(work.task, cancel_command())).await;
    let history = desk.history(work.task).await;
    let kept = history.attempts[0].not_enforced();
    assert_eq!(kept, limits(&["files", "network"]).as_deref());
}

/// An assignment is kept by its acknowledgement, not by heartbeats.
pub async fn an_assignment_is_not_kept_by_heartbeats(h: &dyn Harness) {
    let desk = Desk::at(h);
    let queued = desk.submit(new_task(1)).await;
    let assigned = AssignAll {
        acknowledged: false,
        ..AssignAll::to(Holder::Agent(agent(1)))
    };
    let work = desk.start_with(&queued, assigned).await;
    let until = desk.now().await.plus(h.rules().acknowledge_within);
    desk.advance(Duration::from_secs(3)).await;
    assert_eq!(desk.extend(work.beat()).await, LeaseStatus::Held { until });
}

/// Only the holder with the present token extends: others are told that the lease is lost, and change nothing.
pub async fn only_the_holder_with_the_token_extends(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let before = desk.get(work.task).await;
    desk.advance(Duration::from_secs(1)).await;
    let stale = Work {
        fence: arbiter_core::model::Fence(7),
        ..work
    };
    let other = Work {
        holder: Holder::Agent(agent(2)),
        ..work
    };
    let absent = Work {
        task: task(99),
        ..work
    };
    for lost in [stale, other, absent] {
        assert_eq!(desk.extend(lost.beat()).await, LeaseStatus::Lost);
    }
    let foreign = LeaseRef {
        tenant: tenant(2),
        ..work.beat()
    };
    assert_eq!(desk.extend(foreign).await, LeaseStatus::Lost);
    assert_eq!(desk.get(work.task).await, before);
}

/// Usage above the budget is told and does not extend; usage equal to the budget passes.
pub async fn what_is_above_the_budget_is_told(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk
        .running(new_task_with(1, |spec| spec.constraints.budget.tokens = Some(10)))
        .await;
    let used = |tokens| LeaseRef {
        usage: Some(Usage {
            tokens: Some(tokens),
            ..Usage::default()
        }),
        ..work.beat()
    };
    assert!(matches!(desk.extend(used(10)).await, LeaseStatus::Held { .. }));
    let before = desk.get(work.task).await;
    desk.advance(Duration::from_secs(1)).await;
    assert_eq!(
        desk.extend(used(11)).await,
        LeaseStatus::OverBudget { part: "tokens" }
    );
    assert_eq!(desk.get(work.task).await, before);
    let exceeded = Command::Exceed {
        part: "tokens".to_owned(),
        usage: Usage {
            tokens: Some(11),
            ..Usage::default()
        },
    };
    let task = desk.done(desk.by(work, exceeded)).await;
    assert_eq!(
        (name(&task), task.state.reason()),
        ("failed", Some("over_budget"))
    );
    assert_eq!(desk.history(task.id).await.attempts[0].usage.tokens, Some(11));
}

/// What a heartbeat tells of the limits is kept although its usage ends the attempt: nothing is told after it. The
/// lease is not extended.
pub async fn limits_that_are_told_with_too_much_usage_stay(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk
        .running(new_task_with(1, |spec| spec.constraints.budget.tokens = Some(10)))
        .await;
    let before = desk.get(work.task).await.state;
    desk.advance(Duration::from_secs(1)).await;
    let usage = Usage {
        tokens: Some(11),
        ..Usage::default()
    };
    let limits = vec!["network".to_owned()];
    let beat = LeaseRef {
        usage: Some(usage),
        not_enforced: Some(limits.clone()),
        ..work.beat()
    };
    assert_eq!(
        desk.extend(beat).await,
        LeaseStatus::OverBudget { part: "tokens" }
    );
    assert_eq!(desk.get(work.task).await.state, before);
    let exceeded = Command::Exceed {
        part: "tokens".to_owned(),
        usage,
    };
    desk.done(desk.by(work, exceeded)).await;
    let history = desk.history(work.task).await;
    assert_eq!(history.attempts[0].not_enforced(), Some(limits.as_slice()));
}

/// The holder of a cancelled task is told so on its next heartbeat.
pub async fn the_holder_of_a_cancelled_task_is_told(h: &dyn Harness) {
    let desk = Desk::at(h);
    let work = desk.running(new_task(1)).await;
    let task = desk.done(desk.order(work.task, cancel_command())).await;
    assert_eq!(
        task.state,
        State::Cancelled,
        "a running task is cancelled at once"
    );
    assert_eq!(desk.extend(work.beat()).await, LeaseStatus::Cancelled);
}

/// The slot of a cancelled attempt stays taken until its agent is heard of.
pub async fn a_cancelled_attempt_keeps_its_slot_until_it_is_heard_of(h: &dyn Harness) {
    let desk = Desk::at(h);
    let (work, scope) = cancelled(&desk).await;
    assert!(
        !desk.has_room(101, &scope, 1).await,
        "the agent may still be working"
    );
    let other = Work {
        holder: Holder::Agent(agent(2)),
        ..work
    };
    desk.extend(other.beat()).await;
    assert!(
        !desk.has_room(102, &scope, 1).await,
        "somebody else says nothing about it"
    );
    desk.extend(work.beat()).await;
    assert!(desk.has_room(103, &scope, 1).await);
    desk.extend(work.beat()).await;
    assert!(!desk.has_room(104, &scope, 0).await, "it came back once");
    desk.due_all().await;
    desk.check_versions(work.task).await;
}

/// The slot of a cancelled attempt comes back when its lease would have ended.
pub async fn a_cancelled_attempt_keeps_its_slot_no_longer_than_its_lease(h: &dyn Harness) {
    let desk = Desk::at(h);
    let (work, scope) = cancelled(&desk).await;
    desk.advance(
        h.rules()
            .lease
            .checked_sub(Duration::from_micros(1))
            .expect("a lease"),
    )
    .await;
    desk.due_all().await;
    assert!(!desk.has_room(101, &scope, 1).await);
    desk.advance(Duration::from_micros(1)).await;
    desk.due_all().await;
    assert!(desk.has_room(102, &scope, 1).await);
    desk.check_versions(work.task).await;
}

/// A late report of a cancelled attempt is refused, and gives its slot back.
pub async fn a_late_report_gives_the_slot_back(h: &dyn Harness) {
    let desk = Desk::at(h);
    let (work, scope) = cancelled(&desk).await;
    assert_eq!(
        desk.refused(desk.by(work, report_command())).await,
        Refusal::LeaseLost
    );
    assert!(desk.has_room(101, &scope, 1).await);
    assert_eq!(name(&desk.get(work.task).await), "cancelled");
    desk.check_versions(work.task).await;
}

/// A cancelled attempt of agent 1 that still holds its one slot.
async fn cancelled(desk: &Desk<'_>) -> (Work, Scope) {
    let queued = desk.submit(new_task(1)).await;
    let scope = Scope::Agent(agent(1));
    let chooser = AssignAll {
        loads: vec![(scope.clone(), 1)],
        ..AssignAll::to(Holder::Agent(agent(1)))
    };
    let work = desk.start_with(&queued, chooser).await;
    desk.done(desk.order(work.task, cancel_command())).await;
    (work, scope)
}

/// The answers stand in the order of the leases; one that is lost does not keep others from being extended.
pub async fn the_answers_stand_in_the_order_of_the_leases(h: &dyn Harness) {
    let desk = Desk::at(h);
    let first = desk.running(new_task(1)).await;
    let second = desk.running(new_task(2)).await;
    let lost = Work {
        task: task(3),
        ..first
    };
    let beats = vec![second.beat(), lost.beat(), first.beat()];
    let answers = desk.stores().tasks.extend(beats).await.expect("extend");
    let until = desk.now().await.plus(h.rules().lease);
    let held = LeaseStatus::Held { until };
    assert_eq!(answers, [held, LeaseStatus::Lost, held]);
}
