//! Limits of numbers: open tasks of a tenant, calls per second, and records of refusals that come in floods.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{Principal, Role, TenantId};
use arbiter_core::ports::Credential;
use arbiter_core::ports::{Ended, Spawner as _};
use arbiter_core::services::{WorkDesk as _, WorkError};
use arbiter_queue::{QueueError, RateLimit};
use arbiter_testkit::TestSpawner;
use arbiter_testkit::builders::{report, user};
use tokio::runtime::Builder;

use crate::world::{
    World, code, codes, in_tenant, keyed, neighbour, operator, submission, submission_with, submitter, worker,
};

async fn submit(world: &World, who: &Principal) -> &'static str {
    code(&world.queue.submit(who, submission()).await)
}

#[tokio::test]
async fn a_tenant_has_as_many_open_tasks_as_it_may_have() {
    let world = World::with(|plan| plan.settings.open_tasks_per_tenant = 3);
    for who in [submitter(), neighbour(), submitter()] {
        assert_eq!(submit(&world, &who).await, "accepted");
    }
    let mark = world.mark().await;
    let refused = world.queue.submit(&neighbour(), submission()).await;
    assert!(
        matches!(refused, Err(QueueError::BacklogFull { open: 3, limit: 3 })),
        "{refused:?}"
    );
    assert_eq!(
        world.told(mark).await,
        ["task.submit+rejected refused backlog_full"]
    );
    assert_eq!(world.count().await, 3);
    let elsewhere = in_tenant(2, submitter());
    assert_eq!(
        submit(&world, &elsewhere).await,
        "accepted",
        "other tenants have their own limit"
    );
}

#[tokio::test]
async fn a_task_that_ends_makes_room_for_another() {
    let world = World::with(|plan| plan.settings.open_tasks_per_tenant = 1);
    for _ in 0..3 {
        let work = world.work().await;
        assert_eq!(submit(&world, &submitter()).await, "backlog_full");
        world
            .queue
            .report(&worker(1), work, report())
            .await
            .expect("reported");
    }
}

#[tokio::test]
async fn the_limit_counts_inside_of_a_call_and_takes_what_fits() {
    let world = World::with(|plan| plan.settings.open_tasks_per_tenant = 2);
    let call = || vec![submission(); 3];
    let answers = world
        .queue
        .submit_many(&submitter(), call(), true)
        .await
        .expect("answers");
    assert_eq!(
        codes(&answers),
        ["invalid_task", "invalid_task", "backlog_full"],
        "all or nothing"
    );
    assert_eq!(world.count().await, 0);
    let answers = world
        .queue
        .submit_many(&submitter(), call(), false)
        .await
        .expect("answers");
    assert_eq!(codes(&answers), ["accepted", "accepted", "backlog_full"]);
}

#[tokio::test]
async fn a_repeat_is_answered_although_the_backlog_is_full() {
    let world = World::with(|plan| plan.settings.open_tasks_per_tenant = 1);
    let first = world.task_of(&submitter(), keyed("k", submission())).await;
    let again = world
        .queue
        .submit(&submitter(), keyed("k", submission()))
        .await
        .expect("again");
    assert_eq!((again.task, again.repeated), (first, true));
}

const fn rate(per_second: u32, burst: u32) -> RateLimit {
    RateLimit { per_second, burst }
}

#[tokio::test]
async fn a_principal_submits_a_hundred_at_once_and_ten_a_second_by_default() {
    let world = World::new();
    for _ in 0..100 {
        assert_eq!(submit(&world, &submitter()).await, "accepted");
    }
    let refused = world.queue.submit(&submitter(), submission()).await;
    let Err(QueueError::RateLimited { retry_after }) = refused else {
        panic!("it is over its rate: {refused:?}");
    };
    assert_eq!(retry_after, Duration::from_millis(100));
    world.clock.advance(Duration::from_micros(99_999));
    assert_eq!(submit(&world, &submitter()).await, "rate_limited");
    world.clock.advance(Duration::from_micros(1));
    assert_eq!(
        submit(&world, &submitter()).await,
        "accepted",
        "what it was told holds"
    );
    assert_eq!(submit(&world, &submitter()).await, "rate_limited");
    world.clock.advance(Duration::from_secs(1));
    for _ in 0..10 {
        assert_eq!(submit(&world, &submitter()).await, "accepted");
    }
    assert_eq!(submit(&world, &submitter()).await, "rate_limited");
    assert_eq!(world.count().await, 111);
}

#[tokio::test]
async fn the_limit_of_a_principal_does_not_hold_back_others() {
    let world = World::with(|plan| plan.settings.submit_per_principal = rate(1, 2));
    for expected in ["accepted", "accepted", "rate_limited"] {
        assert_eq!(submit(&world, &submitter()).await, expected);
    }
    for expected in ["accepted", "accepted", "rate_limited"] {
        assert_eq!(submit(&world, &neighbour()).await, expected);
    }
}

#[tokio::test]
async fn the_limit_of_a_tenant_holds_for_all_its_principals_together() {
    let world = World::with(|plan| plan.settings.submit_per_tenant = rate(1, 3));
    for who in [submitter(), neighbour(), operator()] {
        assert_eq!(submit(&world, &who).await, "accepted");
    }
    assert_eq!(submit(&world, &user(8, [Role::Submitter])).await, "rate_limited");
    assert_eq!(
        submit(&world, &in_tenant(2, user(7, [Role::Submitter]))).await,
        "accepted"
    );
}

#[tokio::test]
async fn a_call_refused_for_its_tenant_s_rate_takes_nothing_from_its_principal() {
    let world = World::with(|plan| {
        plan.settings.submit_per_tenant = rate(1, 1);
        plan.settings.submit_per_principal = rate(1, 2);
    });
    assert_eq!(submit(&world, &submitter()).await, "accepted");
    for _ in 0..5 {
        assert_eq!(submit(&world, &submitter()).await, "rate_limited");
    }
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(submit(&world, &submitter()).await, "accepted");
}

#[tokio::test]
async fn a_call_of_many_tasks_counts_once() {
    let world = World::with(|plan| plan.settings.submit_per_principal = rate(1, 1));
    let answers = world
        .queue
        .submit_many(&submitter(), vec![submission(); 50], true)
        .await
        .expect("one call");
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(submit(&world, &submitter()).await, "rate_limited");
}

#[tokio::test]
async fn all_other_calls_share_a_limit_of_their_own() {
    let world = World::with(|plan| plan.settings.calls_per_principal = rate(1, 3));
    let task = world.task().await;
    for _ in 0..3 {
        world.queue.get(&submitter(), task).await.expect("read");
    }
    let refused = world
        .queue
        .cancel(&submitter(), task, None, "no".to_owned())
        .await;
    assert!(
        matches!(refused, Err(QueueError::RateLimited { retry_after }) if retry_after == Duration::from_secs(1))
    );
    assert_eq!(world.state(task).await, "queued");
    assert_eq!(
        submit(&world, &submitter()).await,
        "accepted",
        "submits have another bucket"
    );
    world
        .queue
        .get(&operator(), task)
        .await
        .expect("others have another bucket");
    for _ in 0..3 {
        world.queue.may_claim(&worker(1)).await.expect("allowed");
    }
    let refused = world.queue.may_claim(&worker(1)).await;
    assert!(
        matches!(refused, Err(WorkError::RateLimited { retry_after }) if retry_after == Duration::from_secs(1))
    );
}

#[tokio::test]
async fn a_call_that_is_not_allowed_takes_nothing_from_the_tenant_s_rate() {
    let world = World::with(|plan| plan.settings.submit_per_tenant = rate(1, 1));
    for _ in 0..5 {
        assert_eq!(submit(&world, &user(9, [Role::Auditor])).await, "forbidden");
    }
    assert_eq!(submit(&world, &submitter()).await, "accepted");
}

/// How many events the leaves with this action tell of.
async fn told_of(world: &World, action: &str) -> (usize, u64) {
    let leaves = world.leaves().await;
    let of_action = leaves
        .iter()
        .filter(|leaf| leaf.actions.iter().any(|one| one == action));
    let counts: Vec<u64> = of_action.map(|leaf| leaf.count.unwrap_or(1)).collect();
    (counts.len(), counts.iter().sum())
}

#[tokio::test]
async fn a_flood_over_the_rate_leaves_a_bounded_number_of_records_that_count_every_call() {
    let world = World::with(|plan| plan.settings.submit_per_principal = rate(1, 1));
    assert_eq!(submit(&world, &submitter()).await, "accepted");
    for _ in 0..10_000 {
        assert_eq!(submit(&world, &submitter()).await, "rate_limited");
    }
    assert_eq!(told_of(&world, "rate_limited").await, (1, 1), "the first at once");
    let leaf = world.last_leaf().await;
    assert_eq!(leaf.told(), "task.submit+rate_limited refused rate_limited");
    assert_eq!(
        (leaf.principal, leaf.count),
        (Some(submitter().id.to_string()), None)
    );
    world.queue.flush_refusals(false).await.expect("flushed");
    assert_eq!(
        told_of(&world, "rate_limited").await,
        (1, 1),
        "its window has not ended"
    );
    world.clock.advance(Duration::from_secs(10));
    world.queue.flush_refusals(false).await.expect("flushed");
    assert_eq!(told_of(&world, "rate_limited").await, (2, 10_000));
    assert_eq!(world.last_leaf().await.count, Some(9_999));
    world.queue.flush_refusals(true).await.expect("flushed");
    assert_eq!(
        told_of(&world, "rate_limited").await,
        (2, 10_000),
        "nothing is left"
    );
    assert_eq!(world.metrics.total("queue.rate_limited_total"), 10_000);
}

#[tokio::test]
async fn a_flood_over_several_windows_has_one_record_each() {
    let world = World::with(|plan| plan.settings.submit_per_principal = rate(1, 1));
    assert_eq!(submit(&world, &submitter()).await, "accepted");
    let mut refused = 0;
    for _ in 0..50 {
        for _ in 0..100 {
            refused += u64::from(submit(&world, &submitter()).await == "rate_limited");
        }
        world.clock.advance(Duration::from_secs(1));
    }
    world.queue.flush_refusals(true).await.expect("flushed");
    let (leaves, counted) = told_of(&world, "rate_limited").await;
    assert_eq!(counted, refused);
    assert!(leaves <= 6, "50 s have five windows of ten: {leaves}");
}

#[tokio::test]
async fn each_source_of_refusals_is_recorded_at_once_and_summed_by_itself() {
    let world = World::with(|plan| plan.settings.submit_per_principal = rate(1, 1));
    for who in [submitter(), neighbour()] {
        for _ in 0..11 {
            submit(&world, &who).await;
        }
    }
    assert_eq!(told_of(&world, "rate_limited").await, (2, 2));
    world.queue.flush_refusals(true).await.expect("flushed");
    assert_eq!(told_of(&world, "rate_limited").await, (4, 20));
}

#[tokio::test]
async fn a_flood_of_wrong_keys_leaves_a_bounded_number_of_records() {
    let world = World::new();
    let wrong = Credential::ApiKey(SecretText::new("arb_wrong"));
    for number in 0..10_000_u32 {
        let source = format!("10.0.0.{}", number % 4);
        let refused = world.queue.authenticate(&wrong, &source).await;
        assert!(matches!(refused, Err(QueueError::AuthFailed)));
    }
    assert_eq!(told_of(&world, "authentication_failed").await, (4, 4));
    world.queue.flush_refusals(true).await.expect("flushed");
    assert_eq!(told_of(&world, "authentication_failed").await, (8, 10_000));
    let leaves = world.leaves().await;
    assert!(
        !format!("{leaves:?}").contains("10.0.0."),
        "no address enters the log"
    );
    assert!(
        leaves
            .iter()
            .all(|leaf| leaf.tenant == TenantId::SYSTEM.to_string())
    );
}

#[tokio::test]
async fn a_flood_from_ever_new_sources_is_bounded_too() {
    let world = World::new();
    let wrong = Credential::ApiKey(SecretText::new("arb_wrong"));
    for number in 0..10_000_u32 {
        world
            .queue
            .authenticate(&wrong, &number.to_string())
            .await
            .expect_err("refused");
    }
    world.queue.flush_refusals(true).await.expect("flushed");
    let (leaves, counted) = told_of(&world, "authentication_failed").await;
    assert_eq!(counted, 10_000);
    assert!(leaves < 4_200, "{leaves}");
}

#[tokio::test]
async fn a_flood_of_denied_calls_is_limited_before_it_is_recorded() {
    let world = World::with(|plan| plan.settings.calls_per_principal = rate(1, 5));
    let task = world.task().await;
    let curious = user(9, [Role::Submitter]);
    let mut refused = 0_u64;
    for _ in 0..5_000 {
        for id in [task, arbiter_testkit::builders::task(77)] {
            let answer = world.queue.get(&curious, id).await;
            refused += u64::from(code(&answer) == "rate_limited");
            assert_ne!(code(&answer), "accepted");
        }
    }
    assert_eq!(told_of(&world, "authorization_failed").await, (5, 5));
    world.queue.flush_refusals(true).await.expect("flushed");
    assert_eq!(told_of(&world, "rate_limited").await, (2, refused));
    assert_eq!(refused, 10_000 - 5);
}

#[tokio::test]
async fn refused_tasks_of_one_call_are_recorded_together_by_reason() {
    let world = World::new();
    let untitled = submission_with(|spec| spec.title.clear());
    let long = submission_with(|spec| spec.title = "t".repeat(201));
    let mut call = vec![untitled; 500];
    call.extend(vec![long; 499]);
    call.push(submission());
    let answers = world
        .queue
        .submit_many(&submitter(), call, false)
        .await
        .expect("answers");
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    let leaves = world.leaves().await;
    let counts: Vec<_> = leaves.iter().map(|leaf| (leaf.told(), leaf.count)).collect();
    let expected = [
        ("task.submit+rejected refused invalid_task", Some(500)),
        ("task.submit+rejected refused too_large", Some(499)),
        ("task.submit+submitted done -", None),
    ];
    assert_eq!(counts, expected.map(|(told, count)| (told.to_owned(), count)));
    assert_eq!(world.metrics.total("queue.rejected_total"), 999);
}

/// Room for a thousand calls at once.
fn roomy() -> World {
    World::with(|plan| {
        plan.settings.submit_per_principal = rate(10, 1_000);
        plan.settings.submit_per_tenant = rate(10, 1_000);
    })
}

#[tokio::test]
async fn a_thousand_submits_of_one_principal_at_once_all_succeed() {
    let world = Arc::new(roomy());
    let mut running = Vec::new();
    for _ in 0..1_000 {
        let world = Arc::clone(&world);
        running.push(TestSpawner.spawn(
            "submit",
            Box::pin(async move {
                world.task().await;
            }),
        ));
    }
    for mut task in running {
        assert_eq!(task.join().await, Ended::Finished);
    }
    assert_eq!(world.count().await, 1_000);
    assert_eq!(world.queue.tally(&operator()).await.expect("tally").open, 1_000);
    assert_eq!(
        submit(&world, &submitter()).await,
        "rate_limited",
        "the limit was used up exactly"
    );
}

#[test]
fn a_thousand_submits_from_eight_threads_all_succeed() {
    let world = Arc::new(roomy());
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let runtime = Builder::new_current_thread().build().expect("runtime");
                runtime.block_on(async {
                    for _ in 0..125 {
                        world.task().await;
                    }
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no submit failed");
    }
    let runtime = Builder::new_current_thread().build().expect("runtime");
    assert_eq!(runtime.block_on(world.count()), 1_000);
    assert_eq!(runtime.block_on(world.mark()), 1_000, "one record each");
}

#[test]
fn one_key_from_eight_threads_makes_one_task() {
    let world = Arc::new(roomy());
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let world = Arc::clone(&world);
            thread::spawn(move || {
                let runtime = Builder::new_current_thread().build().expect("runtime");
                runtime.block_on(async {
                    let once = keyed("k", submission());
                    world.queue.submit(&submitter(), once).await.expect("accepted")
                })
            })
        })
        .collect();
    let answers: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().expect("answered"))
        .collect();
    assert_eq!(answers.iter().filter(|answer| !answer.repeated).count(), 1);
    assert!(answers.iter().all(|answer| answer.task == answers[0].task));
}
