//! The store is down: operations fail with `unavailable`, nothing is half written, and all goes on afterwards.

use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{RecordDraft, Role};
use arbiter_core::ports::{Credential, StoreError, TaskQuery};
use arbiter_core::services::{WorkDesk as _, WorkError};
use arbiter_queue::{PrincipalRecord, QueueError, RateLimit};
use arbiter_testkit::builders::{failure, report, user};
use arbiter_testkit::faulty::Fault;

use crate::faults::Port;
use crate::operate::{OPERATIONS, operate};
use crate::world::{
    TENANT, World, beat, code, keyed, neighbour, operator, submission, submission_with, submitter, worker,
};

fn assert_unavailable<T: std::fmt::Debug>(answer: Result<T, QueueError>) {
    let error = answer.expect_err("the store is down");
    assert!(
        matches!(error, QueueError::Unavailable { retry_after, .. } if retry_after == Duration::from_secs(1))
    );
    assert_eq!(error.code(), "unavailable");
    assert!(
        !error.to_string().contains("on purpose"),
        "the caller is not told why: {error}"
    );
}

fn assert_busy<T: std::fmt::Debug>(answer: Result<T, WorkError>) {
    let error = answer.expect_err("the store is down");
    assert!(
        matches!(&error, WorkError::Store(StoreError::Busy { retry_after }) if *retry_after == Duration::from_secs(1)),
        "{error:?}"
    );
}

#[tokio::test]
async fn every_operation_is_unavailable_and_changes_nothing() {
    let world = World::new();
    let work = world.work().await;
    let (before, mark) = (world.stored(work.task).await, world.mark().await);
    world.faults.break_store();
    assert_unavailable(world.queue.submit(&submitter(), submission()).await);
    assert_unavailable(
        world
            .queue
            .submit_many(&submitter(), vec![submission(); 3], false)
            .await,
    );
    for operation in OPERATIONS {
        assert_unavailable(operate(&world, &operator(), operation, work.task, None, "because").await);
    }
    assert_unavailable(world.queue.get(&submitter(), work.task).await);
    assert_unavailable(world.queue.history(&submitter(), work.task).await);
    let page = TaskQuery {
        limit: 10,
        ..TaskQuery::default()
    };
    assert_unavailable(world.queue.list(&submitter(), page).await);
    assert_unavailable(world.queue.tally(&operator()).await);
    assert_busy(world.queue.acknowledge(&worker(1), work).await);
    assert_busy(world.queue.heartbeat(&worker(1), vec![beat(work)]).await);
    assert_busy(world.queue.report(&worker(1), work, report()).await);
    assert_busy(world.queue.fail(&worker(1), work, failure()).await);
    assert_busy(world.queue.decline(&worker(1), work, "no".to_owned()).await);
    world.faults.mend();
    assert_eq!(world.stored(work.task).await, before);
    assert_eq!((world.count().await, world.mark().await), (1, mark));

    world
        .queue
        .report(&worker(1), work, report())
        .await
        .expect("the agent reports again");
    assert_eq!(world.state(work.task).await, "succeeded");
    world.task().await;
}

#[tokio::test]
async fn who_is_told_unavailable_is_not_told_that_a_task_exists() {
    let world = World::new();
    let task = world.task().await;
    world.faults.break_port(Port::Audit);
    // both would be refused, and both refusals must be recorded first
    let denied = world.queue.get(&neighbour(), task).await.expect_err("denied");
    let absent = world
        .queue
        .get(&neighbour(), arbiter_testkit::builders::task(77))
        .await
        .expect_err("absent");
    assert_eq!(format!("{denied:?}"), format!("{absent:?}"));
    assert_unavailable::<()>(Err(denied));
}

#[tokio::test]
async fn a_refusal_that_cannot_be_recorded_fails_the_operation() {
    let world = World::new();
    let work = world.work().await;
    let mark = world.mark().await;
    world.faults.break_port(Port::Audit);
    let bad = || submission_with(|spec| spec.title.clear());
    assert_unavailable(world.queue.submit(&submitter(), bad()).await);
    let mixed = vec![submission(), bad()];
    assert_unavailable(world.queue.submit_many(&submitter(), mixed, false).await);
    assert_eq!(world.count().await, 1, "not even the good one is stored");
    assert_unavailable(
        world
            .queue
            .submit_many(&submitter(), vec![submission(); 1_001], false)
            .await,
    );
    assert_unavailable(world.queue.submit(&user(9, [Role::Auditor]), submission()).await);
    assert_unavailable(
        world
            .queue
            .cancel(&operator(), work.task, None, String::new())
            .await,
    );
    assert_unavailable(
        world
            .queue
            .permit(&submitter(), arbiter_core::model::Operation::AuditQuery)
            .await,
    );
    assert_busy(world.queue.may_claim(&{ worker_without_rights() }).await);
    assert_busy(world.queue.decline(&worker(1), work, String::new()).await);
    assert_eq!(world.mark().await, mark);
    world.faults.mend();
    let refused = world.queue.submit(&submitter(), bad()).await;
    assert_eq!(
        code(&refused),
        "invalid_task",
        "the real answer, once it can be recorded"
    );
    assert_eq!(world.mark().await, mark + 1);
}

fn worker_without_rights() -> arbiter_core::model::Principal {
    let mut worker = worker(1);
    worker.roles.clear();
    worker
}

#[tokio::test]
async fn what_needs_no_other_record_goes_on_while_the_log_refuses_appends() {
    // the record of a transition commits with the transition itself
    let world = World::new();
    world.faults.break_port(Port::Audit);
    let work = world.work().await;
    world
        .queue
        .report(&worker(1), work, report())
        .await
        .expect("reported");
    assert_eq!(world.mark().await, 3);
}

#[tokio::test]
async fn a_submit_of_unknown_outcome_is_sent_again_without_harm() {
    for fault in [Fault::UnknownBefore, Fault::UnknownAfter] {
        let world = World::new();
        world.faults.tasks(fault);
        assert_unavailable(world.queue.submit(&submitter(), keyed("k", submission())).await);
        assert_eq!(world.wakeups.take(), []);
        world.faults.mend();
        let stored = world.count().await;
        let again = world
            .queue
            .submit(&submitter(), keyed("k", submission()))
            .await
            .expect("accepted");
        assert_eq!(again.repeated, fault == Fault::UnknownAfter);
        assert_eq!(
            (stored, world.count().await),
            (usize::from(again.repeated), 1),
            "{fault:?}"
        );
        assert_eq!(world.mark().await, 1);
    }
}

#[tokio::test]
async fn a_report_of_unknown_outcome_is_sent_again_and_recorded_once() {
    for fault in [Fault::UnknownBefore, Fault::UnknownAfter] {
        let world = World::new();
        let work = world.work().await;
        world.faults.tasks(fault);
        assert_busy(world.queue.report(&worker(1), work, report()).await);
        world.faults.mend();
        let done = world
            .queue
            .report(&worker(1), work, report())
            .await
            .expect("reported");
        assert_eq!(done.state.name().word(), "succeeded", "{fault:?}");
        assert_eq!(world.history(work.task).await.attempts.len(), 1);
        let reported = world.told(0).await;
        let reported = reported.iter().filter(|told| told.contains("+reported")).count();
        assert_eq!(reported, 1, "{fault:?}");
    }
}

#[tokio::test]
async fn a_mutation_that_the_store_sees_twice_is_done_once() {
    let world = World::new();
    world.faults.tasks(Fault::Repeated);
    // the second answer says that the task was there already, which is true of the same id
    let accepted = world
        .queue
        .submit(&submitter(), submission())
        .await
        .expect("accepted");
    let work = world
        .running(accepted.task, arbiter_testkit::builders::agent(1))
        .await;
    world
        .queue
        .decline(&worker(1), work, "busy".to_owned())
        .await
        .expect("declined");
    world
        .queue
        .cancel(&submitter(), accepted.task, None, "enough".to_owned())
        .await
        .expect("cancelled");
    assert_eq!(world.count().await, 1);
    assert_eq!(world.now(accepted.task).await.version.0, 4);
    assert_eq!(world.mark().await, 4, "one record per version");
}

#[tokio::test]
async fn a_limit_that_cannot_be_asked_lets_nobody_through() {
    let world = World::new();
    world.faults.break_port(Port::Limiter);
    assert_unavailable(world.queue.submit(&submitter(), submission()).await);
    assert_eq!((world.count().await, world.mark().await), (0, 0));
    world.faults.mend();
    world.task().await;
}

#[tokio::test]
async fn a_limit_that_is_a_mistake_is_an_internal_error() {
    let world = World::with(|plan| {
        plan.settings.submit_per_principal = RateLimit {
            per_second: 1,
            burst: 0,
        };
    });
    let error = world
        .queue
        .submit(&submitter(), submission())
        .await
        .expect_err("refused");
    assert_eq!(error.code(), "internal");
    assert_eq!(world.count().await, 0);
}

#[tokio::test]
async fn a_credential_that_cannot_be_checked_is_neither_accepted_nor_refused() {
    let world = World::new();
    let record = PrincipalRecord {
        principal: submitter(),
        name: "Ada".to_owned(),
    };
    world
        .keys
        .principals()
        .create(&record, RecordDraft::default())
        .await
        .expect("created");
    let key = world
        .keys
        .create(None, TENANT, submitter().id, None)
        .await
        .expect("a key");
    let credential = Credential::ApiKey(key.text);
    let mark = world.mark().await;
    world.faults.break_port(Port::Documents);
    assert_unavailable(world.queue.authenticate(&credential, "here").await);
    assert!(
        world
            .keys
            .create(None, TENANT, submitter().id, None)
            .await
            .is_err()
    );
    assert!(world.keys.revoke(None, TENANT, &key.id).await.is_err());
    assert_eq!(world.mark().await, mark, "it did not fail to authenticate");
    world.faults.mend();
    assert_eq!(
        world
            .queue
            .authenticate(&credential, "here")
            .await
            .expect("accepted"),
        submitter()
    );
}

#[tokio::test]
async fn a_failed_authentication_that_cannot_be_recorded_is_unavailable_and_counted_later() {
    let world = World::new();
    let wrong = Credential::ApiKey(SecretText::new("arb_wrong"));
    world.faults.break_port(Port::Audit);
    assert_unavailable(world.queue.authenticate(&wrong, "here").await);
    world.faults.mend();
    for _ in 0..4 {
        let refused = world.queue.authenticate(&wrong, "here").await;
        assert!(matches!(refused, Err(QueueError::AuthFailed)));
    }
    world.queue.flush_refusals(true).await.expect("flushed");
    let counted: u64 = world
        .leaves()
        .await
        .iter()
        .map(|leaf| leaf.count.unwrap_or(1))
        .sum();
    assert_eq!(counted, 5);
}

#[tokio::test]
async fn sums_of_refusals_that_cannot_be_written_are_kept_for_the_next_time() {
    let world = World::new();
    let wrong = Credential::ApiKey(SecretText::new("arb_wrong"));
    for _ in 0..100 {
        world
            .queue
            .authenticate(&wrong, "here")
            .await
            .expect_err("refused");
    }
    world.faults.break_port(Port::Audit);
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(10));
        let error = world.queue.flush_refusals(false).await.expect_err("down");
        assert_eq!(error.code(), "unavailable");
    }
    assert_eq!(world.mark().await, 1);
    world.faults.mend();
    world.queue.flush_refusals(true).await.expect("flushed");
    assert_eq!(world.last_leaf().await.count, Some(99));
    assert_eq!(
        world.last_leaf().await.told(),
        "authentication_failed refused malformed"
    );
}

#[tokio::test]
async fn the_sum_of_a_window_is_not_lost_with_the_refusal_that_ends_it() {
    let world = World::new();
    let wrong = Credential::ApiKey(SecretText::new("arb_wrong"));
    for _ in 0..100 {
        world
            .queue
            .authenticate(&wrong, "here")
            .await
            .expect_err("refused");
    }
    world.clock.advance(Duration::from_secs(10));
    world.faults.break_port(Port::Audit);
    assert_unavailable(world.queue.authenticate(&wrong, "here").await);
    world.faults.mend();
    world.queue.flush_refusals(true).await.expect("flushed");
    let counted: u64 = world
        .leaves()
        .await
        .iter()
        .map(|leaf| leaf.count.unwrap_or(1))
        .sum();
    assert_eq!(counted, 101);
}
