//! Opening: migrations, their refusals, and the reader's role.

use arbiter_adapter_postgres::{OpenError, PostgresConfig, PostgresStore};
use std::sync::Arc;

use arbiter_core::lifecycle::Command;
use arbiter_core::model::{Holder, TenantScope};
use arbiter_core::ports::{
    AuditTree as _, ClaimRequest, Documents as _, Effects, LaneQuota, Submitted, TaskStore as _,
};
use arbiter_testkit::builders::{agent, command, lane_of, leased, new_task, report, submit_each};
use arbiter_testkit::choosers::AssignAll;
use futures_util::future::join_all;

use crate::support::{Place, parts};

async fn open(config: &PostgresConfig) -> Result<PostgresStore, OpenError> {
    PostgresStore::open(config, parts(None)).await
}

async fn versions(place: &Place) -> Vec<i64> {
    let client = place.client().await;
    let rows = client
        .query("SELECT version FROM schema_version ORDER BY version", &[])
        .await;
    rows.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn a_schema_that_is_there_is_opened_again() {
    let place = Place::new().await;
    drop(place.open().await);
    let before = versions(&place).await;
    let store = place.open().await;
    assert_eq!(versions(&place).await, before);
    assert_eq!(store.head().await.unwrap().size, 0);
    assert_eq!(store.get(TenantScope::All, &[]).await.unwrap(), []);
}

#[tokio::test]
async fn programs_that_start_at_the_same_time_migrate_once() {
    let place = Place::new().await;
    let opened = join_all((0..4).map(|_| open(&place.config))).await;
    for store in opened {
        assert_eq!(store.unwrap().head().await.unwrap().size, 0);
    }
    let versions = versions(&place).await;
    assert_eq!(versions, (1..=versions.len() as i64).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let place = Place::new().await;
    drop(place.open().await);
    let known = versions(&place).await.len() as i64;
    let newer = format!(
        "INSERT INTO schema_version (version, at) VALUES ({}, now())",
        known + 1
    );
    place.client().await.batch_execute(&newer).await.unwrap();
    match open(&place.config).await {
        Err(OpenError::NewerSchema { found, known: told }) => assert_eq!((found, told), (known + 1, known)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_role_that_row_level_security_does_not_hold_back_is_refused() {
    let place = Place::new().await;
    let client = place.client().await;
    let me: String = client
        .query_one("SELECT current_user::text", &[])
        .await
        .unwrap()
        .get(0);
    for role in [me.as_str(), "nobody_has_this_name"] {
        let config = PostgresConfig {
            reader_role: role.to_owned(),
            ..place.config.clone()
        };
        let refused = open(&config).await;
        assert!(
            matches!(&refused, Err(OpenError::Reader { role: told, .. }) if told == role),
            "{refused:?}"
        );
    }
}

/// Row-level security does not hold owners back.
#[tokio::test]
async fn a_reader_that_owns_a_table_is_refused() {
    let place = Place::new().await;
    drop(place.open().await);
    let give_away = format!(
        "GRANT CREATE ON SCHEMA {} TO arbiter_reader; ALTER TABLE document OWNER TO arbiter_reader",
        place.config.schema
    );
    place.client().await.batch_execute(&give_away).await.unwrap();
    let refused = open(&place.config).await;
    assert!(matches!(refused, Err(OpenError::Reader { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_an_error() {
    let config = PostgresConfig::new("postgres://nobody:sesame@127.0.0.1:1/none");
    let error = open(&config).await.unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");
    assert!(!format!("{error:?}").contains("sesame"));
}

/// A rolling upgrade: the first new node migrates while the old ones serve on.
#[tokio::test]
async fn a_store_that_is_open_serves_on_while_a_newer_program_migrates() {
    let place = Place::new().await;
    let old = place.open().await;
    let before = old.submit(submit_each(vec![new_task(1)])).await.unwrap();
    assert!(matches!(before[0], Submitted::Stored(_)), "{before:?}");
    let client = place.client().await;
    // as migrations are: what is there stays as it is
    client
        .batch_execute(
            "BEGIN;
             CREATE TABLE of_a_newer_program (id bigint PRIMARY KEY);
             ALTER TABLE task ADD COLUMN of_a_newer_program bigint;
             INSERT INTO schema_version (version, at) SELECT max(version) + 1, now() FROM schema_version;
             COMMIT",
        )
        .await
        .unwrap();
    let lane = lane_of(&new_task(1)).id();
    let holder = Holder::Agent(agent(1));
    let after = old.submit(submit_each(vec![new_task(2)])).await.unwrap();
    assert!(matches!(after[0], Submitted::Stored(_)), "{after:?}");
    let request = ClaimRequest {
        lanes: vec![LaneQuota { lane, take: 2 }],
        chooser: Arc::new(AssignAll::to(holder)),
        command: command(1),
        effects: Effects::default(),
    };
    let claimed = old.claim(request).await.unwrap().assigned;
    assert_eq!(claimed.len(), 2);
    for assigned in claimed {
        let id = assigned.stored.task.id;
        let report = Command::Report(Box::new(report()));
        let done = old
            .apply(vec![leased(9, id, assigned.fence, holder, report)])
            .await
            .unwrap();
        assert!(done[0].is_ok(), "{done:?}");
    }
    let refused = open(&place.config).await.unwrap_err();
    assert!(matches!(refused, OpenError::NewerSchema { .. }), "{refused:?}");
}
