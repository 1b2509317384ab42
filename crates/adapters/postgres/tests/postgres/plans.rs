//! How statements find their rows: always by an index, so that no call pays for what it is not about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_postgres::PostgresStore;
use arbiter_core::lifecycle::Command;
use arbiter_core::model::{
    AgentBeat, AgentMode, AuditAction, Fence, Holder, Labels, OutcomeDelta, RecordDraft, Sample, SeriesKey,
    TenantScope, Timestamp,
};
use arbiter_core::ports::{
    AgentQuery, AgentRegistry, ArtifactStore as _, AuditLog, AuditQuery, AuditTree as _, Bytes, ClaimRequest,
    Clearance, Cleared, Compaction, DocumentContent, DocumentKey, DocumentQuery, DocumentWrite, Documents,
    Effects, HeardFrom, LaneQuota, LeaseStore, NewTask, Outbox, Precondition, Purge, RangeQuery, Retention,
    Revision, Scope, Seal, Submitted, TaskQuery, TaskReader, TaskStore, TelemetryStore,
};
use arbiter_testkit::TestSpawner;
use arbiter_testkit::builders::{
    agent, batch, command, idempotency, json, kind, lane_of, lease_ref, leased, new_task, node, outbox,
    outbox_entry, profile, report, submit_each, task, tenant,
};
use arbiter_testkit::choosers::AssignAll;
use tokio_postgres::Client;

use crate::support::{Place, record};

/// Tables of one row, or of one per migration: there is nothing to look for.
const SMALL: &[&str] = &[
    "audit_head",
    "audit_checkpoint",
    "metric_horizon",
    "registry",
    "schema_version",
];

/// How often each table was read from end to end. Sessions tell it at their end.
async fn scans(client: &Client, place: &Place) -> BTreeMap<String, i64> {
    sessions_ended(client, place).await;
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

/// How many entries of each index were read.
async fn entries_read(client: &Client, place: &Place) -> BTreeMap<String, i64> {
    sessions_ended(client, place).await;
    let rows = client
        .query(
            "SELECT indexrelname::text, idx_tup_read FROM pg_stat_user_indexes WHERE schemaname = $1",
            &[&place.config.schema],
        )
        .await;
    rows.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

async fn sessions_ended(client: &Client, place: &Place) {
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
    tasks(&store).await;
    artifacts(&store).await;
    measurements(&store).await;
    drop(store);
    assert_eq!(scans(&client, &place).await, before);
}

/// Plans are made once, while there is nothing yet, and serve at every size: none of them may read what a call is not
/// about, be it through an index.
#[tokio::test]
async fn what_a_call_reads_does_not_grow_with_what_is_stored() {
    const BATCHES: u64 = 20;
    const EACH: u64 = 100;
    let place = Place::new().await;
    let store = place.open().await;
    for round in 0..BATCHES {
        let numbers = round * EACH + 1..=(round + 1) * EACH;
        let batch: Vec<_> = numbers.map(keyed).collect();
        let lane = lane_of(&batch[0]).id();
        for again in [false, true] {
            let answers = TaskStore::submit(&store, submit_each(batch.clone()))
                .await
                .unwrap();
            let repeated = |answer: &&Submitted| matches!(answer, Submitted::Known(_));
            assert_eq!(
                answers.iter().filter(repeated).count(),
                if again { 100 } else { 0 }
            );
        }
        let holder = Holder::Agent(agent(1));
        let request = ClaimRequest {
            lanes: vec![LaneQuota { lane, take: 50 }],
            chooser: Arc::new(AssignAll {
                loads: vec![(Scope::Agent(agent(1)), 100)],
                ..AssignAll::to(holder)
            }),
            command: command(round),
            effects: Effects::default(),
        };
        let claimed = store.claim(request).await.unwrap().assigned;
        assert_eq!(claimed.len(), 50);
        let leases = claimed
            .iter()
            .map(|one| lease_ref(one.stored.task.id, one.fence, holder));
        store.extend(leases.collect()).await.unwrap();
        let reports = claimed.iter().enumerate().map(|(place, one)| {
            let command = 1000 * (round + 1) + place as u64;
            let report = Command::Report(Box::new(report()));
            leased(command, one.stored.task.id, one.fence, holder, report)
        });
        let reports: Vec<_> = reports.collect();
        for _ in 0..2 {
            let done = store.apply(reports.clone()).await.unwrap();
            assert!(done.iter().all(Result::is_ok));
        }
        store.due(10).await.unwrap();
    }
    drop(store);
    let client = place.client().await;
    let most = i64::try_from(20 * BATCHES * EACH).unwrap();
    for (index, read) in entries_read(&client, &place).await {
        assert!(read <= most, "{index}: {read} entries");
    }
}

fn keyed(number: u64) -> NewTask {
    let mut new = new_task(number);
    let mut spec = (*new.spec).clone();
    spec.labels = [("number".to_owned(), number.to_string())].into();
    new.spec = Arc::new(spec);
    new.idempotency = Some(idempotency(&number.to_string(), "content"));
    new.open_limit = Some(1_000_000);
    new
}

/// A whole life, and everything that can be asked about tasks.
async fn tasks(store: &PostgresStore) {
    let mut last = new_task(3);
    let mut spec = (*last.spec).clone();
    spec.after = [task(1)].into();
    spec.labels = [("a".to_owned(), "b".to_owned())].into();
    last.spec = Arc::new(spec);
    last.idempotency = Some(idempotency("key", "content"));
    last.open_limit = Some(10);
    let tasks = vec![new_task(1), new_task(2), last];
    let lane = lane_of(&tasks[0]).id();
    TaskStore::submit(store, submit_each(tasks)).await.unwrap();
    assert_eq!(store.lanes(None, 10).await.unwrap().len(), 1);
    let holder = Holder::Agent(agent(1));
    let chooser = AssignAll {
        loads: vec![(Scope::Agent(agent(1)), 7)],
        ..AssignAll::to(holder)
    };
    let request = ClaimRequest {
        lanes: vec![LaneQuota { lane, take: 2 }],
        chooser: Arc::new(chooser),
        command: command(1),
        effects: Effects::default(),
    };
    let claimed = store.claim(request).await.unwrap().assigned;
    assert_eq!(claimed.len(), 2);
    let fence = claimed[0].fence;
    store
        .extend(vec![lease_ref(task(1), fence, holder)])
        .await
        .unwrap();
    let report = Command::Report(Box::new(report()));
    for number in [9, 9, 10] {
        let report = leased(number, task(1), fence, holder, report.clone());
        store.apply(vec![report]).await.unwrap()[0].clone().ok();
    }
    store.due(10).await.unwrap();
    assert_eq!(store.held_by(holder).await.unwrap().len(), 1);
    for scope in [TenantScope::All, TenantScope::Tenant(tenant(1))] {
        TaskReader::get(store, scope, &[task(1), task(2)]).await.unwrap();
        assert_eq!(store.history(scope, task(1)).await.unwrap().attempts.len(), 1);
        for label in [None, Some(("a".to_owned(), "b".to_owned()))] {
            let query = TaskQuery {
                limit: 10,
                label,
                ..TaskQuery::default()
            };
            assert!(
                !TaskReader::list(store, scope, query)
                    .await
                    .unwrap()
                    .tasks
                    .is_empty()
            );
        }
    }
    store.tally(tenant(1)).await.unwrap();
    let since = Timestamp::from_micros(i64::MAX / 2);
    for which in [
        Purge::ClosedBefore(since),
        Purge::Tenant(tenant(1)),
        Purge::Tasks(tenant(1), vec![task(1), task(2)]),
    ] {
        let retention = Retention {
            which,
            keyed_before: Some(Timestamp::from_micros(1)),
            limit: 10,
            effects: Effects::default(),
        };
        store.purge(retention).await.unwrap();
    }
}

/// The claim reads the heads of its lanes forward in the index, without sorting, whatever the backlog.
#[tokio::test]
async fn a_claim_reads_the_heads_of_its_lanes_in_their_order() {
    let place = Place::new().await;
    let store = place.open().await;
    let batch: Vec<_> = (1..=500).map(new_task).collect();
    let lane = lane_of(&batch[0]).id();
    TaskStore::submit(&store, submit_each(batch)).await.unwrap();
    let client = place.client().await;
    let copied = client
        .execute(
            "INSERT INTO task SELECT gen_random_uuid(), tenant, lane, order_key, state, due_at, holder, closed_at, status
             FROM task, generate_series(1, 200)",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(copied, 100_000);
    client
        .batch_execute(
            "ANALYZE task; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off",
        )
        .await
        .unwrap();
    // as the store has it
    let source = include_str!("../../src/tasks/claim.rs");
    let start =
        source.find("const HEADS: &str = \"").expect("the statement") + "const HEADS: &str = \"".len();
    let heads = &source[start..start + source[start..].find("\";").expect("its end")];
    client
        .batch_execute(&format!("PREPARE heads (bigint[], bigint[]) AS {heads}"))
        .await
        .unwrap();
    let explain = format!(
        "EXPLAIN (COSTS OFF) EXECUTE heads (ARRAY[{}]::bigint[], ARRAY[5]::bigint[])",
        lane.0
    );
    let rows = client.simple_query(&explain).await.unwrap();
    let lines = rows.iter().filter_map(|message| match message {
        tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    let plan = lines.collect::<Vec<_>>().join("\n");
    assert!(plan.contains("Index Scan using task_claimable on task"), "{plan}");
    for word in ["Sort", "Parallel", "Gather", "Seq Scan", "Bitmap", "Backward"] {
        assert!(!plan.contains(word), "{plan}");
    }
}

async fn artifacts(store: &PostgresStore) {
    let artifacts = store.artifacts(10_000_000, &TestSpawner);
    for length in [10, 600_000] {
        let content = vec![1; length];
        let put = artifacts
            .put(tenant(1), &mut Bytes::new(content.clone()), 1_000_000)
            .await;
        let digest = put.unwrap().digest;
        // what is there already is cleared away
        artifacts
            .put(tenant(1), &mut Bytes::new(content), 1_000_000)
            .await
            .unwrap();
        artifacts.get(tenant(1), digest, None).await.unwrap();
        artifacts.list(tenant(1), None, 10).await.unwrap();
        artifacts.usage(tenant(1)).await.unwrap();
        assert!(artifacts.delete(tenant(1), digest).await.unwrap());
    }
}

async fn measurements(store: &PostgresStore) {
    let second = Duration::from_secs(1);
    let at = |seconds: u64| Timestamp::from_micros(0).plus(second * u32::try_from(seconds).unwrap());
    let key = |name: &str, value: &str| {
        let labels = Labels::new([("l".to_owned(), value.to_owned())].into()).unwrap();
        SeriesKey::new(name, labels).unwrap()
    };
    let samples = (0..20).flat_map(|number| {
        let parity = if number % 2 == 0 { "even" } else { "odd" };
        ["a", "b"].map(|name| Sample::new(key(name, parity), at(number), 1.0).unwrap())
    });
    assert_eq!(store.record(samples.collect()).await.unwrap().stored, 40);
    assert_eq!(store.names(None, 10).await.unwrap(), ["a", "b"]);
    let labels = Labels::default();
    assert_eq!(
        store.keys("a", &labels, Some(&labels), 10).await.unwrap().len(),
        2
    );
    let range = (at(0), at(20));
    let query = RangeQuery::new(key("a", "even"), range, second * 5).unwrap();
    assert_eq!(
        TelemetryStore::series(store, &query).await.unwrap()[0]
            .buckets
            .len(),
        4
    );
    let rule = Compaction::new(at(10), second * 10, 100).unwrap();
    assert_eq!(store.compact(rule).await.unwrap(), 20);
    assert_eq!(store.forget(at(12), 100).await.unwrap(), 8);
}

/// What is read of a series, or done to what is old, is found by an index without sorting, whatever else there is.
#[tokio::test]
async fn measurements_are_found_in_their_order() {
    let place = Place::new().await;
    let store = place.open().await;
    measurements(&store).await;
    let client = place.client().await;
    client
        .batch_execute(
            "INSERT INTO metric_point SELECT series, at, span, 1, 1, 1, 1, 1
             FROM generate_series(1, 100) AS series, generate_series(1, 1000) AS at, unnest(ARRAY[0, 500]) AS span
             WHERE span = 0 OR at % 500 = 0;
             ANALYZE metric_point; SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off",
        )
        .await
        .unwrap();
    for (select, arguments, index) in [
        (
            "SELECT series, at, span FROM metric_point WHERE span = 0 AND at < $1 ORDER BY at, series LIMIT $2",
            "1000::bigint, 10::bigint",
            "metric_point_sample",
        ),
        (
            "SELECT series, at, span FROM metric_point WHERE at < $1 ORDER BY at, span LIMIT $2",
            "1000::bigint, 10::bigint",
            "metric_point_age",
        ),
    ] {
        // as the store has it
        let source = include_str!("../../src/telemetry/age.rs");
        assert!(
            source.contains(&select.replace("LIMIT $2", "LIMIT $")),
            "{select}"
        );
        client
            .batch_execute(&format!("PREPARE looked (bigint, bigint) AS {select}"))
            .await
            .unwrap();
        let explain = format!("EXPLAIN (COSTS OFF) EXECUTE looked ({arguments})");
        let rows = client.simple_query(&explain).await.unwrap();
        let lines = rows.iter().filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        let plan = lines.collect::<Vec<_>>().join("\n");
        assert!(plan.contains(index), "{plan}");
        for word in ["Sort", "Parallel", "Gather", "Seq Scan", "Bitmap", "Backward"] {
            assert!(!plan.contains(word), "{plan}");
        }
        client.batch_execute("DEALLOCATE looked").await.unwrap();
    }
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
    AgentRegistry::heard(store, HeardFrom::since(Timestamp::from_micros(0)), 10)
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
