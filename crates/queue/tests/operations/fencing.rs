//! Who is heard about an attempt: the agent that holds it, with the fencing token that it was given, and nobody else.

use std::time::Duration;

use arbiter_core::lifecycle::Refusal;
use arbiter_core::model::{Fence, Operation, Principal, Report, Role};
use arbiter_core::services::{WorkDesk as _, WorkError, WorkRef};
use arbiter_testkit::builders::{agent, failure, json, report, task, tenant, user};

use crate::world::{World, beat, in_tenant, operator, submission_with, submitter, worker};

/// What each call of an agent answers about this attempt, as text: everything of an error shows.
async fn every_call(world: &World, who: &Principal, work: WorkRef) -> Vec<String> {
    let queue = &world.queue;
    let mut told = Vec::new();
    told.push(format!(
        "{:?}",
        queue.acknowledge(who, world.again(work)).await.map(|_| ())
    ));
    told.push(format!(
        "{:?}",
        queue.report(who, world.again(work), report()).await.map(|_| ())
    ));
    told.push(format!(
        "{:?}",
        queue.fail(who, world.again(work), failure()).await.map(|_| ())
    ));
    told.push(format!(
        "{:?}",
        queue
            .decline(who, world.again(work), "no".to_owned())
            .await
            .map(|_| ())
    ));
    told
}

#[tokio::test]
async fn an_agent_may_claim_only_as_itself() {
    let world = World::new();
    assert!(world.queue.may_claim(&worker(1)).await.is_ok());
    let mut nobody = worker(1);
    nobody.agent = None;
    for who in [nobody, submitter(), operator(), user(9, [Role::Admin])] {
        assert!(
            matches!(world.queue.may_claim(&who).await, Err(WorkError::Forbidden)),
            "{who:?}"
        );
    }
}

#[tokio::test]
async fn who_is_told_that_it_may_not_claim_is_on_record() {
    let world = World::new();
    world.policy.forbid(Operation::WorkClaim);
    assert!(matches!(
        world.queue.may_claim(&worker(1)).await,
        Err(WorkError::Forbidden)
    ));
    let leaf = world.last_leaf().await;
    assert_eq!(leaf.told(), "work.claim+authorization_failed refused forbidden");
    assert_eq!(leaf.resource.expect("resource").id, agent(1).to_string());
}

#[tokio::test]
async fn a_report_after_the_task_was_closed_by_another_command_is_refused() {
    let world = World::new();
    let work = world.work().await;
    world
        .queue
        .report(&worker(1), work, report())
        .await
        .expect("reported");
    let second = world.queue.report(&worker(1), world.again(work), report()).await;
    assert!(matches!(second, Err(WorkError::Refused(Refusal::LeaseLost))));
    assert_eq!(
        world.last_leaf().await.told(),
        "work.report+lease_lost refused lease_lost"
    );
}

#[tokio::test]
async fn another_agent_is_refused_with_lease_lost_and_each_time_on_record() {
    let world = World::new();
    let work = world.work().await;
    let from = world.mark().await;
    let told = every_call(&world, &worker(2), work).await;
    assert_eq!(told, vec!["Err(Refused(LeaseLost))"; 4]);
    let expected = ["acknowledge", "report", "fail", "decline"];
    let expected = expected.map(|word| format!("work.{word}+lease_lost refused lease_lost"));
    assert_eq!(world.told(from).await, expected);
    assert_eq!(world.state(work.task).await, "running", "the holder goes on");
    world
        .queue
        .report(&worker(1), work, report())
        .await
        .expect("reported");
}

#[tokio::test]
async fn a_stale_token_of_the_same_agent_is_refused() {
    let world = World::new();
    let old = world.work().await;
    world.pass(Duration::from_secs(46)).await;
    assert_eq!(world.state(old.task).await, "queued", "the lease has ended");
    let from = world.mark().await;
    assert_eq!(
        every_call(&world, &worker(1), old).await,
        vec!["Err(Refused(LeaseLost))"; 4]
    );
    let new = world.running(old.task, agent(1)).await;
    assert!(new.fence > old.fence);
    assert_eq!(
        every_call(&world, &worker(1), old).await,
        vec!["Err(Refused(LeaseLost))"; 4]
    );
    let lost = world
        .told(from)
        .await
        .iter()
        .filter(|told| told.contains("lease_lost"))
        .count();
    assert_eq!(lost, 8);
    world
        .queue
        .report(&worker(1), new, report())
        .await
        .expect("the new token holds");
}

#[tokio::test]
async fn a_token_from_the_future_is_refused() {
    let world = World::new();
    let work = world.work().await;
    let forged = WorkRef {
        fence: Fence(work.fence.0 + 1),
        ..work
    };
    assert_eq!(
        every_call(&world, &worker(1), forged).await,
        vec!["Err(Refused(LeaseLost))"; 4]
    );
}

#[tokio::test]
async fn a_task_that_does_not_exist_looks_like_one_that_is_not_held() {
    let world = World::new();
    let theirs = world.work().await;
    let absent = WorkRef {
        task: task(99),
        ..theirs
    };
    let of_absent = every_call(&world, &worker(2), absent).await;
    assert_eq!(of_absent, every_call(&world, &worker(2), theirs).await);
    assert!(
        world
            .leaves()
            .await
            .iter()
            .any(|leaf| leaf.reason.as_deref() == Some("not_found")),
        "the log knows"
    );
}

#[tokio::test]
async fn work_of_another_tenant_is_refused_whether_it_exists_or_not() {
    let world = World::new();
    let accepted = world
        .task_of(&in_tenant(2, submitter()), submission_with(|_| {}))
        .await;
    let theirs = world.running(accepted, agent(5)).await;
    let absent = WorkRef {
        task: task(99),
        ..theirs
    };
    let of_theirs = every_call(&world, &worker(1), theirs).await;
    assert_eq!(of_theirs, vec!["Err(Forbidden)"; 4]);
    assert_eq!(of_theirs, every_call(&world, &worker(1), absent).await);
    // and so it is when the agent takes it for its own tenant's
    let as_own = |work| WorkRef {
        tenant: tenant(1),
        ..work
    };
    let of_theirs = every_call(&world, &worker(1), as_own(theirs)).await;
    assert_eq!(of_theirs, every_call(&world, &worker(1), as_own(absent)).await);
    assert_eq!(world.state(accepted).await, "running");
}

#[tokio::test]
async fn nobody_but_agents_does_agents_work() {
    let world = World::new();
    let work = world.work().await;
    let mut disguised = user(8, [Role::Admin, Role::Operator]);
    disguised.agent = Some(agent(1));
    for who in [operator(), user(9, [Role::Admin]), submitter(), disguised] {
        assert_eq!(
            every_call(&world, &who, work).await,
            vec!["Err(Forbidden)"; 4],
            "{who:?}"
        );
        let told = world.queue.heartbeat(&who, vec![beat(work)]).await;
        assert!(matches!(told, Err(WorkError::Forbidden)), "{who:?}");
    }
    assert_eq!(world.state(work.task).await, "running");
}

#[tokio::test]
async fn each_call_of_an_agent_needs_its_own_permission() {
    let operations = [
        (Operation::WorkAcknowledge, 0),
        (Operation::WorkReport, 1),
        (Operation::WorkFail, 2),
        (Operation::WorkDecline, 3),
    ];
    for (operation, place) in operations {
        let world = World::new();
        world.policy.forbid(operation);
        let stale = WorkRef {
            fence: Fence(99),
            ..world.work().await
        };
        let from = world.mark().await;
        let told = every_call(&world, &worker(1), stale).await;
        for (number, told) in told.iter().enumerate() {
            let expected = if number == place {
                "Err(Forbidden)"
            } else {
                "Err(Refused(LeaseLost))"
            };
            assert_eq!(told, expected, "{operation:?}, call {number}");
        }
        let refused = format!("{}+authorization_failed refused forbidden", operation.word());
        assert_eq!(world.told(from).await[place], refused);
    }
}

#[tokio::test]
async fn a_call_that_is_not_allowed_is_not_looked_at_further() {
    let world = World::new();
    world.policy.forbid(Operation::WorkReport);
    let work = world.work().await;
    let too_large = Report {
        claims: vec![json("1"); 1_001],
        ..Report::default()
    };
    let refused = world.queue.report(&worker(1), work, too_large).await;
    assert!(matches!(refused, Err(WorkError::Forbidden)));
    assert_eq!(
        world.last_leaf().await.told(),
        "work.report+authorization_failed refused forbidden"
    );
}
