//! Row-level security: what a reader's session sees, whatever its statements forget.

use arbiter_core::model::{RecordDraft, TenantScope};
use arbiter_core::ports::{
    AgentQuery, AgentRegistry, DocumentContent, DocumentKey, DocumentQuery, DocumentWrite, Documents,
    Effects, Precondition,
};
use arbiter_testkit::builders::{json, profile, tenant};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::Place;

const KIND: &str = "api_key";

/// Two documents and an agent of each of two tenants, and an agent that serves every tenant.
async fn filled() -> Place {
    let place = Place::new().await;
    let store = place.open().await;
    for owner in [1, 2] {
        let write = |id: &str| DocumentWrite {
            key: DocumentKey {
                kind: KIND,
                tenant: tenant(owner),
                id: id.to_owned(),
            },
            precondition: Precondition::Any,
            content: Some(DocumentContent {
                body: json("{}"),
                index: vec![("owner", "ann".to_owned())],
                expires_at: None,
            }),
        };
        let writes = vec![write("a"), write("b")];
        store.write(writes, Effects::default()).await.unwrap();
    }
    for (number, owner) in [(1, Some(tenant(1))), (2, Some(tenant(2))), (3, None)] {
        let mut profile = profile(number);
        profile.tenant = owner;
        store.register(profile, RecordDraft::default()).await.unwrap();
    }
    place
}

/// Counts rows with statements that forget to ask for a tenant.
async fn counts(client: &Client) -> [i64; 3] {
    let mut counts = [0; 3];
    for (count, table) in counts.iter_mut().zip(["document", "document_index", "agent"]) {
        let row = client
            .query_one(&format!("SELECT count(*) FROM {table}"), &[])
            .await;
        *count = row.unwrap().get(0);
    }
    counts
}

async fn become_tenant(client: &Client, name: &str) {
    client
        .execute("SELECT set_config('arbiter.tenant', $1, false)", &[&name])
        .await
        .unwrap();
}

#[tokio::test]
async fn a_forgotten_condition_shows_nothing_of_another_tenant() {
    let place = filled().await;
    let reader = place.reader().await;
    assert_eq!(
        counts(&reader).await,
        [0, 0, 0],
        "without a tenant nothing is seen"
    );
    become_tenant(&reader, &tenant(1).to_string()).await;
    assert_eq!(counts(&reader).await, [2, 2, 2]);
    let foreign = reader
        .query_one(
            "SELECT count(*) FROM document WHERE tenant <> session_tenant()",
            &[],
        )
        .await;
    assert_eq!(foreign.unwrap().get::<_, i64>(0), 0);
    become_tenant(&reader, &tenant(9).to_string()).await;
    assert_eq!(
        counts(&reader).await,
        [0, 0, 1],
        "an agent that serves every tenant"
    );
    become_tenant(&reader, "").await;
    assert_eq!(counts(&reader).await, [0, 0, 0]);
    assert_eq!(
        counts(&place.client().await).await,
        [4, 4, 3],
        "the engine sees all"
    );
}

#[tokio::test]
async fn a_reader_writes_nothing_and_reads_nothing_else() {
    let place = filled().await;
    let reader = place.reader().await;
    become_tenant(&reader, &tenant(1).to_string()).await;
    for refused in [
        "DELETE FROM document",
        "UPDATE document SET body = '{}'",
        "INSERT INTO lease (name, fence, until) VALUES ('a', 1, 1)",
        "SELECT leaves FROM audit_batch",
        "SELECT body FROM outbox",
        "SELECT name FROM lease",
        "SELECT version FROM schema_version",
        "CREATE TABLE mine (n int)",
    ] {
        let error = reader.batch_execute(refused).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{refused}");
    }
}

#[tokio::test]
async fn every_table_that_readers_may_read_is_under_row_level_security() {
    let place = filled().await;
    let client = place.client().await;
    let rows = client
        .query(
            "SELECT relname::text FROM pg_class WHERE relnamespace = $1::text::regnamespace AND relkind IN ('r', 'p')
               AND NOT relrowsecurity AND has_table_privilege('arbiter_reader', oid, 'SELECT')",
            &[&place.config.schema],
        )
        .await
        .unwrap();
    assert!(
        rows.is_empty(),
        "{:?}",
        rows.first().map(|row| row.get::<_, String>(0))
    );
}

/// A session is used for one tenant after the other: nothing of the one before stays.
#[tokio::test]
async fn a_connection_forgets_the_tenant_before() {
    let place = filled().await;
    let mut config = place.config.clone();
    config.reader_connections = 1;
    let store = place.open_with(&config).await;
    for owner in [1, 2, 9, 1] {
        let scope = TenantScope::Tenant(tenant(owner));
        let query = DocumentQuery {
            kind: KIND,
            index: None,
            after: None,
            limit: 10,
        };
        let found = Documents::list(&store, scope, query).await.unwrap();
        assert!(found.iter().all(|document| document.key.tenant == tenant(owner)));
        assert_eq!(found.len(), if owner == 9 { 0 } else { 2 });
        let agents = AgentQuery {
            after: None,
            limit: 10,
        };
        let agents = AgentRegistry::list(&store, scope, agents).await.unwrap().agents;
        assert_eq!(agents.len(), if owner == 9 { 1 } else { 2 });
    }
}
