//! Calls that meet: in one group of a node, or from two nodes at the same moment.

use std::collections::BTreeSet;
use std::sync::Arc;

use arbiter_adapter_postgres::PostgresStore;
use arbiter_core::lifecycle::Command;
use arbiter_core::model::{Holder, TenantId};
use arbiter_core::ports::{
    AuditTree as _, ClaimRequest, Effects, LaneQuota, NewTask, Purge, Retention, Scope, StoreError,
    SubmitRefusal, Submitted, TaskReader as _, TaskStore as _,
};
use arbiter_testkit::builders::{
    agent, command, idempotency, lane_of, new_task, submit_each, task, tenant, transition,
};
use arbiter_testkit::choosers::AssignAll;
use futures_util::FutureExt as _;
use futures_util::future::{Either, join, join_all, select};
use tokio_postgres::Client;

use crate::support::Place;

/// Two nodes on one schema.
async fn nodes() -> (Place, [Arc<PostgresStore>; 2]) {
    let place = Place::new().await;
    let stores = [Arc::new(place.open().await), Arc::new(place.open().await)];
    (place, stores)
}

async fn submit(store: &PostgresStore, new: NewTask) -> Result<Submitted, StoreError> {
    let answers = store.submit(submit_each(vec![new])).await?;
    Ok(answers.into_iter().next().unwrap())
}

/// Submits each task to one of the nodes, all at once.
async fn submit_at_once(stores: &[Arc<PostgresStore>; 2], tasks: Vec<NewTask>) -> Vec<Submitted> {
    let calls = tasks.into_iter().enumerate().map(|(place, new)| {
        let store = Arc::clone(&stores[place % 2]);
        async move { submit(&store, new).await }
    });
    let answers = join_all(calls).await;
    answers.into_iter().map(Result::unwrap).collect()
}

/// Looks until a call of the place waits for a lock.
async fn waits_for_a_lock(client: &Client, place: &Place) {
    let waiting = "SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'";
    let name = &place.config.application_name;
    while client.query(waiting, &[name]).await.unwrap().is_empty() {}
}

fn stored(answers: &[Submitted]) -> usize {
    let stored = answers
        .iter()
        .filter(|answer| matches!(answer, Submitted::Stored(_)));
    stored.count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_together_never_exceed_a_backlog() {
    let (_place, stores) = nodes().await;
    let tasks = (1..=60).map(|number| NewTask {
        open_limit: Some(10),
        ..new_task(number)
    });
    let answers = submit_at_once(&stores, tasks.collect()).await;
    assert_eq!(stored(&answers), 10);
    let full = |answer: &&Submitted| matches!(answer, Submitted::Refused(SubmitRefusal::BacklogFull { open, limit: 10 }) if *open >= 10);
    assert_eq!(answers.iter().filter(full).count(), 50);
    assert_eq!(stores[0].tally(tenant(1)).await.unwrap().open, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_id_or_key_at_two_nodes_one_is_stored() {
    let (_place, stores) = nodes().await;
    for round in 0..20 {
        let same = new_task(1_000 + round);
        let answers = submit_at_once(&stores, vec![same.clone(), same.clone()]).await;
        assert_eq!(stored(&answers), 1, "{answers:?}");
        assert!(answers.contains(&Submitted::Known(same.id)));
        let keyed = |number: u64, content: &str| NewTask {
            idempotency: Some(idempotency(&format!("key {round}"), content)),
            ..new_task(number)
        };
        let (one, other) = (keyed(2_000 + 2 * round, "a"), keyed(2_001 + 2 * round, "a"));
        let ids = [one.id, other.id];
        let answers = submit_at_once(&stores, vec![one, other]).await;
        assert_eq!(stored(&answers), 1, "{answers:?}");
        assert!(
            ids.iter().any(|id| answers.contains(&Submitted::Known(*id))),
            "{answers:?}"
        );
        let conflict = submit(&stores[1], keyed(3_000 + round, "b")).await.unwrap();
        assert!(matches!(conflict, Submitted::Conflict(id) if ids.contains(&id)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_together_never_exceed_the_slots_of_an_agent() {
    let (place, stores) = nodes().await;
    let tasks: Vec<NewTask> = (1..=40).map(new_task).collect();
    let lane = lane_of(&tasks[0]).id();
    stores[0].submit(submit_each(tasks)).await.unwrap();
    let claims = (0..12).map(|number| {
        let store = Arc::clone(&stores[number % 2]);
        let chooser = AssignAll {
            loads: vec![(Scope::Agent(agent(1)), 7), (Scope::Tenant(tenant(1)), 30)],
            ..AssignAll::to(Holder::Agent(agent(1)))
        };
        let request = ClaimRequest {
            lanes: vec![LaneQuota { lane, take: 5 }],
            chooser: Arc::new(chooser),
            command: command(number as u64),
            effects: Effects::default(),
        };
        async move { store.claim(request).await.unwrap() }
    });
    let assigned = join_all(claims)
        .await
        .into_iter()
        .flat_map(|claimed| claimed.assigned);
    let ids: Vec<_> = assigned.map(|assigned| assigned.stored.task.id).collect();
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (7, 7));
    let client = place.client().await;
    let rows = client
        .query("SELECT used FROM load ORDER BY scope", &[])
        .await
        .unwrap();
    let used: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(used, [7, 7]);
}

#[tokio::test]
async fn calls_at_the_same_time_share_commits() {
    let place = Place::new().await;
    let store = place.open().await;
    let calls = (1..=200).map(|number| submit(&store, new_task(number)));
    let answers: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(stored(&answers), 200);
    assert_eq!(store.sequence(usize::MAX).await.unwrap().size, 200);
    let client = place.client().await;
    let row = client
        .query_one("SELECT count(*) FROM audit_batch", &[])
        .await
        .unwrap();
    let commits: i64 = row.get(0);
    // each worker takes one call first, then what has come in the meantime
    assert!(commits <= 8, "{commits} commits");
}

/// A small group keeps the line to itself, but not for longer than its work takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_for_a_lock_holds_nobody_else_up() {
    let (place, [store, _]) = nodes().await;
    store
        .submit(submit_each(vec![new_task(1), new_task(2)]))
        .await
        .unwrap();
    let client = place.client().await;
    let locked = "BEGIN; SELECT FROM task ORDER BY id LIMIT 1 FOR UPDATE";
    client.batch_execute(locked).await.unwrap();
    let cancel = |number| {
        let why = "not needed".to_owned();
        store.apply(vec![transition(
            100 + number,
            task(number),
            Command::Cancel { why },
        )])
    };
    let mut held_up = cancel(1);
    assert!((&mut held_up).now_or_never().is_none());
    waits_for_a_lock(&client, &place).await;
    match select(cancel(2), held_up).await {
        Either::Left((done, held_up)) => {
            assert!(done.unwrap()[0].is_ok());
            client.batch_execute("COMMIT").await.unwrap();
            assert!(held_up.await.unwrap()[0].is_ok());
        }
        Either::Right(_) => panic!("the other call waited for the one that waits for the lock"),
    }
}

/// Batches are numbered once their mutation holds every lock that it needs: also that of a tenant's counters, which who
/// deletes the tenant's last task takes at the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purge_numbers_its_leaves_after_its_last_lock() {
    let (place, [store, _]) = nodes().await;
    submit(&store, new_task(1)).await.unwrap();
    let why = "not needed".to_owned();
    let cancel = transition(101, task(1), Command::Cancel { why });
    store.apply(vec![cancel]).await.unwrap()[0].clone().unwrap();
    let client = place.client().await;
    let number = async || {
        let last = "SELECT last_value FROM audit_batch_seq_seq";
        client.query_one(last, &[]).await.unwrap().get::<_, i64>(0)
    };
    let before = number().await;
    let locked = "BEGIN; SELECT FROM tally FOR UPDATE";
    client.batch_execute(locked).await.unwrap();
    let purge = store.purge(Retention {
        which: Purge::Tenant(tenant(1)),
        keyed_before: None,
        limit: 10,
        effects: Effects::default(),
    });
    let look = async {
        waits_for_a_lock(&client, &place).await;
        assert_eq!(number().await, before);
        client.batch_execute("COMMIT").await.unwrap();
    };
    let (purged, ()) = join(purge, look).await;
    assert_eq!(purged.unwrap(), 1);
    assert_eq!(number().await, before + 1);
}

#[tokio::test]
async fn a_call_that_fails_takes_no_other_of_its_group_along() {
    let place = Place::new().await;
    let store = place.open().await;
    submit(&store, new_task(1)).await.unwrap();
    let calls = (1..=50).map(|number| {
        let mut new = new_task(number);
        if number == 1 {
            new.tenant = TenantId::from_bytes([9; 16]);
        }
        submit(&store, new)
    });
    let answers = join_all(calls).await;
    let failed = answers.iter().filter(|answer| answer.is_err()).count();
    assert_eq!(failed, 1, "{answers:?}");
    let error = answers[0].as_ref().unwrap_err();
    assert!(!error.is_transient() && !error.may_have_applied(), "{error:?}");
    let answers: Vec<Submitted> = answers.into_iter().flatten().collect();
    assert_eq!(stored(&answers), 49);
    assert_eq!(store.tally(tenant(1)).await.unwrap().open, 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependants_are_told_once_by_nodes_that_look_at_the_same_time() {
    let (place, stores) = nodes().await;
    let first = new_task(1);
    stores[0].submit(submit_each(vec![first.clone()])).await.unwrap();
    let waiting = (2..=40).map(|number| {
        let mut new = new_task(number);
        let mut spec = (*new.spec).clone();
        spec.after = [first.id].into();
        new.spec = Arc::new(spec);
        new
    });
    let answers = submit_at_once(&stores, waiting.collect()).await;
    assert_eq!(stored(&answers), 39);
    let cancel = Command::Cancel {
        why: "not needed".to_owned(),
    };
    let ended = stores[1]
        .apply(vec![transition(100, task(1), cancel)])
        .await
        .unwrap();
    assert!(ended[0].is_ok(), "{ended:?}");
    let looks = (0..8).map(|number| {
        let store = Arc::clone(&stores[number % 2]);
        async move { store.due(100).await.unwrap() }
    });
    let told: Vec<_> = join_all(looks)
        .await
        .into_iter()
        .flat_map(|done| done.changed)
        .collect();
    let rest = stores[0].due(100).await.unwrap().changed;
    let told: Vec<_> = told.into_iter().chain(rest).map(|(id, _)| id).collect();
    let distinct: BTreeSet<_> = told.iter().collect();
    let client = place.client().await;
    assert_eq!((told.len(), distinct.len()), (39, 39));
    let left = client
        .query_one("SELECT count(*) FROM dependency", &[])
        .await
        .unwrap();
    assert_eq!(left.get::<_, i64>(0), 0);
}
