//! Errors that the server really gives, and what the store makes of them.

use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_postgres::PostgresStore;
use arbiter_core::ports::{AuditLog as _, AuditTree as _, LeaseStore as _, StoreError};
use arbiter_testkit::builders::{batch, node};
use futures_util::FutureExt as _;
use futures_util::future::join;
use tokio_postgres::Client;

use crate::support::{Place, record};

const TTL: Duration = Duration::from_secs(10);

/// Keeps the lease `sweep` locked until the transaction of the client ends.
async fn hold(client: &Client) {
    client
        .batch_execute("BEGIN; LOCK TABLE lease IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
}

/// Waits until a call of the store waits for a lock, and gives the server's process of it.
async fn waiting(client: &Client, place: &Place) -> i32 {
    for _ in 0..10_000 {
        let found = client
            .query_opt(
                "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'",
                &[&place.config.application_name],
            )
            .await
            .unwrap();
        if let Some(row) = found {
            return row.get(0);
        }
        tokio::task::yield_now().await;
    }
    panic!("nobody waits for the lock");
}

#[tokio::test]
async fn a_killed_connection_is_transient_and_the_next_call_has_another() {
    let place = Place::new().await;
    let store = place.open().await;
    let (holder, killer) = (place.client().await, place.client().await);
    hold(&holder).await;
    let kill = async {
        let pid = waiting(&killer, &place).await;
        killer
            .execute("SELECT pg_terminate_backend($1)", &[&pid])
            .await
            .unwrap();
    };
    let (taken, ()) = join(store.take("sweep", node(1), TTL), kill).await;
    let error = taken.unwrap_err();
    assert!(error.is_transient() && !error.may_have_applied(), "{error:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert!(store.take("sweep", node(1), TTL).await.unwrap().is_some());
}

#[tokio::test]
async fn connections_that_died_while_nobody_used_them_do_not_end_the_store() {
    let place = Place::new().await;
    let store = place.open().await;
    store.take("sweep", node(1), TTL).await.unwrap();
    let killer = place.client().await;
    killer
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
            &[&place.config.application_name],
        )
        .await
        .unwrap();
    let mut taken = store.take("sweep", node(1), TTL).await;
    for _ in 0..place.config.engine_connections {
        match taken {
            Err(error) => assert!(error.is_transient() && !error.may_have_applied(), "{error:?}"),
            Ok(_) => break,
        }
        taken = store.take("sweep", node(1), TTL).await;
    }
    assert!(taken.unwrap().is_some());
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_transient() {
    let place = Place::new().await;
    let mut config = place.config.clone();
    config.statement_timeout = Duration::from_millis(50);
    let store = place.open_with(&config).await;
    let holder = place.client().await;
    hold(&holder).await;
    let error = store.take("sweep", node(1), TTL).await.unwrap_err();
    assert!(error.is_transient() && !error.may_have_applied(), "{error:?}");
    assert_eq!(code(&error), Some("57014".to_owned()), "{error:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert!(store.take("sweep", node(1), TTL).await.unwrap().is_some());
}

#[tokio::test]
async fn a_lock_that_is_not_had_in_time_is_transient() {
    let place = Place::new().await;
    let mut config = place.config.clone();
    config.lock_timeout = Duration::from_millis(50);
    let store = place.open_with(&config).await;
    let holder = place.client().await;
    hold(&holder).await;
    let error = store.take("sweep", node(1), TTL).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert_eq!(code(&error), Some("55P03".to_owned()), "{error:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
}

/// The SQLSTATE below an error.
fn code(error: &StoreError) -> Option<String> {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<tokio_postgres::error::DbError>() {
            return Some(error.code().code().to_owned());
        }
        next = error.source();
    }
    None
}

#[tokio::test]
async fn a_connection_that_dies_during_the_commit_leaves_the_outcome_open() {
    let place = Place::new().await;
    let store = place.open().await;
    let (holder, killer) = (place.client().await, place.client().await);
    // a deferred check runs inside of COMMIT, and waits there for the lock that the test holds
    killer
        .batch_execute(
            "CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN PERFORM pg_advisory_xact_lock(77, hashtext(current_schema())); RETURN NULL; END $$;
             CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT ON audit_append DEFERRABLE INITIALLY DEFERRED
               FOR EACH ROW EXECUTE FUNCTION wait_at_commit()",
        )
        .await
        .unwrap();
    holder
        .batch_execute("BEGIN; SELECT pg_advisory_xact_lock(77, hashtext(current_schema()))")
        .await
        .unwrap();
    let kill = async {
        let pid = waiting(&killer, &place).await;
        killer
            .execute("SELECT pg_terminate_backend($1)", &[&pid])
            .await
            .unwrap();
    };
    let (appended, ()) = join(store.append(batch(1), vec![record(1)]), kill).await;
    let error = appended.unwrap_err();
    assert!(error.is_transient() && error.may_have_applied(), "{error:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    // sent again with the same id, it is taken once
    store.append(batch(1), vec![record(1)]).await.unwrap();
    store.append(batch(1), vec![record(1)]).await.unwrap();
    assert_eq!(store.sequence(usize::MAX).await.unwrap().size, 1);
}

#[tokio::test]
async fn when_every_connection_is_used_the_store_is_busy() {
    let place = Place::new().await;
    let mut config = place.config.clone();
    config.engine_connections = 1;
    config.wait_timeout = Duration::from_millis(20);
    let store = Arc::new(place.open_with(&config).await);
    let (holder, watcher) = (place.client().await, place.client().await);
    hold(&holder).await;
    let mut first = Box::pin(store.take("sweep", node(1), TTL));
    let second = async {
        waiting(&watcher, &place).await;
        let busy = store.take("sweep", node(2), TTL).await;
        assert!(matches!(busy, Err(StoreError::Busy { .. })), "{busy:?}");
        holder.batch_execute("ROLLBACK").await.unwrap();
    };
    let (taken, ()) = join(&mut first, second).await;
    assert!(taken.unwrap().is_some());
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_open() {
    let place = Place::new().await;
    let mut config = place.config.clone();
    config.engine_connections = 1;
    let store = place.open_with(&config).await;
    let (holder, watcher) = (place.client().await, place.client().await);
    hold(&holder).await;
    {
        let mut dropped = Box::pin(store.take("sweep", node(1), TTL).fuse());
        let mut watch = Box::pin(waiting(&watcher, &place).fuse());
        futures_util::select_biased! {
            _ = dropped => panic!("the lock is held"),
            _ = watch => {}
        }
    }
    holder.batch_execute("ROLLBACK").await.unwrap();
    // the same connection: the statement before was rolled back
    let turn = store.take("sweep", node(2), TTL).await.unwrap();
    assert!(turn.is_some(), "the call that was dropped has left no lease");
}

/// A batch whose commit is late is placed all the same, after one that took its number later.
#[tokio::test]
async fn a_late_commit_is_not_skipped() {
    let place = Place::new().await;
    let store: PostgresStore = place.open().await;
    let late = place.client().await;
    let insert = "INSERT INTO audit_batch (count, at, hashes, leaves) VALUES (1, 1, decode(repeat('11', 32), 'hex'), '\\x01000000ff')";
    late.batch_execute(&format!("BEGIN; {insert}")).await.unwrap();
    store.append(batch(1), vec![record(1)]).await.unwrap();
    assert_eq!(
        store.sequence(usize::MAX).await.unwrap().size,
        1,
        "it waits for nobody"
    );
    late.batch_execute("COMMIT").await.unwrap();
    assert_eq!(store.sequence(usize::MAX).await.unwrap().size, 2);
    let entries = store.read(0, 10).await.unwrap();
    assert_eq!(
        (entries.len(), entries[1].leaf.as_slice()),
        (2, [0xff].as_slice())
    );
}

/// Sequencers at the same time place every batch once.
#[tokio::test]
async fn sequencers_at_the_same_time_place_every_batch_once() {
    let place = Place::new().await;
    let stores = [place.open().await, place.open().await];
    for number in 0..30 {
        stores[0]
            .append(batch(number), vec![record(number), record(number + 100)])
            .await
            .unwrap();
    }
    let calls = (0..8).map(|number| stores[number % 2].sequence(7));
    for head in futures_util::future::join_all(calls).await {
        assert!(head.unwrap().size <= 60);
    }
    let head = stores[0].sequence(usize::MAX).await.unwrap();
    let entries = stores[1].read(0, 100).await.unwrap();
    assert_eq!((head.size, entries.len()), (60, 60));
    let mut tree = arbiter_audit::tree::Frontier::new();
    for (place, entry) in entries.iter().enumerate() {
        assert_eq!(entry.index, place as u64);
        tree.push(arbiter_audit::tree::leaf_hash(&entry.leaf)).unwrap();
    }
    assert_eq!(tree.root(), head.root);
}
