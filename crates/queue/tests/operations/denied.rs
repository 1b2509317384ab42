//! Denied looks like absent: who may not read a task cannot tell that it exists, by no operation and in no state.

use std::collections::BTreeSet;

use arbiter_core::model::{Operation, Principal, Role, Target, TaskId, Version};
use arbiter_core::ports::TaskQuery;
use arbiter_core::services::WorkDesk as _;
use arbiter_queue::QueueError;
use arbiter_testkit::builders::{agent, report, task, user};
use proptest::prelude::*;
use tokio::runtime::Builder;

use crate::operate::{OPERATIONS, operate};
use crate::policy::permits;
use crate::world::{Leaf, World, in_tenant, neighbour, operator, submission, submitter, worker};

/// A call about one task.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Call {
    Get,
    History,
    Operate(Operation),
}

impl Call {
    const fn operation(self) -> Operation {
        match self {
            Self::Get | Self::History => Operation::TaskGet,
            Self::Operate(operation) => operation,
        }
    }

    async fn make(
        self,
        world: &World,
        who: &Principal,
        task: TaskId,
        expect: Option<Version>,
        why: &str,
    ) -> Result<(), QueueError> {
        match self {
            Self::Get => world.queue.get(who, task).await.map(|_| ()),
            Self::History => world.queue.history(who, task).await.map(|_| ()),
            Self::Operate(operation) => operate(world, who, operation, task, expect, why)
                .await
                .map(|_| ()),
        }
    }
}

fn calls() -> impl Iterator<Item = Call> {
    [Call::Get, Call::History]
        .into_iter()
        .chain(OPERATIONS.map(Call::Operate))
}

/// Everything that a caller can see of an error.
fn shown(answer: &Result<(), QueueError>) -> String {
    match answer {
        Ok(()) => "done".to_owned(),
        Err(error) => {
            let source = std::error::Error::source(error).map(ToString::to_string);
            format!("{} | {error} | {error:?} | {source:?}", error.code())
        }
    }
}

fn not_found() -> String {
    shown(&Err(QueueError::NotFound))
}

/// Running, succeeded and queued tasks of tenants 1 and 2: the submitter's own, those of somebody else, those of
/// another tenant.
struct Tasks {
    own: Vec<TaskId>,
    neighbours: Vec<TaskId>,
    foreign: Vec<TaskId>,
}

/// A task that is worked on and one that has succeeded.
async fn worked_on(world: &World, who: &Principal, worker_number: u64) -> Vec<TaskId> {
    let done = world.task_of(who, submission()).await;
    let work = world.running(done, agent(worker_number)).await;
    let doer = Principal {
        tenant: who.tenant,
        ..worker(worker_number)
    };
    world.queue.report(&doer, work, report()).await.expect("reported");
    let running = world.task_of(who, submission()).await;
    world.running(running, agent(worker_number)).await;
    vec![running, done]
}

async fn populated() -> (World, Tasks) {
    let world = World::new();
    let foreign = in_tenant(2, submitter());
    let mut tasks = Tasks {
        own: worked_on(&world, &submitter(), 1).await,
        neighbours: worked_on(&world, &neighbour(), 2).await,
        foreign: worked_on(&world, &foreign, 3).await,
    };
    // queued ones come last: an agent would have been given them
    tasks.own.push(world.task_of(&submitter(), submission()).await);
    tasks
        .neighbours
        .push(world.task_of(&neighbour(), submission()).await);
    tasks.foreign.push(world.task_of(&foreign, submission()).await);
    (world, tasks)
}

fn callers() -> Vec<Principal> {
    let mut callers = vec![submitter(), operator(), worker(1), user(1, [])];
    callers.extend([Role::Reviewer, Role::Auditor, Role::Submitter, Role::Admin].map(|role| user(9, [role])));
    callers.push(in_tenant(2, operator()));
    callers.push(in_tenant(3, user(1, [Role::Submitter, Role::Operator])));
    callers
}

/// Whether the table lets the caller do this with a task of this submitter and tenant.
fn may(who: &Principal, operation: Operation, of: &Principal) -> bool {
    let target = Target {
        submitter: Some(of.id),
        ..Target::of(of.tenant)
    };
    who.roles
        .iter()
        .any(|role| permits(*role, who, operation, &target))
}

#[tokio::test]
async fn every_operation_on_what_may_not_be_read_answers_as_for_what_does_not_exist() {
    let (world, tasks) = populated().await;
    let owners = [
        (submitter(), &tasks.own),
        (neighbour(), &tasks.neighbours),
        (in_tenant(2, submitter()), &tasks.foreign),
    ];
    let mut hidden = 0;
    for who in callers() {
        for call in calls() {
            let absent = call.make(&world, &who, task(77), None, "because").await;
            assert_eq!(shown(&absent), not_found(), "{who:?} {call:?}");
            for (owner, ids) in &owners {
                if may(&who, Operation::TaskGet, owner) {
                    continue;
                }
                for id in *ids {
                    let before = world.stored(*id).await;
                    let answer = call.make(&world, &who, *id, None, "because").await;
                    assert_eq!(shown(&answer), not_found(), "{who:?} {call:?}");
                    assert_eq!(world.stored(*id).await, before);
                    hidden += 1;
                }
            }
        }
    }
    assert!(hidden > 200, "the matrix is not empty: {hidden}");
}

#[tokio::test]
async fn what_may_be_read_but_not_done_is_forbidden_and_not_hidden() {
    let (world, tasks) = populated().await;
    let owners = [
        (submitter(), &tasks.own),
        (neighbour(), &tasks.neighbours),
        (in_tenant(2, submitter()), &tasks.foreign),
    ];
    let mut forbidden = 0;
    for who in callers() {
        for call in calls() {
            for (owner, ids) in &owners {
                if may(&who, Operation::TaskGet, owner) && !may(&who, call.operation(), owner) {
                    let answer = call.make(&world, &who, ids[0], None, "because").await;
                    assert!(matches!(answer, Err(QueueError::Forbidden)), "{who:?} {call:?}");
                    forbidden += 1;
                }
            }
        }
    }
    assert!(forbidden > 20, "the matrix is not empty: {forbidden}");
}

#[tokio::test]
async fn the_log_of_denied_calls_has_the_truth_in_the_caller_s_tenant() {
    let (world, tasks) = populated().await;
    let mark = world.mark().await;
    let ids = [tasks.own[0], tasks.foreign[0], task(77)];
    for id in ids {
        world.queue.get(&neighbour(), id).await.expect_err("denied");
    }
    let leaves: Vec<Leaf> = world.leaves().await.split_off(mark);
    for (leaf, id) in leaves.iter().zip(ids) {
        assert_eq!(leaf.told(), "task.get+authorization_failed refused forbidden");
        assert_eq!(leaf.resource.clone().expect("resource").id, id.to_string());
        assert_eq!(leaf.tenant, neighbour().tenant.to_string());
    }
    assert_eq!(leaves.len(), 3);
}

#[tokio::test]
async fn a_call_without_a_reason_is_first_asked_whether_it_is_allowed() {
    let (world, tasks) = populated().await;
    for operation in OPERATIONS {
        let denied = operate(&world, &neighbour(), operation, tasks.own[0], None, "").await;
        assert!(matches!(denied, Err(QueueError::NotFound)), "{denied:?}");
        let told = format!("{}+authorization_failed refused forbidden", operation.word());
        assert_eq!(world.last_leaf().await.told(), told);
    }
}

#[tokio::test]
async fn careless_policies_do_not_open_other_tenants() {
    let (world, tasks) = populated().await;
    world.policy.allow_everything();
    for call in calls() {
        let answer = call
            .make(&world, &operator(), tasks.foreign[0], None, "because")
            .await;
        assert_eq!(shown(&answer), not_found(), "{call:?}");
    }
    let all = TaskQuery {
        limit: 100,
        ..TaskQuery::default()
    };
    let page = world.queue.list(&operator(), all).await.expect("page");
    let listed: BTreeSet<TaskId> = page.tasks.iter().map(|stored| stored.task.id).collect();
    let expected: BTreeSet<TaskId> = tasks.own.iter().chain(&tasks.neighbours).copied().collect();
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn a_decision_that_cannot_be_made_is_no_permission() {
    let (world, tasks) = populated().await;
    let before = world.stored(tasks.own[0]).await;
    let mark = world.mark().await;
    world.policy.fail();
    for call in calls() {
        let answer = call
            .make(&world, &operator(), tasks.own[0], None, "because")
            .await;
        assert!(
            matches!(
                answer,
                Err(QueueError::Internal {
                    operation: "authorisation",
                    ..
                })
            ),
            "{answer:?}"
        );
    }
    let answer = world.queue.submit(&submitter(), submission()).await;
    assert!(matches!(answer, Err(QueueError::Internal { .. })));
    let answer = world
        .queue
        .list(
            &operator(),
            TaskQuery {
                limit: 1,
                ..Default::default()
            },
        )
        .await;
    assert!(matches!(answer, Err(QueueError::Internal { .. })));
    assert!(world.queue.may_claim(&worker(1)).await.is_err());
    assert_eq!(world.stored(tasks.own[0]).await, before);
    assert_eq!(world.mark().await, mark);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever else the call says: reason, version, how often it was made before.
    #[test]
    fn no_form_of_a_call_tells_a_hidden_task_from_an_absent_one(
        steps in prop::collection::vec(
            (0..7_usize, 0..10_usize, any::<bool>(), 0..3_usize, "( |x|[a-z ]{0,40}|x{1999,2001})", prop::option::of(0..4_u64)),
            1..12,
        ),
    ) {
        let runtime = Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(async {
            let (world, tasks) = populated().await;
            for (call, who, neighbours, place, why, expect) in steps {
                let call = calls().nth(call).expect("a call");
                let who = callers().swap_remove(who);
                let (owner, ids) = if neighbours {
                    (neighbour(), &tasks.neighbours)
                } else {
                    (in_tenant(2, submitter()), &tasks.foreign)
                };
                if may(&who, Operation::TaskGet, &owner) {
                    continue;
                }
                let expect = expect.map(Version);
                let denied = call.make(&world, &who, ids[place], expect, &why).await;
                let absent = call.make(&world, &who, task(77), expect, &why).await;
                prop_assert_eq!(shown(&denied), shown(&absent));
            }
            Ok(())
        })?;
    }
}
