//! Cancelling, retrying, releasing, giving up and requeueing.

use std::sync::Arc;

use arbiter_core::lifecycle::{Refusal, ReleaseDecision};
use arbiter_core::model::{
    OnPrerequisiteFailure, Operation, Principal, Role, Stage, StateName, Task, TaskId, Version,
};
use arbiter_core::ports::Hint;
use arbiter_core::services::WorkDesk as _;
use arbiter_queue::{Prerequisite, QueueError, Submission};
use arbiter_testkit::builders::{agent, report, user};
use arbiter_testkit::mocks::MockReviewStage;
use serde_json::json;

use crate::world::{World, in_tenant, neighbour, operator, submission, submission_with, submitter, worker};

/// The operations on single tasks that people call.
pub(crate) const OPERATIONS: [Operation; 5] = [
    Operation::TaskCancel,
    Operation::TaskRetry,
    Operation::TaskRelease,
    Operation::TaskDeadLetter,
    Operation::TaskRequeue,
];

/// Calls an operation; a release goes on where the task was held.
pub(crate) async fn operate(
    world: &World,
    who: &Principal,
    operation: Operation,
    task: TaskId,
    expect: Option<Version>,
    why: &str,
) -> Result<Task, QueueError> {
    let (queue, why) = (&world.queue, why.to_owned());
    match operation {
        Operation::TaskCancel => queue.cancel(who, task, expect, why).await,
        Operation::TaskRetry => queue.retry(who, task, expect, why).await,
        Operation::TaskRelease => {
            queue
                .release(who, task, expect, ReleaseDecision::Resume, why)
                .await
        }
        Operation::TaskDeadLetter => queue.dead_letter(who, task, expect, why).await,
        Operation::TaskRequeue => queue.requeue(who, task, expect, why).await,
        other => panic!("{other:?} is no operation on a task"),
    }
}

fn reviewed_world() -> World {
    let mut judge = MockReviewStage::new();
    judge.expect_stage().return_const(Stage::Judge);
    judge.expect_accepts().return_const(true);
    World::with(|plan| plan.stages = vec![Arc::new(judge)])
}

/// A task of the submitter in this state.
async fn task_in(world: &World, state: StateName) -> TaskId {
    let after_cancelled = async |on_failure| {
        let first = world.task().await;
        operate(world, &submitter(), Operation::TaskCancel, first, None, "no")
            .await
            .expect("cancelled");
        let waiting = Submission {
            after: vec![Prerequisite::Task(first)],
            ..submission_with(|spec| spec.on_prerequisite_failure = on_failure)
        };
        world.task_of(&submitter(), waiting).await
    };
    let task = match state {
        StateName::Queued => world.task().await,
        StateName::Assigned => {
            let task = world.task().await;
            world.assigned(task, agent(1)).await;
            task
        }
        StateName::Running => world.work().await.task,
        StateName::Reviewing => {
            let judged = submission_with(|spec| spec.review.rubric = Some("clarity".to_owned()));
            let task = world.task_of(&submitter(), judged).await;
            let work = world.running(task, agent(1)).await;
            world
                .queue
                .report(&worker(1), work, report())
                .await
                .expect("reported");
            task
        }
        StateName::Held => after_cancelled(OnPrerequisiteFailure::Hold).await,
        StateName::Succeeded => {
            let work = world.work().await;
            world
                .queue
                .report(&worker(1), work, report())
                .await
                .expect("reported");
            work.task
        }
        StateName::Failed => after_cancelled(OnPrerequisiteFailure::Fail).await,
        StateName::Cancelled | StateName::DeadLettered => {
            let task = world.task().await;
            let operation = match state {
                StateName::Cancelled => Operation::TaskCancel,
                _ => Operation::TaskDeadLetter,
            };
            operate(world, &operator(), operation, task, None, "no")
                .await
                .expect("done");
            task
        }
    };
    assert_eq!(world.now(task).await.state.name(), state);
    task
}

/// What becomes of a task in this state; none where the move is illegal.
fn expected(operation: Operation, from: StateName) -> Option<StateName> {
    let closed = matches!(
        from,
        StateName::Succeeded | StateName::Failed | StateName::Cancelled | StateName::DeadLettered
    );
    match operation {
        Operation::TaskCancel => (!closed).then_some(StateName::Cancelled),
        Operation::TaskDeadLetter => (!closed).then_some(StateName::DeadLettered),
        Operation::TaskRetry => (from == StateName::Failed).then_some(StateName::Queued),
        Operation::TaskRequeue => (from == StateName::DeadLettered).then_some(StateName::Queued),
        _ => (from == StateName::Held).then_some(StateName::Queued),
    }
}

#[tokio::test]
async fn each_operation_is_done_in_its_legal_states_and_refused_in_all_others() {
    let mut legal = 0;
    for operation in OPERATIONS {
        for from in StateName::ALL.iter().copied() {
            let world = reviewed_world();
            let task = task_in(&world, from).await;
            let before = world.now(task).await;
            let mark = world.mark().await;
            let answer = operate(&world, &operator(), operation, task, None, "because").await;
            let now = world.now(task).await;
            let told = world.told(mark).await;
            assert_eq!(
                told.len(),
                1,
                "{operation:?} from {from:?} leaves one record: {told:?}"
            );
            assert!(told[0].starts_with(operation.word()), "{told:?}");
            if let Some(to) = expected(operation, from) {
                assert_eq!(
                    answer.expect("legal").state.name(),
                    to,
                    "{operation:?} from {from:?}"
                );
                assert_eq!((now.state.name(), now.version.0), (to, before.version.0 + 1));
                assert!(told[0].contains(" done "), "{told:?}");
                legal += 1;
            } else {
                let error = answer.expect_err("illegal");
                assert!(
                    matches!(&error, QueueError::IllegalTransition(Refusal::Illegal { from: state, .. }) if *state == from),
                    "{operation:?} from {from:?}: {error:?}"
                );
                assert_eq!(error.code(), "illegal_transition");
                assert_eq!(now, before, "a refused move changes nothing");
                assert!(
                    told[0].ends_with("rejected refused illegal_transition"),
                    "{told:?}"
                );
            }
        }
    }
    assert_eq!(legal, 5 + 5 + 1 + 1 + 1);
}

#[tokio::test]
async fn the_reason_is_kept_beside_the_record() {
    for operation in OPERATIONS {
        let world = reviewed_world();
        let from = StateName::ALL
            .iter()
            .copied()
            .find(|from| expected(operation, *from).is_some());
        let task = task_in(&world, from.expect("a legal state")).await;
        operate(&world, &operator(), operation, task, None, "because I say so")
            .await
            .expect("done");
        let leaf = world.last_leaf().await;
        assert_eq!(
            leaf.body,
            Some(json!({"schema": "reason/1", "reason": "because I say so"}))
        );
        assert_eq!(leaf.principal, Some(operator().id.to_string()));
        assert_eq!(leaf.resource.expect("resource").id, task.to_string());
    }
}

#[tokio::test]
async fn a_reason_is_required_and_bounded() {
    for operation in OPERATIONS {
        let world = reviewed_world();
        let from = StateName::ALL
            .iter()
            .copied()
            .find(|from| expected(operation, *from).is_some());
        let task = task_in(&world, from.expect("a legal state")).await;
        let before = world.now(task).await;
        let long = "x".repeat(2_001);
        for (why, code) in [
            ("", "invalid_task"),
            (" \n", "invalid_task"),
            (&long, "too_large"),
        ] {
            let error = operate(&world, &operator(), operation, task, None, why)
                .await
                .expect_err("refused");
            assert_eq!(error.code(), code);
            let leaf = world.last_leaf().await;
            assert_eq!(
                leaf.told(),
                format!("{}+rejected refused {code}", operation.word())
            );
            assert_eq!(leaf.resource.expect("resource").id, task.to_string());
        }
        assert_eq!(world.now(task).await, before);
        operate(&world, &operator(), operation, task, None, &long[1..])
            .await
            .expect("2000 are enough");
    }
}

#[tokio::test]
async fn an_expected_version_must_be_the_present_one() {
    for operation in OPERATIONS {
        let world = reviewed_world();
        let from = StateName::ALL
            .iter()
            .copied()
            .find(|from| expected(operation, *from).is_some());
        let task = task_in(&world, from.expect("a legal state")).await;
        let before = world.now(task).await;
        let stale = Version(before.version.0 + 1);
        let refused = operate(&world, &operator(), operation, task, Some(stale), "because").await;
        assert!(
            matches!(refused, Err(QueueError::PreconditionFailed { current }) if current == before.version),
            "{refused:?}"
        );
        assert_eq!(world.now(task).await, before);
        operate(
            &world,
            &operator(),
            operation,
            task,
            Some(before.version),
            "because",
        )
        .await
        .expect("done");
    }
}

#[tokio::test]
async fn dispatchers_hear_of_what_operators_do() {
    let world = World::new();
    let task = world.work().await.task;
    world.wakeups.take();
    operate(&world, &operator(), Operation::TaskCancel, task, None, "enough")
        .await
        .expect("cancelled");
    assert_eq!(world.wakeups.take(), [Hint::Task(task), Hint::Agents]);
    operate(&world, &operator(), Operation::TaskCancel, task, None, "again")
        .await
        .expect_err("closed");
    assert_eq!(world.wakeups.take(), []);
}

#[tokio::test]
async fn a_held_task_is_accepted_only_with_an_output_and_may_be_rejected() {
    let world = World::new();
    let task = task_in(&world, StateName::Held).await;
    let release = async |decision| {
        world
            .queue
            .release(&operator(), task, None, decision, "so be it".into())
            .await
    };
    let accepted = release(ReleaseDecision::Accept).await;
    assert!(
        matches!(accepted, Err(QueueError::IllegalTransition(_))),
        "there is no output: {accepted:?}"
    );
    release(ReleaseDecision::Reject).await.expect("rejected");
    assert_eq!(world.state(task).await, "failed policy");
}

#[tokio::test]
async fn attempts_start_again_after_a_requeue_and_the_fence_goes_on() {
    let world = World::new();
    let work = world.work().await;
    for operation in [Operation::TaskDeadLetter, Operation::TaskRequeue] {
        operate(&world, &operator(), operation, work.task, None, "once more")
            .await
            .expect("done");
    }
    assert_eq!(world.now(work.task).await.attempts, 0);
    let again = world.running(work.task, agent(1)).await;
    assert!(again.fence > work.fence);
}

#[tokio::test]
async fn each_role_does_what_the_table_says_and_no_more() {
    // whether it is done on a task that somebody else of the tenant has submitted
    let table = [
        (Role::Submitter, [false; 5]),
        (Role::Agent, [false; 5]),
        (Role::Reviewer, [false, false, true, false, false]),
        (Role::Operator, [true; 5]),
        (Role::Auditor, [false; 5]),
        (Role::Admin, [true; 5]),
    ];
    for (role, allowed) in table {
        for (operation, allowed) in OPERATIONS.into_iter().zip(allowed) {
            let world = reviewed_world();
            let from = StateName::ALL
                .iter()
                .copied()
                .find(|from| expected(operation, *from).is_some());
            let task = task_in(&world, from.expect("a legal state")).await;
            let before = world.now(task).await;
            let answer = operate(&world, &user(9, [role]), operation, task, None, "because").await;
            assert_eq!(answer.is_ok(), allowed, "{role:?} {operation:?}: {answer:?}");
            assert_eq!(world.now(task).await == before, !allowed);
            if !allowed {
                let told = format!("{}+authorization_failed refused forbidden", operation.word());
                assert_eq!(world.last_leaf().await.told(), told);
            }
        }
    }
}

#[tokio::test]
async fn a_submitter_withdraws_its_own_tasks_only() {
    let world = World::new();
    let task = world.task().await;
    let refused = operate(
        &world,
        &neighbour(),
        Operation::TaskCancel,
        task,
        None,
        "mine now",
    )
    .await;
    assert!(matches!(refused, Err(QueueError::NotFound)));
    operate(&world, &submitter(), Operation::TaskCancel, task, None, "mine")
        .await
        .expect("cancelled");
}

#[tokio::test]
async fn who_may_read_a_task_is_told_that_it_may_not_change_it() {
    let world = World::new();
    let task = world.task().await;
    for (who, operation) in [
        (submitter(), Operation::TaskDeadLetter),
        (user(9, [Role::Auditor]), Operation::TaskCancel),
        (user(9, [Role::Reviewer]), Operation::TaskCancel),
    ] {
        let refused = operate(&world, &who, operation, task, None, "because").await;
        assert!(matches!(refused, Err(QueueError::Forbidden)), "{refused:?}");
    }
}

#[tokio::test]
async fn an_administrator_operates_in_every_tenant_and_the_record_stands_in_the_task_s() {
    let world = World::new();
    let theirs = in_tenant(2, submitter());
    let task = world.task_of(&theirs, submission()).await;
    operate(
        &world,
        &user(9, [Role::Admin]),
        Operation::TaskCancel,
        task,
        None,
        "because",
    )
    .await
    .expect("done");
    assert_eq!(world.state(task).await, "cancelled");
    let leaf = world.last_leaf().await;
    assert_eq!(leaf.tenant, theirs.tenant.to_string());
    assert_eq!(leaf.principal, Some(user(9, []).id.to_string()));
}
