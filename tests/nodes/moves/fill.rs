//! A store with rows of every kind.

use std::collections::BTreeMap;
use std::time::Duration;

use arbiter_core::lifecycle::{Command, RetryPlan};
use arbiter_core::model::{
    AgentBeat, AgentMode, AuditAction, DeadReason, FailReason, Fence, HoldReason, Holder, Labels,
    OutcomeDelta, Priority, Ratio, Record, RecordDraft, RecordOutcome, Resource, Sample, SeriesKey, Stage,
    StageOutcome, Task, TenantId, Timestamp,
};
use arbiter_core::ports::{
    Compaction, DocumentContent, DocumentKey, DocumentWrite, Effects, NewTask, Precondition, Scope,
    TelemetryStore,
};
use arbiter_testkit::builders::{
    agent, batch, failure, idempotency, json, kind, new_task_with, node, outbox, outbox_entry, principal,
    profile, report, task, tenant,
};
use arbiter_testkit::choosers::AssignAll;
use arbiter_testkit::contract::{Desk, Harness, Work};

/// The kind of the documents.
pub(super) const KIND: &str = "thing";

/// Work that is under way: a lease whose holder has not reported yet.
pub(super) async fn fill(harness: &dyn Harness, telemetry: &dyn TelemetryStore) -> Work {
    let desk = Desk::at(harness);
    let open = tasks(&desk).await;
    documents(&desk).await;
    leases(&desk).await;
    entries(&desk).await;
    agents(&desk).await;
    log(&desk).await;
    measurements(telemetry).await;
    open
}

/// A task with a key, labels and an entry for outside.
pub(super) fn keyed(number: u64) -> NewTask {
    let mut new = new_task_with(number, |spec| {
        spec.labels.insert("team".to_owned(), "blue".to_owned());
    });
    new.idempotency = Some(idempotency("one\0key", "content"));
    new.effects.outbox = vec![outbox_entry(number, "hook")];
    new
}

pub(super) fn loaded(by: u64) -> AssignAll {
    AssignAll {
        loads: vec![
            (Scope::Agent(agent(by)), 9),
            (Scope::Tenant(tenant(1)), 9),
            (Scope::TenantKind(tenant(1), kind()), 9),
        ],
        ..AssignAll::to(Holder::Agent(agent(by)))
    }
}

async fn tasks(desk: &Desk<'_>) -> Work {
    let first = desk.submit(keyed(1)).await;
    let open = desk.start_with(&first, loaded(1)).await;
    let done = desk.running(new_task_with(2, |_| ())).await;
    desk.done(desk.by(done, Command::Report(Box::new(report()))))
        .await;
    let reviewed = desk
        .reviewing(new_task_with(3, |_| ()), &[Stage::Verify, Stage::Judge])
        .await;
    desk.verdict(&reviewed, StageOutcome::Passed).await;
    for (number, plan) in [
        (4, RetryPlan::Fail(FailReason::Policy)),
        (5, RetryPlan::DeadLetter(DeadReason::AttemptsExhausted)),
        (6, RetryPlan::Hold(HoldReason::RetryPlan)),
        (
            7,
            RetryPlan::Retry {
                after: Some(Duration::from_secs(30)),
            },
        ),
    ] {
        let work = desk.running(new_task_with(number, |_| ())).await;
        let failure = failure();
        desk.done(desk.by(work, Command::Fail { failure, plan })).await;
    }
    // its slot is given back later
    let cancelled: Task = desk.submit(new_task_with(8, |_| ())).await;
    desk.start_with(&cancelled, loaded(2)).await;
    let why = "not needed".to_owned();
    desk.done(desk.order(task(8), Command::Cancel { why })).await;
    desk.submit(new_task_with(9, |spec| spec.after.push(task(1))))
        .await;
    desk.submit(new_task_with(10, |spec| spec.after.push(task(9))))
        .await;
    desk.submit(NewTask {
        tenant: tenant(2),
        submitter: principal(2),
        idempotency: Some(idempotency("other", "content")),
        ..new_task_with(11, |spec| spec.priority = Priority::new(90).expect("a priority"))
    })
    .await;
    open
}

pub(super) fn document(id: &str) -> DocumentKey {
    DocumentKey {
        kind: KIND,
        tenant: tenant(1),
        id: id.to_owned(),
    }
}

async fn documents(desk: &Desk<'_>) {
    let now = desk.now().await;
    let content = |value: &str, expires_at| DocumentContent {
        body: json("{\"a\":\"\\u0000\"}"),
        index: vec![("colour", value.to_owned()), ("colour", "any".to_owned())],
        expires_at,
    };
    for (id, value, expires_at) in [
        ("one", "blue", None),
        ("two", "red", Some(now.plus(Duration::from_secs(3600)))),
        ("two", "green", Some(now.plus(Duration::from_secs(3600)))),
    ] {
        let write = DocumentWrite {
            key: document(id),
            precondition: Precondition::Any,
            content: Some(content(value, expires_at)),
        };
        desk.stores()
            .documents
            .write(vec![write], Effects::default())
            .await
            .expect("written");
    }
}

async fn leases(desk: &Desk<'_>) {
    let leases = &desk.stores().leases;
    let minute = Duration::from_secs(60);
    for (name, by) in [("kept", 1), ("given back", 1)] {
        leases.take(name, node(by), minute).await.expect("taken");
    }
    leases.give_back("given back", node(1)).await.expect("given back");
}

async fn entries(desk: &Desk<'_>) {
    let mut new = new_task_with(12, |spec| {
        spec.not_before = Some(Timestamp::from_micros(i64::MAX / 4));
    });
    new.effects.outbox = (100..104).map(|number| outbox_entry(number, "hook")).collect();
    desk.submit(new).await;
    let waiting = &desk.stores().outbox;
    let minute = Duration::from_secs(60);
    waiting.take("hook", 2, minute).await.expect("taken");
    let later = desk.now().await.plus(minute);
    waiting.later(outbox(101), later).await.expect("put off");
    waiting
        .quarantine(outbox(102), "nobody answers")
        .await
        .expect("quarantined");
}

fn draft() -> RecordDraft {
    RecordDraft {
        principal: Some(principal(1)),
        ..RecordDraft::default()
    }
}

pub(super) fn outcome() -> OutcomeDelta {
    OutcomeDelta {
        agent: agent(1),
        kind: kind(),
        attempt: (task(2), Fence(1)),
        succeeded: true,
        quality: None,
        latency: Duration::from_secs(2),
        cost_micros: None,
    }
}

async fn agents(desk: &Desk<'_>) {
    let registry = &desk.stores().agents;
    for number in 1..=3 {
        let mut new = profile(number);
        new.tenant = (number < 3).then(|| tenant(number));
        registry.register(new, draft()).await.expect("registered");
    }
    let beat = AgentBeat {
        agent: agent(1),
        able: true,
        cpu: Ratio::new(0.25).ok(),
        memory: None,
    };
    registry.beat(vec![beat]).await.expect("noted");
    let elsewhere = OutcomeDelta {
        attempt: (task(900), Fence(1)),
        ..outcome()
    };
    registry.learn(vec![outcome(), elsewhere]).await.expect("learnt");
    registry
        .set_mode(agent(3), AgentMode::Draining, draft())
        .await
        .expect("set");
    registry.remove(agent(2), draft()).await.expect("removed");
}

pub(super) fn record(number: u64, at: Timestamp) -> Record {
    Record {
        at,
        tenant: tenant(1),
        principal: Some(principal(1)),
        operation: None,
        actions: vec![AuditAction::KeyCreated],
        resource: Resource::new("key", number.to_string()),
        outcome: RecordOutcome::Done,
        reason: None,
        count: None,
        detail: number.is_multiple_of(2).then(|| json("{\"n\":1}")),
    }
}

/// More entries than a tile has, one of them redacted, and a head that was signed in the middle of a commit's leaves.
async fn log(desk: &Desk<'_>) {
    let (log, tree, now) = (&desk.stores().log, &desk.stores().tree, desk.now().await);
    for number in 0..30 {
        let records = (0..10).map(|place| record(number * 10 + place, now)).collect();
        log.append(batch(number), records).await.expect("appended");
    }
    let head = tree.sequence(usize::MAX).await.expect("placed");
    tree.publish(head, "a signed note\n").await.expect("published");
    let detailed = head.size - 2;
    let redacted = log.redact(detailed, tenant(1), draft()).await.expect("redacted");
    assert!(redacted, "it had a detail");
    tree.sequence(usize::MAX).await.expect("placed");
}

fn series(name: &str) -> SeriesKey {
    let labels = BTreeMap::from([("node".to_owned(), "a".to_owned())]);
    SeriesKey::new(name, Labels::new(labels).expect("labels")).expect("a series")
}

async fn measurements(telemetry: &dyn TelemetryStore) {
    let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
    let sample =
        |name: &str, seconds, value| Sample::new(series(name), at(seconds), value).expect("a sample");
    let mut samples = Vec::new();
    for second in 0..100 {
        samples.push(sample("depth", second, 0.1 * second as f64));
        samples.push(sample("age", second, -1e300));
    }
    telemetry.record(samples).await.expect("recorded");
    let rule = Compaction::new(at(60), Duration::from_secs(10), 1000).expect("a rule");
    telemetry.compact(rule).await.expect("down-sampled");
}

/// A sample of a series that was never recorded before.
pub(super) fn new_sample() -> Sample {
    Sample::new(series("new"), Timestamp::from_micros(200_000_000), 1.0).expect("a sample")
}

/// The tenants that have something.
pub(super) fn tenants() -> [TenantId; 2] {
    [tenant(1), tenant(2)]
}

/// So that no command of a desk before is repeated.
pub(super) fn desk(harness: &dyn Harness) -> Desk<'_> {
    let desk = Desk::at(harness);
    while desk.number() < 1_000 {}
    desk
}
