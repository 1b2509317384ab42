//! How statements find their rows: always by an index, so that no call pays for what it is not about.

use std::collections::BTreeMap;
use std::time::Duration;

use arbiter_adapter_postgres::PostgresStore;
use arbiter_core::model::{
    AgentBeat, AgentMode, AuditAction, Fence, OutcomeDelta, RecordDraft, TenantScope, Timestamp,
};
use arbiter_core::ports::{
    AgentQuery, AgentRegistry, AuditLog, AuditQuery, AuditTree as _, Clearance, Cleared, DocumentContent,
    DocumentKey, DocumentQuery, DocumentWrite, Documents, Effects, LeaseStore, Outbox, Precondition,
    Revision, Seal,
};
use arbiter_testkit::builders::{
    agent, batch, json, kind, node, outbox, outbox_entry, profile, task, tenant,
};
use tokio_postgres::Client;

use crate::support::{Place, record};

/// Tables of one row, or of one per migration: there is nothing to look for.
const SMALL: &[&str] = &["audit_head", "audit_checkpoint", "registry", "schema_version"];

/// How often each table was read from end to end. Sessions tell it at their end.
async fn scans(client: &Client, place: &Place) -> BTreeMap<String, i64> {
    for _ in 0..10_000 {
        let open = client
            .query_one(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1",
                &[&place.config.application_name],
            )
            .await;
        if open.unwrap().get::<_, i64>(0) == 0 {
            break;
        }
    }
    let rows = client
        .query(
            "SELECT relname::text, seq_scan FROM pg_stat_user_tables WHERE schemaname = $1",
            &[&place.config.schema],
        )
        .await;
    let rows = rows.unwrap();
    let counts = rows.iter().map(|row| (row.get(0), row.get(1)));
    counts
        .filter(|(table, _): &(String, i64)| !SMALL.contains(&table.as_str()))
        .collect()
}

#[tokio::test]
async fn no_call_reads_a_table_from_end_to_end() {
    let place = Place::new().await;
    let client = place.client().await;
    drop(place.open().await);
    let before = scans(&client, &place).await;
    assert!(before.len() > 8, "{before:?}");
    let store = place.open().await;
    documents(&store).await;
    entries(&store).await;
    log(&store).await;
    agents(&store).await;
    drop(store);
    assert_eq!(scans(&client, &place).await, before);
}

async fn documents(store: &PostgresStore) {
    let key = |id: &str| DocumentKey {
        kind: "api_key",
        tenant: tenant(1),
        id: id.to_owned(),
    };
    let put = |id, expires_at| DocumentWrite {
        key: key(id),
        precondition: Precondition::Any,
        content: Some(DocumentContent {
            body: json("{}"),
            index: vec![("owner", "ann".to_owned())],
            expires_at,
        }),
    };
    let effects = Effects {
        outbox: vec![outbox_entry(1, "mail"), outbox_entry(2, "mail")],
        ..Effects::default()
    };
    let writes = vec![put("a", None), put("b", Some(Timestamp::from_micros(1)))];
    Documents::write(store, writes, effects).await.unwrap();
    for scope in [TenantScope::All, TenantScope::Tenant(tenant(1))] {
        Documents::get(store, scope, &[key("a"), key("b")]).await.unwrap();
        for index in [None, Some(("owner", "ann".to_owned()))] {
            let query = DocumentQuery {
                kind: "api_key",
                index,
                after: None,
                limit: 10,
            };
            assert_eq!(Documents::list(store, scope, query).await.unwrap().len(), 1);
        }
    }
    let delete = DocumentWrite {
        content: None,
        ..put("a", None)
    };
    let writes = vec![put("c", None), delete];
    Documents::write(store, writes, Effects::default()).await.unwrap();
    let tenants = Cleared::Tenant {
        tenant: tenant(1),
        keep: Vec::new(),
    };
    for which in [Cleared::Keys(vec![key("c"), key("d")]), tenants] {
        let clearance = Clearance {
            which,
            told: tenant(1),
            limit: 10,
            effects: Effects::default(),
        };
        Documents::clear(store, clearance).await.unwrap();
    }
}

async fn entries(store: &PostgresStore) {
    let second = Duration::from_secs(1);
    LeaseStore::take(store, "sweep", node(1), second).await.unwrap();
    LeaseStore::give_back(store, "sweep", node(1)).await.unwrap();
    assert_eq!(Outbox::take(store, "mail", 9, second).await.unwrap().len(), 2);
    let at = Timestamp::from_micros(1);
    Outbox::later(store, outbox(1), at).await.unwrap();
    Outbox::quarantine(store, outbox(1), "refused").await.unwrap();
    Outbox::done(store, &[outbox(2)]).await.unwrap();
}

async fn log(store: &PostgresStore) {
    for number in 0..3 {
        let mut detailed = record(number);
        detailed.detail = Some(json("{}"));
        AuditLog::append(store, batch(number), vec![detailed; 100])
            .await
            .unwrap();
    }
    assert!(store.sequence(usize::MAX).await.unwrap().size > 300);
    store.tile(0, 0, 256).await.unwrap().unwrap();
    store.tile(0, 1, 3).await.unwrap().unwrap();
    AuditLog::read(store, 50, 100).await.unwrap();
    let query = AuditQuery {
        action: Some(AuditAction::KeyCreated.word().to_owned()),
        limit: 10,
        ..AuditQuery::default()
    };
    let found = AuditLog::search(store, TenantScope::All, query).await.unwrap();
    let index = found.entries[0].index;
    let draft = RecordDraft::default;
    assert!(AuditLog::redact(store, index, tenant(1), draft()).await.unwrap());
    let rule = Seal {
        scope: TenantScope::All,
        before: None,
        about: None,
        submitted_by: None,
        told: tenant(1),
        from: 0,
        limit: 1000,
    };
    assert_eq!(AuditLog::seal(store, rule, draft()).await.unwrap().removed, 299);
}

async fn agents(store: &PostgresStore) {
    let draft = RecordDraft::default;
    for number in 1..=3 {
        AgentRegistry::register(store, profile(number), draft())
            .await
            .unwrap();
    }
    AgentRegistry::register(store, profile(1), draft()).await.unwrap();
    AgentRegistry::set_mode(store, agent(1), AgentMode::Draining, draft())
        .await
        .unwrap();
    let beat = AgentBeat {
        agent: agent(1),
        able: true,
        cpu: None,
        memory: None,
    };
    AgentRegistry::beat(store, vec![beat]).await.unwrap();
    let outcome = OutcomeDelta {
        agent: agent(1),
        kind: kind(),
        attempt: (task(1), Fence(1)),
        succeeded: true,
        quality: None,
        latency: Duration::from_secs(1),
        cost_micros: None,
    };
    AgentRegistry::learn(store, vec![outcome]).await.unwrap();
    AgentRegistry::changes(store, Revision(1), 10).await.unwrap();
    AgentRegistry::heard(store, Timestamp::from_micros(0))
        .await
        .unwrap();
    AgentRegistry::get(store, &[agent(1), agent(9)]).await.unwrap();
    for scope in [TenantScope::All, TenantScope::Tenant(tenant(1))] {
        let query = AgentQuery {
            after: None,
            limit: 2,
        };
        AgentRegistry::list(store, scope, query).await.unwrap();
    }
    AgentRegistry::remove(store, agent(3), draft()).await.unwrap();
    let late = Timestamp::from_micros(i64::MAX);
    AgentRegistry::remove_silent(store, late, draft()).await.unwrap();
}
