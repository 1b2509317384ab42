//! The desk of an agent that pulls.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arbiter_client::pull::Desk;
use arbiter_core::lifecycle::Refusal;
use arbiter_core::model::{
    Band, Failure, FailureClass, Fence, Holder, Principal, PrincipalKind, Report, TenantScope, Usage,
};
use arbiter_core::ports::{Clock as _, LeaseStatus, TaskReader as _};
use arbiter_core::services::{Beat, ContextSource as _, WorkDesk as _, WorkError, WorkRef};
use arbiter_testkit::builders::{agent, command, json, principal, task, tenant};
use arbiter_testkit::{SeededIds, SeenRequest, StubAnswer};
use serde_json::{Value, json};

use crate::support::{World, problem};

fn work(number: u64, fence: u64, kind: &str) -> Value {
    json!({"task": task(number).to_string(), "tenant": tenant(1).to_string(), "fence": fence, "attempt": 2, "kind": kind,
        "title": "Count", "instructions": "Count.", "input": {"n": 1.5}, "security": "internal", "labels": {"a": "b"},
        "ends_at": "2026-01-01T00:05:00Z", "lease_until": "2026-01-01T00:00:30Z", "context": ["too slow"],
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "new": 1})
}

fn claimed(work: &[Value]) -> StubAnswer {
    StubAnswer::reply(200, json!({"work": work}).to_string())
}

/// Gives this work at each claim; other calls are answered as told.
fn giving(
    work: Vec<Value>,
    other: StubAnswer,
) -> impl Fn(&SeenRequest) -> StubAnswer + Send + Sync + 'static {
    move |request| match request.target.as_str() {
        "/v1/work/claim" => claimed(&work),
        _ => other.clone(),
    }
}

fn desk(world: &World) -> Desk {
    Desk::new(&world.client, agent(1), Arc::new(SeededIds::new(1)))
}

fn who() -> Principal {
    Principal {
        id: principal(1),
        tenant: tenant(1),
        kind: PrincipalKind::Agent,
        roles: BTreeSet::new(),
        agent: Some(agent(1)),
        kinds: None,
        highest_band: Band::HIGHEST,
    }
}

fn work_ref(number: u64, fence: u64) -> WorkRef {
    WorkRef {
        task: task(number),
        tenant: tenant(1),
        fence: Fence(fence),
        command: command(9),
    }
}

#[tokio::test]
async fn claimed_work_is_held_until_it_is_over_and_told_at_the_next_claim() {
    let world = World::new(giving(
        vec![work(1, 3, "analysis"), work(2, 1, "analysis")],
        StubAnswer::reply(204, ""),
    ))
    .await;
    let desk = desk(&world);
    let given = desk.claim(2, Duration::from_secs(5)).await.unwrap();
    assert_eq!((given.len(), desk.holds()), (2, 2));
    let first = &given[0];
    let (stored, open) = (&first.stored, first.stored.task.attempt.as_ref().unwrap());
    assert_eq!((first.to, first.fence), (Holder::Agent(agent(1)), Fence(3)));
    assert_eq!((open.number, open.agent), (2, agent(1)));
    assert_eq!(stored.spec.input, Some(json_text()));
    assert_eq!(stored.spec.labels["a"], "b");
    assert_eq!(stored.task.terms.attempt_timeout, Duration::from_secs(300));
    let lease = stored.task.state.lease().unwrap();
    assert_eq!(lease.until.since(stored.task.changed_at), Duration::from_secs(30));
    let context = desk.context(stored, 100).await;
    assert_eq!(context[0].text, "too slow");
    assert!(desk.context(stored, 3).await.is_empty());
    // The same work again is no more work.
    assert!(desk.claim(1, Duration::from_secs(5)).await.unwrap().is_empty());
    desk.end(task(1), Fence(3));
    assert_eq!(desk.claim(1, Duration::ZERO).await.unwrap().len(), 1);
    let bodies: Vec<Value> = world
        .stub
        .seen()
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect();
    assert_eq!(bodies[0], json!({"slots": 2, "wait_seconds": 5}));
    assert_eq!(
        bodies[2]["holding"],
        json!([{"task": task(2).to_string(), "fence": 1}])
    );
}

fn json_text() -> arbiter_core::model::Json {
    json("{\"n\":1.5}")
}

#[tokio::test]
async fn a_clock_that_goes_ahead_does_not_make_heartbeats_race() {
    let world = World::new(giving(vec![work(1, 1, "analysis")], StubAnswer::reply(204, ""))).await;
    world.clock.advance(Duration::from_secs(3_600));
    let given = desk(&world).claim(1, Duration::ZERO).await.unwrap();
    let task = &given[0].stored.task;
    let lasts = task.state.lease().unwrap().until.since(task.changed_at);
    assert_eq!(lasts, Duration::from_secs(3));
    assert!(world.clock.now() > task.changed_at);
}

#[tokio::test]
async fn work_that_cannot_be_read_is_given_back() {
    let world = World::new(giving(
        vec![work(1, 3, "Not A Kind"), work(2, 1, "analysis")],
        StubAnswer::reply(204, ""),
    ))
    .await;
    let desk = desk(&world);
    assert_eq!(desk.claim(2, Duration::ZERO).await.unwrap().len(), 1);
    let seen = world.stub.seen();
    assert_eq!(seen[1].target, "/v1/work/decline");
    let sent: Value = serde_json::from_slice(&seen[1].body).unwrap();
    assert_eq!(sent["attempt"]["fence"], 3);
    assert!(sent["reason"].as_str().unwrap().contains("kind"));
}

#[tokio::test]
async fn calls_name_their_command_and_are_tried_once() {
    let world = World::new(giving(vec![work(1, 3, "analysis")], problem("unavailable"))).await;
    let desk = desk(&world);
    desk.claim(1, Duration::ZERO).await.unwrap();
    let report = Report {
        output: Some(json_text()),
        usage: Usage {
            tokens: Some(7),
            ..Usage::default()
        },
        ..Report::default()
    };
    let failure = Failure {
        class: FailureClass::Crash,
        code: None,
        message: "signal 9".to_owned(),
        usage: Usage::default(),
        not_enforced: None,
    };
    let reference = work_ref(1, 3);
    for answer in [
        desk.report(&who(), reference, report).await,
        desk.fail(&who(), reference, failure).await,
        desk.decline(&who(), reference, "draining".to_owned()).await,
        desk.acknowledge(&who(), reference).await,
    ] {
        let Err(WorkError::Store(error)) = answer else {
            panic!("{answer:?}")
        };
        assert!(error.is_transient() && error.may_have_applied());
    }
    let seen = world.stub.seen();
    assert_eq!(seen.len(), 5);
    let sent: Vec<Value> = seen[1..]
        .iter()
        .map(|request| serde_json::from_slice(&request.body).unwrap())
        .collect();
    let attempt = json!({"task": task(1).to_string(), "tenant": tenant(1).to_string(), "fence": 3,
        "command": command(9).to_string()});
    assert_eq!(
        sent[0],
        json!({"attempt": attempt, "output": {"n": 1.5}, "usage": {"tokens": 7}})
    );
    assert_eq!(
        (&sent[1]["class"], &sent[1]["message"]),
        (&json!("crash"), &json!("signal 9"))
    );
    assert_eq!(sent[3], attempt);
}

#[tokio::test]
async fn refusals_mean_what_they_mean_to_an_attempt() {
    type Expected = fn(&WorkError) -> bool;
    let table: [(&str, Expected); 8] = [
        ("lease_lost", |error| {
            matches!(error, WorkError::Refused(Refusal::LeaseLost))
        }),
        ("illegal_transition", |error| {
            matches!(error, WorkError::Refused(Refusal::LeaseLost))
        }),
        ("not_found", |error| {
            matches!(error, WorkError::Refused(Refusal::NotFound))
        }),
        ("forbidden", |error| matches!(error, WorkError::Forbidden)),
        ("auth_failed", |error| matches!(error, WorkError::Forbidden)),
        (
            "rate_limited",
            |error| matches!(error, WorkError::RateLimited { retry_after } if !retry_after.is_zero()),
        ),
        ("invalid_value", |error| {
            matches!(error, WorkError::Invalid { .. })
        }),
        (
            "internal",
            |error| matches!(error, WorkError::Store(error) if !error.is_transient()),
        ),
    ];
    for (code, expected) in table {
        let world = World::new(giving(vec![work(1, 3, "analysis")], problem(code))).await;
        let desk = desk(&world);
        desk.claim(1, Duration::ZERO).await.unwrap();
        let error = desk.acknowledge(&who(), work_ref(1, 3)).await.unwrap_err();
        assert!(expected(&error), "{code}: {error:?}");
    }
}

#[tokio::test]
async fn what_is_not_held_is_not_handed_in() {
    let world = World::new(giving(Vec::new(), StubAnswer::reply(204, ""))).await;
    let desk = desk(&world);
    let answer = desk.report(&who(), work_ref(1, 3), Report::default()).await;
    assert!(matches!(answer, Err(WorkError::Refused(Refusal::LeaseLost))));
    assert!(world.stub.seen().is_empty());
}

#[tokio::test]
async fn heartbeats_tell_what_became_of_each_lease() {
    let told = json!({"leases": [{"status": "held", "until": "2026-01-01T00:01:00Z"}, {"status": "cancelled"},
        {"status": "lost"}]});
    let world = World::new(giving(Vec::new(), StubAnswer::reply(200, told.to_string()))).await;
    let beats = (1..=3)
        .map(|number| Beat {
            task: task(number),
            tenant: tenant(1),
            fence: Fence(1),
            progress: None,
            usage: None,
            not_enforced: None,
        })
        .collect();
    let statuses = desk(&world).heartbeat(&who(), beats).await.unwrap();
    let until = "2026-01-01T00:01:00Z".parse().unwrap();
    assert_eq!(
        statuses,
        [
            LeaseStatus::Held { until },
            LeaseStatus::Cancelled,
            LeaseStatus::Lost
        ]
    );
}

#[tokio::test]
async fn what_is_held_can_be_read() {
    let world = World::new(giving(
        vec![work(1, 3, "analysis"), work(2, 1, "writing")],
        StubAnswer::reply(204, ""),
    ))
    .await;
    let desk = desk(&world);
    desk.claim(2, Duration::ZERO).await.unwrap();
    let (own, other) = (TenantScope::Tenant(tenant(1)), TenantScope::Tenant(tenant(2)));
    let found = desk.get(own, &[task(2), task(3)]).await.unwrap();
    assert_eq!((found[0].is_some(), found[1].is_some()), (true, false));
    assert_eq!(desk.get(other, &[task(2)]).await.unwrap(), [None]);
    assert_eq!(desk.held_by(Holder::Agent(agent(1))).await.unwrap().len(), 2);
    assert_eq!(desk.tally(tenant(1)).await.unwrap().running, 2);
    let page = desk
        .list(
            own,
            arbiter_core::ports::TaskQuery {
                limit: 1,
                ..Default::default()
            },
        )
        .await
        .unwrap();
    assert_eq!((page.tasks.len(), page.next), (1, Some(task(1))));
}
