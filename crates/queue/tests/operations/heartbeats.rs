//! Heartbeats: keeping leases, telling progress and usage, hearing of cancellation.

use std::time::Duration;

use arbiter_core::lifecycle::Refusal;
use arbiter_core::model::{Budget, Fence, Progress, Report, SecurityLevel, Usage};
use arbiter_core::ports::{Clock as _, LeaseStatus};
use arbiter_core::services::{Beat, WorkDesk as _, WorkError, WorkRef};
use arbiter_testkit::ManualClock;
use arbiter_testkit::builders::{agent, report, task, tenant};

use crate::world::{World, beat, in_tenant, submission_with, submitter, worker};

fn tokens(count: u64) -> Usage {
    Usage {
        tokens: Some(count),
        ..Usage::default()
    }
}

#[tokio::test]
async fn heartbeats_keep_a_lease_without_any_record() {
    let world = World::new();
    let work = world.work().await;
    let from = world.mark().await;
    for _ in 0..5 {
        world.pass(Duration::from_secs(40)).await;
        let told = world
            .queue
            .heartbeat(&worker(1), vec![beat(work)])
            .await
            .expect("told");
        let until = world.clock.now().plus(Duration::from_secs(45));
        assert_eq!(told, [LeaseStatus::Held { until }]);
    }
    assert_eq!(world.told(from).await, Vec::<String>::new());
    assert_eq!(world.metrics.total("queue.heartbeats_total"), 5);
}

#[tokio::test]
async fn heartbeats_are_answered_in_their_order_each_by_itself() {
    let world = World::new();
    let first = world.work().await;
    let second = world.work().await;
    let stale = WorkRef {
        fence: Fence(99),
        ..first
    };
    let elsewhere = WorkRef {
        tenant: tenant(2),
        ..first
    };
    let absent = WorkRef {
        task: task(99),
        ..first
    };
    let beats = [elsewhere, first, stale, absent, second, elsewhere].map(beat);
    let told = world
        .queue
        .heartbeat(&worker(1), beats.to_vec())
        .await
        .expect("told");
    let until = world.clock.now().plus(Duration::from_secs(45));
    let held = LeaseStatus::Held { until };
    let lost = LeaseStatus::Lost;
    assert_eq!(told, [lost, held, lost, lost, held, lost]);
    let denied = world.told(0).await;
    let denied = denied.iter().filter(|told| told.contains("authorization_failed"));
    assert_eq!(denied.count(), 1, "the other tenant was asked for once");
}

#[tokio::test]
async fn a_lease_in_a_tenant_that_the_agent_may_not_serve_is_not_extended() {
    let world = World::new();
    let accepted = world
        .task_of(&in_tenant(2, submitter()), submission_with(|_| {}))
        .await;
    let elsewhere = world.running(accepted, agent(1)).await;
    let before = world.now(accepted).await;
    world.pass(Duration::from_secs(5)).await;
    let over = Beat {
        usage: Some(tokens(u64::MAX)),
        ..beat(elsewhere)
    };
    let told = world.queue.heartbeat(&worker(1), vec![over]).await.expect("told");
    assert_eq!(told, [LeaseStatus::Lost]);
    assert_eq!(world.now(accepted).await, before);
}

#[tokio::test]
async fn no_heartbeats_are_no_call() {
    let world = World::new();
    let told = world.queue.heartbeat(&worker(1), Vec::new()).await.expect("told");
    assert_eq!(told, []);
}

#[tokio::test]
async fn a_heartbeat_of_a_cancelled_task_tells_the_agent_to_stop() {
    let world = World::new();
    let work = world.work().await;
    world
        .queue
        .cancel(&submitter(), work.task, None, "enough".to_owned())
        .await
        .expect("cancelled");
    let told = world
        .queue
        .heartbeat(&worker(1), vec![beat(work)])
        .await
        .expect("told");
    assert_eq!(told, [LeaseStatus::Cancelled]);
    let late = world.queue.report(&worker(1), work, report()).await;
    assert!(
        matches!(late, Err(WorkError::Refused(Refusal::LeaseLost))),
        "a late report is refused"
    );
    assert_eq!(world.state(work.task).await, "cancelled");
}

async fn budgeted(world: &World) -> WorkRef {
    let budget = Budget {
        tokens: Some(100),
        ..Budget::default()
    };
    let asked = submission_with(|spec| spec.constraints.budget = budget);
    let accepted = world.task_of(&submitter(), asked).await;
    world.assigned(accepted, agent(1)).await
}

#[tokio::test]
async fn usage_above_the_budget_cancels_on_the_next_heartbeat() {
    let world = World::new();
    let work = budgeted(&world).await;
    world
        .queue
        .acknowledge(&worker(1), work)
        .await
        .expect("acknowledged");
    let using = |count| Beat {
        usage: Some(tokens(count)),
        ..beat(work)
    };
    let other = world.work().await;
    let told = world
        .queue
        .heartbeat(&worker(1), vec![using(100), beat(other)])
        .await
        .expect("told");
    assert!(
        told.iter()
            .all(|status| matches!(status, LeaseStatus::Held { .. })),
        "at the budget: {told:?}"
    );
    let told = world
        .queue
        .heartbeat(&worker(1), vec![using(101), beat(other)])
        .await
        .expect("told");
    assert!(
        matches!(told[..], [LeaseStatus::Cancelled, LeaseStatus::Held { .. }]),
        "{told:?}"
    );
    assert_eq!(world.state(work.task).await, "failed over_budget");
    assert_eq!(
        world.last_leaf().await.told(),
        "work.heartbeat+closed done over_budget"
    );
    assert_eq!(world.history(work.task).await.attempts[0].usage, tokens(101));
    let late = world.queue.report(&worker(1), world.again(work), report()).await;
    assert!(matches!(late, Err(WorkError::Refused(Refusal::LeaseLost))));
}

#[tokio::test]
async fn usage_told_before_the_acknowledgement_loses_no_other_heartbeat() {
    let world = World::new();
    let work = budgeted(&world).await;
    let other = world.work().await;
    let over = Beat {
        usage: Some(tokens(101)),
        ..beat(work)
    };
    let told = world
        .queue
        .heartbeat(&worker(1), vec![over, beat(other)])
        .await
        .expect("told");
    assert!(
        matches!(told[..], [LeaseStatus::Lost, LeaseStatus::Held { .. }]),
        "{told:?}"
    );
    world.pass(Duration::from_secs(11)).await;
    assert_eq!(
        world.state(work.task).await,
        "queued",
        "it was never acknowledged"
    );
}

#[tokio::test]
async fn a_report_above_the_budget_fails_the_task() {
    let world = World::new();
    let work = budgeted(&world).await;
    let over = Report {
        usage: tokens(101),
        ..report()
    };
    let done = world
        .queue
        .report(&worker(1), work, over)
        .await
        .expect("reported");
    assert_eq!(done.state.reason(), Some("over_budget"));
}

#[tokio::test]
async fn progress_is_kept_with_the_time_of_the_store() {
    let world = World::new();
    let work = world.work().await;
    world.pass(Duration::from_secs(7)).await;
    let told = Beat {
        progress: Some(Progress {
            at: ManualClock::START,
            fraction: None,
            message: "half way".to_owned(),
        }),
        ..beat(work)
    };
    world.queue.heartbeat(&worker(1), vec![told]).await.expect("told");
    let kept = world.now(work.task).await.progress.expect("progress");
    assert_eq!((kept.message.as_str(), kept.at), ("half way", world.clock.now()));
}

#[tokio::test]
async fn a_sample_of_the_progress_of_an_attempt_is_on_record_without_secrets() {
    let world = World::new();
    let work = world.work().await;
    let from = world.mark().await;
    for number in 0..41 {
        let told = Progress {
            at: ManualClock::START,
            fraction: None,
            message: format!("step {number}, sk-live-0123456789abcdefghijklmnop"),
        };
        let beat = Beat {
            progress: Some(told),
            ..beat(work)
        };
        world.queue.heartbeat(&worker(1), vec![beat]).await.expect("told");
    }
    let told = world.told(from).await;
    assert_eq!(told.len(), 3, "the first and each twentieth after it: {told:?}");
    assert!(told.iter().all(|told| told.contains("progressed")), "{told:?}");
}

#[tokio::test]
async fn what_is_told_of_a_restricted_task_stays_out_of_the_audit_log() {
    for (security, on_record) in [
        (SecurityLevel::Internal, true),
        (SecurityLevel::Confidential, true),
        (SecurityLevel::Restricted, false),
    ] {
        let world = World::new();
        let asked = submission_with(|spec| spec.security = security);
        let task = world.task_of(&submitter(), asked).await;
        let work = world.running(task, worker(1).agent.expect("an agent")).await;
        let told = Progress {
            at: ManualClock::START,
            fraction: None,
            message: "the patient is better".to_owned(),
        };
        let beat = Beat {
            progress: Some(told),
            ..beat(work)
        };
        world.queue.heartbeat(&worker(1), vec![beat]).await.expect("told");
        let log = format!("{:?}", world.leaves().await);
        assert!(log.contains("progressed"), "{log}");
        assert_eq!(log.contains("patient"), on_record, "{security:?}: {log}");
        let kept = world.now(task).await.progress.expect("progress");
        assert_eq!(kept.message, "the patient is better", "the task itself keeps it");
    }
}

#[tokio::test]
async fn progress_of_an_attempt_that_is_not_held_leaves_no_record() {
    let world = World::new();
    let work = world.work().await;
    let from = world.mark().await;
    let stale = WorkRef {
        fence: Fence(99),
        ..work
    };
    let told = Progress {
        at: ManualClock::START,
        fraction: None,
        message: "late".to_owned(),
    };
    let beat = Beat {
        progress: Some(told),
        ..beat(stale)
    };
    world.queue.heartbeat(&worker(1), vec![beat]).await.expect("told");
    assert_eq!(world.told(from).await, Vec::<String>::new());
}
