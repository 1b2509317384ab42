//! Row-level security: what a reader's session sees, whatever its statements forget.

use std::sync::Arc;

use arbiter_adapter_postgres::PostgresStore;
use arbiter_core::lifecycle::{Command, RetryPlan};
use arbiter_core::model::{Holder, RecordDraft, TenantId, TenantScope};
use arbiter_core::ports::{
    AgentQuery, AgentRegistry, ArtifactStore as _, Bytes, ClaimRequest, DocumentContent, DocumentKey,
    DocumentQuery, DocumentWrite, Documents, Effects, LaneQuota, Precondition, TaskStore as _,
};
use arbiter_testkit::TestSpawner;
use arbiter_testkit::builders::{
    agent, command, failure, json, lane_of, leased, new_task, profile, submit_each, task, tenant,
};
use arbiter_testkit::choosers::AssignAll;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::support::Place;

const KIND: &str = "api_key";

/// Two artifacts, two documents and an agent of each of two tenants, and an agent that serves every tenant.
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
    for (number, owner) in [(1, tenant(1)), (2, tenant(2))] {
        task_of(&store, number, owner).await;
    }
    let artifacts = store.artifacts(1_000, &TestSpawner);
    for (owner, content) in [(1, "one"), (1, "two"), (2, "one"), (2, "two")] {
        let put = artifacts.put(tenant(owner), &mut Bytes::new(content), 10).await;
        put.unwrap();
    }
    for (number, owner) in [(1, Some(tenant(1))), (2, Some(tenant(2))), (3, None)] {
        let mut profile = profile(number);
        profile.tenant = owner;
        store.register(profile, RecordDraft::default()).await.unwrap();
    }
    place
}

/// A task with an attempt that failed, and its counters.
async fn task_of(store: &PostgresStore, number: u64, owner: TenantId) {
    let mut new = new_task(number);
    new.tenant = owner;
    let lane = lane_of(&new).id();
    store.submit(submit_each(vec![new])).await.unwrap();
    let holder = Holder::Agent(agent(1));
    let request = ClaimRequest {
        lanes: vec![LaneQuota { lane, take: 1 }],
        chooser: Arc::new(AssignAll::to(holder)),
        command: command(number),
        effects: Effects::default(),
    };
    let fence = store.claim(request).await.unwrap().assigned[0].fence;
    let action = Command::Fail {
        failure: failure(),
        plan: RetryPlan::Retry { after: None },
    };
    let mut failed = leased(number + 10, task(number), fence, holder, action);
    failed.tenant = owner;
    assert!(store.apply(vec![failed]).await.unwrap()[0].is_ok());
}

/// What a session sees of tasks with statements that forget to ask for a tenant.
async fn tasks_seen(client: &Client) -> Vec<i64> {
    let mut counts = Vec::new();
    for table in ["task", "task_spec", "attempt"] {
        let row = client
            .query_one(&format!("SELECT count(*) FROM {table}"), &[])
            .await;
        counts.push(row.unwrap().get(0));
    }
    let row = client
        .query_one("SELECT coalesce(sum(queued), 0)::bigint FROM tally", &[])
        .await;
    counts.push(row.unwrap().get(0));
    counts
}

#[tokio::test]
async fn a_reader_sees_the_tasks_of_its_tenant_alone() {
    let place = filled().await;
    let reader = place.reader().await;
    assert_eq!(
        tasks_seen(&reader).await,
        [0; 4],
        "without a tenant it sees nothing"
    );
    for owner in [tenant(1), tenant(2)] {
        become_tenant(&reader, &owner.to_string()).await;
        assert_eq!(tasks_seen(&reader).await, [1; 4]);
    }
    let store = place.open().await;
    let found =
        arbiter_core::ports::TaskReader::get(&store, TenantScope::Tenant(tenant(2)), &[task(1), task(2)])
            .await
            .unwrap();
    assert_eq!((found[0].is_some(), found[1].is_some()), (false, true));
    for table in ["dependency", "lane", "load"] {
        let read = reader
            .query_one(&format!("SELECT count(*) FROM {table}"), &[])
            .await;
        let code = read.unwrap_err().code().cloned();
        assert_eq!(code, Some(SqlState::INSUFFICIENT_PRIVILEGE), "{table}");
    }
}

const TABLES: [&str; 6] = [
    "document",
    "document_index",
    "agent",
    "artifact",
    "artifact_chunk",
    "artifact_usage",
];

/// Counts rows with statements that forget to ask for a tenant.
async fn counts(client: &Client) -> [i64; 6] {
    let mut counts = [0; 6];
    for (count, table) in counts.iter_mut().zip(TABLES) {
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
    assert_eq!(counts(&reader).await, [0; 6], "without a tenant nothing is seen");
    become_tenant(&reader, &tenant(1).to_string()).await;
    assert_eq!(counts(&reader).await, [2, 2, 2, 2, 2, 1]);
    for table in ["document", "artifact", "artifact_chunk"] {
        let foreign = format!("SELECT count(*) FROM {table} WHERE tenant <> session_tenant()");
        let foreign = reader.query_one(&foreign, &[]).await;
        assert_eq!(foreign.unwrap().get::<_, i64>(0), 0, "{table}");
    }
    become_tenant(&reader, &tenant(9).to_string()).await;
    assert_eq!(
        counts(&reader).await,
        [0, 0, 1, 0, 0, 0],
        "an agent that serves every tenant"
    );
    become_tenant(&reader, "").await;
    assert_eq!(counts(&reader).await, [0; 6]);
    assert_eq!(
        counts(&place.client().await).await,
        [4, 4, 3, 4, 4, 2],
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
        "DELETE FROM artifact_chunk",
        "UPDATE artifact_usage SET used_bytes = 0",
        "SELECT id FROM artifact_upload",
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
