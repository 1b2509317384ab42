//! Errors that the server really gives, and what the store makes of them.

use std::time::Duration;

use arbiter_core::ports::{AuditLog as _, AuditTree as _, LeaseStore, Outbox, StoreError};
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
pub(crate) async fn waiting(client: &Client, place: &Place) -> i32 {
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
    let (taken, ()) = join(LeaseStore::take(&store, "sweep", node(1), TTL), kill).await;
    let error = taken.unwrap_err();
    assert!(error.is_transient() && !error.may_have_applied(), "{error:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert!(
        LeaseStore::take(&store, "sweep", node(1), TTL)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn connections_that_died_while_nobody_used_them_do_not_end_the_store() {
    let place = Place::new().await;
    let store = place.open().await;
    LeaseStore::take(&store, "sweep", node(1), TTL).await.unwrap();
    let killer = place.client().await;
    killer
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
            &[&place.config.application_name],
        )
        .await
        .unwrap();
    let mut taken = LeaseStore::take(&store, "sweep", node(1), TTL).await;
    for _ in 0..place.config.engine_connections {
        match taken {
            Err(error) => assert!(error.is_transient() && !error.may_have_applied(), "{error:?}"),
            Ok(_) => break,
        }
        taken = LeaseStore::take(&store, "sweep", node(1), TTL).await;
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
    let error = LeaseStore::take(&store, "sweep", node(1), TTL).await.unwrap_err();
    assert!(error.is_transient() && !error.may_have_applied(), "{error:?}");
    assert_eq!(code(&error), Some("57014".to_owned()), "{error:?}");
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert!(
        LeaseStore::take(&store, "sweep", node(1), TTL)
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_lock_that_is_not_had_in_time_is_transient() {
    let place = Place::new().await;
    let mut config = place.config.clone();
    config.lock_timeout = Duration::from_millis(50);
    let store = place.open_with(&config).await;
    let holder = place.client().await;
    hold(&holder).await;
    let error = LeaseStore::take(&store, "sweep", node(1), TTL).await.unwrap_err();
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
    let store = place.open_with(&config).await;
    let (holder, watcher) = (place.client().await, place.client().await);
    hold(&holder).await;
    let mut first = Box::pin(LeaseStore::take(&store, "sweep", node(1), TTL));
    let second = async {
        waiting(&watcher, &place).await;
        let busy = LeaseStore::take(&store, "sweep", node(2), TTL).await;
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
        let mut dropped = Box::pin(LeaseStore::take(&store, "sweep", node(1), TTL).fuse());
        let mut watch = Box::pin(waiting(&watcher, &place).fuse());
        futures_util::select_biased! {
            _ = dropped => panic!("the lock is held"),
            _ = watch => {}
        }
    }
    holder.batch_execute("ROLLBACK").await.unwrap();
    // the same connection: the statement before was rolled back
    let turn = LeaseStore::take(&store, "sweep", node(2), TTL).await.unwrap();
    assert!(turn.is_some(), "the call that was dropped has left no lease");
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let place = Place::new().await;
    let store = place.open().await;
    store.close();
    let error = LeaseStore::take(&store, "sweep", node(1), TTL).await.unwrap_err();
    assert!(!error.is_transient() && !error.may_have_applied(), "{error:?}");
    store.read(0, 1).await.unwrap_err();
}

/// PostgreSQL keeps no text with a zero byte, and an entry that cannot be set aside would come back for ever.
#[tokio::test]
async fn a_reason_may_hold_anything() {
    let place = Place::new().await;
    let store = place.open().await;
    let client = place.client().await;
    let insert = "INSERT INTO outbox (id, topic, due_at, body)
                  VALUES ('00000000-0000-0000-0000-000000000001', 'mail', 0, '{}')";
    client.batch_execute(insert).await.unwrap();
    let entry = Outbox::take(&store, "mail", 1, TTL).await.unwrap().remove(0);
    store.quarantine(entry.id, "said \0 'no'").await.unwrap();
    let row = client
        .query_one("SELECT quarantined FROM outbox", &[])
        .await
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "said \u{fffd} 'no'");
}
