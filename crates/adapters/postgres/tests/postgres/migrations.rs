//! Opening: migrations, their refusals, and the reader's role.

use arbiter_adapter_postgres::{OpenError, PostgresConfig, PostgresStore};
use arbiter_core::model::TenantScope;
use arbiter_core::ports::{AuditTree as _, Documents as _};
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
