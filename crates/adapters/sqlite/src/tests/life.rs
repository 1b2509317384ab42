//! Lives of tasks, and the rules of the ports that a whole life shows.

use std::time::Duration;

use arbiter_core::lifecycle::{Command, Expect, Refusal};
use arbiter_core::model::*;
use arbiter_core::ports::*;

use super::support::*;
use crate::{OpenError, SqliteStore};

#[tokio::test]
async fn a_whole_life_is_three_calls_and_survives_a_restart() {
    let mut fixture = Fixture::new();
    let stored = submit(&fixture.store, vec![new_task(1)]).await;
    assert!(matches!(&stored[0], Submitted::Stored(task) if task.version == Version(1)));
    let lane = lane(&fixture.store).await;
    let claimed = fixture
        .store
        .claim(claim(lane, 5, 100, to_agent()))
        .await
        .unwrap();
    assert_eq!(claimed.assigned.len(), 1);
    assert_eq!(claimed.heads, [(lane, None)]);
    assert_eq!(*claimed.assigned[0].stored.spec, spec());
    let held = fixture.store.held_by(Holder::Agent(AGENT)).await.unwrap();
    assert_eq!(held, [claimed.assigned[0].stored.clone()]);
    fixture.reopen().await;
    let reported = transition(1, 101, lease(1), report());
    let done = fixture.store.apply(vec![reported.clone()]).await.unwrap();
    assert_eq!(done[0].as_ref().unwrap().state, State::Succeeded);
    // the same report again gets the first answer, and no second leaf
    let before = fixture.store.head().await.unwrap();
    assert_eq!(fixture.store.apply(vec![reported]).await.unwrap(), done);
    assert_eq!(fixture.store.head().await.unwrap(), before);
    let history = fixture.store.history(TenantScope::All, task_id(1)).await.unwrap();
    assert!(matches!(
        &history.attempts[..],
        [Attempt {
            outcome: AttemptEnd::Reported(_),
            ..
        }]
    ));
    assert_eq!(fixture.store.tally(TENANT).await.unwrap(), Tally::default());
    assert!(
        fixture
            .store
            .held_by(Holder::Agent(AGENT))
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(fixture.verify_log().await, 3);
}

#[tokio::test]
async fn repeats_and_conflicts_are_recognised() {
    let fixture = Fixture::new();
    let keyed = |number: u64, content: &[u8]| NewTask {
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: Digest::of(content),
        }),
        ..new_task(number)
    };
    let answers = submit(
        &fixture.store,
        vec![keyed(1, b"a"), keyed(2, b"a"), keyed(3, b"b"), new_task(1)],
    )
    .await;
    assert!(matches!(answers[0], Submitted::Stored(_)));
    assert_eq!(
        answers[1..],
        [
            Submitted::Known(task_id(1)),
            Submitted::Conflict(task_id(1)),
            Submitted::Known(task_id(1)),
        ]
    );
    let again = submit(&fixture.store, vec![keyed(4, b"a"), keyed(5, b"b"), new_task(1)]).await;
    assert_eq!(
        again,
        [
            Submitted::Known(task_id(1)),
            Submitted::Conflict(task_id(1)),
            Submitted::Known(task_id(1)),
        ]
    );
    // one task stored and two conflicts
    assert_eq!(fixture.verify_log().await, 3);
    assert_eq!(fixture.store.tally(TENANT).await.unwrap().queued, 1);
}

#[tokio::test]
async fn all_or_nothing_stores_nothing_when_one_is_refused() {
    let fixture = Fixture::new();
    let request = |all_or_nothing| SubmitRequest {
        tasks: vec![new_task(1), after(new_task(2), &[77]), after(new_task(3), &[1])],
        all_or_nothing,
    };
    let unknown = Submitted::Refused(SubmitRefusal::UnknownPrerequisite(task_id(77)));
    let neighbour = Submitted::Refused(SubmitRefusal::NeighbourRefused);
    let answers = fixture.store.submit(request(true)).await.unwrap();
    assert_eq!(answers, [neighbour.clone(), unknown.clone(), neighbour]);
    assert_eq!(fixture.store.tally(TENANT).await.unwrap(), Tally::default());
    let answers = fixture.store.submit(request(false)).await.unwrap();
    assert!(matches!(answers[0], Submitted::Stored(_)));
    assert_eq!(answers[1], unknown);
    assert!(matches!(&answers[2], Submitted::Stored(task)
        if task.state == State::Queued { wait: Wait::Prerequisites(1) }));
}

#[tokio::test]
async fn cycles_are_refused_with_what_stands_behind_them() {
    let fixture = Fixture::new();
    let tasks = vec![
        after(new_task(1), &[2]),
        after(new_task(2), &[3]),
        after(new_task(3), &[1]),
        after(new_task(4), &[3]),
        after(new_task(5), &[5]),
        new_task(6),
        after(new_task(7), &[6]),
    ];
    let answers = submit(&fixture.store, tasks).await;
    for number in [1, 2, 3, 5] {
        let cycle = Submitted::Refused(SubmitRefusal::Cycle(task_id(number)));
        assert_eq!(answers[number as usize - 1], cycle);
    }
    assert_eq!(
        answers[3],
        Submitted::Refused(SubmitRefusal::UnknownPrerequisite(task_id(3)))
    );
    assert!(
        answers[5..]
            .iter()
            .all(|answer| matches!(answer, Submitted::Stored(_)))
    );
}

#[tokio::test]
async fn an_open_limit_counts_the_tasks_of_the_same_call() {
    let fixture = Fixture::new();
    let limited = |number| NewTask {
        open_limit: Some(2),
        ..new_task(number)
    };
    let answers = submit(&fixture.store, vec![limited(1), limited(2), limited(3)]).await;
    let full = Submitted::Refused(SubmitRefusal::BacklogFull { open: 2, limit: 2 });
    assert_eq!(answers[2], full);
    assert_eq!(submit(&fixture.store, vec![limited(4)]).await, [full]);
    let cancel = transition(1, 50, Expect::Any, Command::Cancel { why: "w".into() });
    fixture.store.apply(vec![cancel]).await.unwrap()[0]
        .as_ref()
        .unwrap();
    assert!(matches!(
        submit(&fixture.store, vec![limited(4)]).await[0],
        Submitted::Stored(_)
    ));
}

#[tokio::test]
async fn prerequisites_are_told_by_due_in_batches() {
    let fixture = Fixture::new();
    let dependants = (10..20).map(|number| after(new_task(number), &[1]));
    submit(
        &fixture.store,
        std::iter::once(new_task(1)).chain(dependants).collect(),
    )
    .await;
    assert!(get(&fixture.store, 1).await.unwrap().task.has_dependants);
    let lane = lane(&fixture.store).await;
    let claimed = fixture
        .store
        .claim(claim(lane, 100, 100, to_agent()))
        .await
        .unwrap();
    assert_eq!(claimed.assigned.len(), 1, "the others wait");
    fixture
        .store
        .apply(vec![transition(1, 101, lease(1), report())])
        .await
        .unwrap()[0]
        .as_ref()
        .unwrap();
    let mut told = 0;
    loop {
        let done = fixture.store.due(4).await.unwrap();
        assert!(done.changed.len() <= 4);
        told += done.changed.len();
        if done.next.is_none() {
            break;
        }
    }
    assert_eq!(told, 10);
    assert!(!get(&fixture.store, 1).await.unwrap().task.has_dependants);
    let claimed = fixture
        .store
        .claim(claim(lane, 100, 102, to_agent()))
        .await
        .unwrap();
    assert_eq!(claimed.assigned.len(), 10);
    fixture.verify_log().await;
}

#[tokio::test]
async fn a_lost_lease_is_taken_back_and_its_late_report_refused() {
    let fixture = Fixture::new();
    submit(&fixture.store, vec![new_task(1)]).await;
    let lane = lane(&fixture.store).await;
    let first = fixture
        .store
        .claim(claim(lane, 1, 100, to_agent()))
        .await
        .unwrap();
    assert_eq!(first.assigned[0].fence, Fence(1));
    fixture.advance(Duration::from_secs(46));
    let done = fixture.store.due(10).await.unwrap();
    assert_eq!(done.changed, [(task_id(1), TENANT)]);
    let overtaken = fixture
        .store
        .apply(vec![transition(1, 101, lease(1), report())])
        .await
        .unwrap();
    assert_eq!(overtaken, [Err(Refusal::LeaseLost)]);
    let beat = LeaseRef {
        task: task_id(1),
        tenant: TENANT,
        fence: Fence(1),
        holder: Holder::Agent(AGENT),
        progress: None,
        usage: None,
        not_enforced: None,
    };
    assert_eq!(
        fixture.store.extend(vec![beat.clone()]).await.unwrap(),
        [LeaseStatus::Lost]
    );
    let second = fixture
        .store
        .claim(claim(lane, 1, 102, to_agent()))
        .await
        .unwrap();
    assert_eq!(second.assigned[0].fence, Fence(2));
    fixture.advance(Duration::from_secs(10));
    let held = LeaseRef {
        fence: Fence(2),
        ..beat
    };
    let until = fixture.clock.now().plus(Duration::from_secs(45));
    assert_eq!(
        fixture.store.extend(vec![held]).await.unwrap(),
        [LeaseStatus::Held { until }]
    );
    assert_eq!(fixture.store.due(10).await.unwrap().next, Some(until));
    // submitted, assigned, expired, refused, assigned; heartbeats leave nothing
    assert_eq!(fixture.verify_log().await, 5);
}

#[tokio::test]
async fn full_scopes_leave_tasks_queued() {
    let fixture = Fixture::new();
    submit(&fixture.store, (1..=3).map(new_task).collect()).await;
    let lane = lane(&fixture.store).await;
    let scopes = vec![(Scope::Tenant(TENANT), 5), (Scope::Agent(AGENT), 2)];
    let chooser = || std::sync::Arc::new(ToAgent(scopes.clone()));
    let claimed = fixture.store.claim(claim(lane, 3, 100, chooser())).await.unwrap();
    assert_eq!(claimed.assigned.len(), 2);
    assert_eq!(claimed.full, [(task_id(3), Scope::Agent(AGENT))]);
    assert_eq!(claimed.heads, [(lane, Some(OrderKey(1_000_000)))]);
    // a cancelled attempt keeps its slot until its agent is heard of
    let cancel = transition(1, 101, Expect::Any, Command::Cancel { why: "w".into() });
    fixture.store.apply(vec![cancel]).await.unwrap()[0]
        .as_ref()
        .unwrap();
    assert!(
        fixture
            .store
            .claim(claim(lane, 3, 102, chooser()))
            .await
            .unwrap()
            .assigned
            .is_empty()
    );
    let overtaken = fixture
        .store
        .apply(vec![transition(1, 103, lease(1), report())])
        .await
        .unwrap();
    assert_eq!(overtaken, [Err(Refusal::LeaseLost)]);
    assert_eq!(
        fixture
            .store
            .claim(claim(lane, 3, 104, chooser()))
            .await
            .unwrap()
            .assigned
            .len(),
        1
    );
}

#[tokio::test]
async fn purge_deletes_what_closed_and_keeps_the_leaves() {
    let fixture = Fixture::new();
    let keyed = NewTask {
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: Digest::of(b"a"),
        }),
        ..new_task(1)
    };
    submit(&fixture.store, vec![keyed.clone(), new_task(2), new_task(3)]).await;
    for number in [1, 2] {
        let why = Command::Cancel { why: "w".into() };
        let cancel = transition(number, 100 + number, Expect::Any, why);
        fixture.store.apply(vec![cancel]).await.unwrap()[0]
            .as_ref()
            .unwrap();
        fixture.advance(Duration::from_secs(1));
    }
    let retention = |closed_before, limit| Retention {
        keyed_before: None,
        which: Purge::ClosedBefore(Timestamp::from_micros(closed_before)),
        limit,
        effects: Effects::default(),
    };
    assert_eq!(fixture.store.purge(retention(1_000_000, 10)).await.unwrap(), 0);
    assert_eq!(fixture.store.purge(retention(9_000_000, 1)).await.unwrap(), 1);
    assert!(get(&fixture.store, 1).await.is_none() && get(&fixture.store, 2).await.is_some());
    assert_eq!(fixture.store.purge(retention(9_000_000, 10)).await.unwrap(), 1);
    assert!(get(&fixture.store, 3).await.is_some());
    assert_eq!(
        fixture.store.history(TenantScope::All, task_id(1)).await.unwrap(),
        TaskHistory::default()
    );
    // the key is free again
    assert!(matches!(
        submit(&fixture.store, vec![keyed]).await[0],
        Submitted::Stored(_)
    ));
    // 3 submitted, 2 cancelled, 2 purged, 1 submitted: the new life of task 1 starts at version 1 again
    assert_eq!(fixture.store.head().await.unwrap().size, 8);
}

#[tokio::test]
async fn lists_page_by_id_inside_the_tenant() {
    let fixture = Fixture::new();
    let other = TenantId::from_bytes([1; 16]);
    let tasks = (1..=10).map(|number| NewTask {
        tenant: if number % 2 == 0 { TENANT } else { other },
        ..new_task(number)
    });
    submit(&fixture.store, tasks.collect()).await;
    let mut query = TaskQuery {
        limit: 2,
        ..TaskQuery::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = TaskReader::list(&*fixture.store, TenantScope::Tenant(TENANT), query.clone())
            .await
            .unwrap();
        seen.extend(page.tasks.iter().map(|stored| stored.task.id));
        let Some(next) = page.next else { break };
        query.after = Some(next);
    }
    assert_eq!(seen, [2, 4, 6, 8, 10].map(task_id));
    let all = TaskQuery {
        limit: 100,
        state: Some(StateName::Queued),
        ..TaskQuery::default()
    };
    let list = |scope, query| TaskReader::list(&*fixture.store, scope, query);
    assert_eq!(list(TenantScope::All, all.clone()).await.unwrap().tasks.len(), 10);
    let none = TaskQuery {
        state: Some(StateName::Held),
        ..all
    };
    assert!(list(TenantScope::All, none).await.unwrap().tasks.is_empty());
    let foreign = TaskReader::get(&*fixture.store, TenantScope::Tenant(TENANT), &[task_id(1)])
        .await
        .unwrap();
    assert_eq!(foreign, [None]);
}

#[tokio::test]
async fn a_second_owner_is_refused_until_the_first_closes() {
    let fixture = Fixture::new();
    let second = || {
        let clock: std::sync::Arc<dyn Clock> = fixture.clock.clone();
        let entropy = std::sync::Arc::new(Nothing);
        SqliteStore::open(
            &fixture.config,
            arbiter_core::lifecycle::Rules::default(),
            clock,
            entropy,
        )
    };
    match second() {
        Err(OpenError::Owned { pid, .. }) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    fixture.store.close().await;
    fixture.store.close().await;
    let error = fixture.store.due(1).await.expect_err("closed");
    assert!(!error.is_transient() && !error.may_have_applied());
    assert!(fixture.store.tally(TENANT).await.is_err());
    second().unwrap();
}

struct Nothing;

impl Entropy for Nothing {
    fn fill(&self, _bytes: &mut [u8]) {}
}

#[tokio::test]
async fn details_are_kept_beside_leaves_and_leave_no_trace_when_redacted() {
    let mut fixture = Fixture::new();
    let secret = "a-word-that-must-go-and-is-not-found-again";
    let detailed = |number: u64, text: &str| {
        let detail = Json::parse(format!("{{\"why\":\"{text}\"}}")).unwrap();
        NewTask {
            effects: Effects::of(draft().with_detail(detail)),
            ..new_task(number)
        }
    };
    submit(
        &fixture.store,
        vec![detailed(1, "stays"), detailed(2, secret), new_task(3)],
    )
    .await;
    let before = fixture.store.head().await.unwrap();
    let redact = |index, tenant| fixture.store.redact(index, tenant, RecordDraft::default());
    assert!(!redact(1, TenantId::SYSTEM).await.unwrap());
    assert!(!redact(2, TENANT).await.unwrap());
    assert!(!redact(99, TENANT).await.unwrap());
    assert!(redact(1, TENANT).await.unwrap());
    assert!(!redact(1, TENANT).await.unwrap());
    let entries = AuditLog::read(&*fixture.store, 0, 10).await.unwrap();
    let shown: Vec<bool> = entries.iter().map(|entry| entry.detail.is_some()).collect();
    assert_eq!(shown, [true, false, false, false]);
    assert_eq!(fixture.store.head().await.unwrap().size, before.size + 1);
    fixture.verify_log().await;
    fixture.reopen().await;
    let bytes = std::fs::read(fixture.config.database()).unwrap();
    assert!(
        !bytes
            .windows(secret.len())
            .any(|window| window == secret.as_bytes())
    );
    fixture.verify_log().await;
}

#[tokio::test]
async fn a_log_of_several_tiles_is_rebuilt_and_its_proofs_hold() {
    let mut fixture = Fixture::new();
    let record = |number: u64| Record {
        at: Timestamp::from_micros(5),
        tenant: TENANT,
        principal: None,
        operation: Some(Operation::AuditQuery),
        actions: vec![AuditAction::Rejected],
        resource: Resource::new("key", number.to_string()),
        outcome: RecordOutcome::Refused,
        reason: None,
        count: None,
        detail: None,
    };
    for batch in 0..70_u64 {
        let records: Vec<_> = (0..10).map(|n| record(batch * 10 + n)).collect();
        let batch = BatchId::from_bytes(id(batch));
        fixture.store.append(batch, records.clone()).await.unwrap();
        fixture.store.append(batch, records).await.unwrap();
    }
    assert_eq!(fixture.verify_log().await, 700);
    let head = fixture.store.head().await.unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.store.head().await.unwrap(), head);
    assert_eq!(fixture.verify_log().await, 700);
    assert_eq!(
        fixture
            .store
            .tile(1, 0, 2)
            .await
            .unwrap()
            .map(|hashes| hashes.len()),
        Some(2)
    );
    assert_eq!(fixture.store.tile(1, 0, 3).await.unwrap(), None);
    assert_eq!(fixture.store.tile(0, 2, 189).await.unwrap(), None);
    // the scan of one page is bounded, so the search goes on by its cursor
    let mut query = AuditQuery {
        resource: Some("123".into()),
        limit: 10,
        ..AuditQuery::default()
    };
    let (mut found, mut pages) = (Vec::new(), 0);
    loop {
        let page = fixture
            .store
            .search(TenantScope::All, query.clone())
            .await
            .unwrap();
        found.extend(page.entries.iter().map(|entry| entry.index));
        pages += 1;
        query.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    assert_eq!((found, pages), (vec![123], 4));
    fixture.store.publish(head, "note 700").await.unwrap();
    let older = TreeHead { size: 5, ..head };
    fixture.store.publish(older, "note 5").await.unwrap();
    assert_eq!(
        fixture.store.published().await.unwrap(),
        Some((head, "note 700".into()))
    );
}
