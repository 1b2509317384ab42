//! One operation on many tasks: each authorised by itself, nothing of other tenants, nothing changed by a dry run.

use std::time::Duration;

use arbiter_core::lifecycle::RetryPlan;
use arbiter_core::model::{
    DeadReason, FailReason, Failure, FailureClass, Operation, Principal, Role, StateName, TaskId, TaskKind,
    Usage,
};
use arbiter_core::ports::{Clock as _, Hint};
use arbiter_core::services::WorkDesk as _;
use arbiter_queue::{BulkFilter, BulkOutcome, BulkRequest, QueueError};
use arbiter_testkit::builders::{agent, tenant, user};
use arbiter_testkit::faulty::Fault;

use crate::world::{World, code, in_tenant, neighbour, operator, submission_with, submitter, worker};

fn request(filter: BulkFilter) -> BulkRequest {
    BulkRequest {
        filter,
        after: None,
        limit: 1_000,
        dry_run: false,
        why: "the model was withdrawn".to_owned(),
    }
}

fn all() -> BulkRequest {
    request(BulkFilter::default())
}

fn dry(request: BulkRequest) -> BulkRequest {
    BulkRequest {
        dry_run: true,
        ..request
    }
}

async fn cancel(world: &World, by: &Principal, request: BulkRequest) -> BulkOutcome {
    world.queue.cancel_many(by, request).await.expect("done")
}

async fn tasks(world: &World, count: usize) -> Vec<TaskId> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(world.task().await);
    }
    ids
}

#[tokio::test]
async fn every_open_task_is_cancelled_and_each_is_on_record() {
    let world = World::new();
    let mut ids = tasks(&world, 3).await;
    let running = world.running(ids[0], agent(1)).await;
    let closed = world.task().await;
    world
        .queue
        .cancel(&operator(), closed, None, "first".to_owned())
        .await
        .expect("cancelled");
    let mark = world.mark().await;
    let outcome = cancel(&world, &operator(), all()).await;
    assert_eq!((outcome.matched, outcome.done, outcome.next), (3, 3, None));
    assert!(outcome.refused.is_empty());
    ids.sort();
    assert_eq!(outcome.sample, ids);
    for id in &ids {
        assert_eq!(world.state(*id).await, "cancelled");
    }
    assert_eq!(world.told(mark).await, ["task.cancel_many+cancelled done -"; 3]);
    let leaf = world.last_leaf().await;
    assert_eq!(leaf.body.expect("detail")["reason"], "the model was withdrawn");
    assert!(world.wakeups.take().contains(&Hint::Task(ids[0])));
    // The late report of the running one is refused.
    let late = world.queue.acknowledge(&worker(1), world.again(running)).await;
    assert!(late.is_err());
    let again = cancel(&world, &operator(), all()).await;
    assert_eq!((again.matched, again.done), (0, 0), "a repeat finds the rest");
}

#[tokio::test]
async fn a_dry_run_tells_how_many_and_up_to_twenty_and_changes_nothing() {
    let world = World::new();
    let ids = tasks(&world, 25).await;
    let mark = world.mark().await;
    let told = cancel(&world, &operator(), dry(all())).await;
    assert_eq!((told.matched, told.done, told.sample.len()), (25, 0, 20));
    assert_eq!(told.sample[..], ids[..20]);
    assert_eq!(world.mark().await, mark);
    for id in ids {
        assert_eq!(world.state(id).await, "queued");
    }
}

#[tokio::test]
async fn a_filter_finds_what_it_says() {
    let world = World::new();
    let kind = TaskKind::new("writing").expect("kind");
    let of = async |change: fn(&mut arbiter_core::model::TaskSpec)| {
        world.task_of(&submitter(), submission_with(change)).await
    };
    let plain = of(|_| {}).await;
    let labelled = of(|spec| {
        spec.labels.insert("team".to_owned(), "red".to_owned());
    })
    .await;
    let writing = of(|spec| spec.kind = TaskKind::new("writing").expect("kind")).await;
    world.clock.advance(Duration::from_secs(60));
    let since = world.clock.now();
    let late = of(|_| {}).await;
    world.running(plain, agent(1)).await;
    let found = async |filter| cancel(&world, &operator(), dry(request(filter))).await.sample;
    let none = BulkFilter::default;
    let cases = [
        (none(), vec![plain, labelled, writing, late]),
        (
            BulkFilter {
                state: Some(StateName::Running),
                ..none()
            },
            vec![plain],
        ),
        (
            BulkFilter {
                state: Some(StateName::Cancelled),
                ..none()
            },
            vec![],
        ),
        (
            BulkFilter {
                kind: Some(kind),
                ..none()
            },
            vec![writing],
        ),
        (
            BulkFilter {
                label: Some(("team".to_owned(), "red".to_owned())),
                ..none()
            },
            vec![labelled],
        ),
        (
            BulkFilter {
                submitted_before: Some(since),
                ..none()
            },
            vec![plain, labelled, writing],
        ),
    ];
    for (filter, expected) in cases {
        assert_eq!(found(filter.clone()).await, expected, "{filter:?}");
    }
}

#[tokio::test]
async fn a_limit_stops_and_the_cursor_goes_on() {
    let world = World::new();
    let ids = tasks(&world, 5).await;
    let mut after = None;
    let mut done = Vec::new();
    loop {
        let part = BulkRequest {
            limit: 2,
            after,
            ..all()
        };
        let outcome = cancel(&world, &operator(), part).await;
        assert!(outcome.done <= 2);
        done.extend(outcome.sample);
        after = outcome.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(done, ids);
}

#[tokio::test]
async fn tasks_of_another_tenant_are_not_found() {
    let world = World::new();
    let task = world.task().await;
    let elsewhere = in_tenant(2, operator());
    let outcome = cancel(&world, &elsewhere, all()).await;
    assert_eq!((outcome.matched, outcome.sample), (0, Vec::new()));
    let named = request(BulkFilter {
        tenant: Some(tenant(1)),
        ..BulkFilter::default()
    });
    for by in [elsewhere, in_tenant(2, submitter())] {
        let refused = world.queue.cancel_many(&by, named.clone()).await;
        assert_eq!(code(&refused), "forbidden");
    }
    assert_eq!(world.state(task).await, "queued");
    // An admin has to name the tenant.
    let admin = in_tenant(2, user(9, [Role::Admin]));
    assert_eq!(cancel(&world, &admin, all()).await.matched, 0);
    assert_eq!(cancel(&world, &admin, named).await.done, 1);
}

#[tokio::test]
async fn each_task_is_authorised_by_itself() {
    let world = World::new();
    let own = world.task().await;
    let other = world.task_of(&neighbour(), submission_with(|_| {})).await;
    // Permitted to cancel many, but to read and cancel only its own.
    let who = Principal {
        roles: [Role::Submitter].into(),
        ..submitter()
    };
    let refused = world.queue.cancel_many(&who, all()).await;
    assert_eq!(code(&refused), "forbidden");
    assert_eq!(
        world.last_leaf().await.told(),
        "task.cancel_many+authorization_failed refused forbidden"
    );
    world.policy.forbid(Operation::TaskCancel);
    let mark = world.mark().await;
    let outcome = cancel(&world, &operator(), all()).await;
    assert_eq!((outcome.matched, outcome.done), (2, 0));
    assert_eq!(outcome.refused["forbidden"], 2);
    assert_eq!(
        world.told(mark).await,
        ["task.cancel_many+authorization_failed refused forbidden"]
    );
    assert_eq!(world.last_leaf().await.count, Some(2));
    world.policy.forbid(Operation::TaskGet);
    let outcome = cancel(&world, &operator(), all()).await;
    assert_eq!(
        outcome,
        BulkOutcome::default(),
        "what may not be seen is not counted"
    );
    for task in [own, other] {
        assert_eq!(world.state(task).await, "queued");
    }
}

#[tokio::test]
async fn failed_tasks_and_dead_letters_are_queued_again_and_nothing_else() {
    let world = World::with(|plan| {
        plan.after_failure = RetryPlan::Fail(FailReason::Policy);
    });
    let failed = world.task().await;
    let work = world.running(failed, agent(1)).await;
    let failure = Failure {
        class: FailureClass::Agent,
        code: None,
        message: "no".to_owned(),
        usage: Usage::default(),
        not_enforced: None,
    };
    world.queue.fail(&worker(1), work, failure).await.expect("failed");
    let dead = world.task().await;
    world
        .queue
        .dead_letter(&operator(), dead, None, "enough".to_owned())
        .await
        .expect("given up");
    let open = world.task().await;
    assert_eq!(
        world.state(dead).await,
        format!("dead_lettered {}", DeadReason::ByOperator.word())
    );
    let outcome = world.queue.requeue_many(&operator(), all()).await.expect("done");
    assert_eq!((outcome.matched, outcome.done), (2, 2));
    assert_eq!(outcome.sample, [failed, dead]);
    for id in [failed, dead, open] {
        assert_eq!(world.state(id).await, "queued");
    }
}

#[tokio::test]
async fn a_reason_and_a_limit_are_wanted() {
    let world = World::new();
    let task = world.task().await;
    let cases = [
        BulkRequest {
            why: " ".to_owned(),
            ..all()
        },
        BulkRequest { limit: 0, ..all() },
        BulkRequest {
            limit: 1_001,
            ..all()
        },
    ];
    for request in cases {
        let refused = world.queue.cancel_many(&operator(), request).await;
        assert!(
            matches!(refused, Err(QueueError::InvalidTask { .. })),
            "{refused:?}"
        );
        assert_eq!(
            world.last_leaf().await.told(),
            "task.cancel_many+rejected refused invalid_task"
        );
    }
    assert_eq!(world.state(task).await, "queued");
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_a_repeat_goes_on() {
    let world = World::new();
    tasks(&world, 3).await;
    world.faults.tasks(Fault::NotApplied);
    let failed = world.queue.cancel_many(&operator(), all()).await;
    assert_eq!(code(&failed), "unavailable");
    world.faults.mend();
    assert_eq!(cancel(&world, &operator(), all()).await.done, 3);
}
