//! Everything that can be read of a store, as text: by its ports, and of an embedded one also as its tables stand.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use arbiter_audit::proof::ConsistencyProof;
use arbiter_audit::tile::{Tile, TileMap};
use arbiter_core::model::{Holder, Labels, SeriesKey, TenantId, TenantScope, Timestamp};
use arbiter_core::ports::{
    AgentQuery, AuditQuery, DocumentQuery, HeardFrom, RangeQuery, Revision, TaskQuery, TelemetryStore,
};
use arbiter_testkit::builders::{agent, node, tenant};
use arbiter_testkit::contract::Stores;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::fill::{KIND, document, tenants};

/// What the ports say.
pub(super) async fn shown(stores: &Stores, telemetry: &dyn TelemetryStore) -> String {
    let mut text = String::new();
    let mut say = |what: &dyn std::fmt::Debug| writeln!(text, "{what:#?}").expect("text");
    let scopes = tenants().map(TenantScope::Tenant);
    for scope in scopes.into_iter().chain([TenantScope::All]) {
        let query = TaskQuery {
            limit: 1_000,
            ..TaskQuery::default()
        };
        let page = stores.reader.list(scope, query.clone()).await.expect("a list");
        for stored in &page.tasks {
            say(&stores
                .reader
                .history(scope, stored.task.id)
                .await
                .expect("a history"));
        }
        say(&page);
        let labelled = TaskQuery {
            label: Some(("team".to_owned(), "blue".to_owned())),
            ..query
        };
        let labelled = stores.reader.list(scope, labelled).await.expect("a list");
        say(&labelled.tasks.len());
        let documents = |index| DocumentQuery {
            kind: KIND,
            index,
            after: None,
            limit: 100,
        };
        for index in [
            None,
            Some(("colour", "green".to_owned())),
            Some(("colour", "red".to_owned())),
        ] {
            let found = stores
                .documents
                .list(scope, documents(index))
                .await
                .expect("documents");
            found.iter().for_each(|found| say(&(found, found.body.as_str())));
        }
        let query = AgentQuery {
            after: None,
            limit: 100,
        };
        say(&stores.agents.list(scope, query).await.expect("agents"));
        let query = AuditQuery {
            limit: 1_000,
            ..AuditQuery::default()
        };
        say(&stores
            .log
            .search(scope, query)
            .await
            .expect("entries")
            .entries
            .len());
    }
    for tenant in tenants() {
        say(&stores.reader.tally(tenant).await.expect("a tally"));
    }
    for holder in [
        Holder::Agent(agent(1)),
        Holder::Agent(agent(2)),
        Holder::Node(node(1)),
    ] {
        say(&stores.reader.held_by(holder).await.expect("what it holds"));
    }
    say(&stores.tasks.lanes(None, 100).await.expect("lanes"));
    say(&stores
        .documents
        .get(TenantScope::All, &[document("one")])
        .await
        .expect("a document"));
    say(&stores.agents.changes(Revision(0), 100).await.expect("changes"));
    say(&stores
        .agents
        .heard(HeardFrom::START, 100)
        .await
        .expect("who was heard"));
    for entry in stores.log.read(0, 10_000).await.expect("the log") {
        let detail = entry.detail.as_ref();
        say(&(
            &entry,
            detail.map(|detail| (detail.salt, detail.body.as_str().to_owned())),
        ));
    }
    let head = stores.tree.head().await.expect("a head");
    let published = stores.tree.published().await.expect("a signed head");
    say(&(&head, &published));
    for level in 0..2 {
        for index in 0..2 {
            say(&stores.tree.tile(level, index, 256).await.expect("a tile"));
        }
    }
    if let Some((signed, _)) = published {
        let mut tiles = TileMap::new();
        for id in ConsistencyProof::tiles(signed.size, head.size) {
            let hashes = stores.tree.tile(id.level(), id.index(), id.width()).await;
            let hashes = hashes.expect("a tile").unwrap_or_default();
            tiles.insert(Tile { id, hashes });
        }
        let proof = ConsistencyProof::build(signed.size, head.size, &tiles).expect("a proof");
        proof
            .verify(&signed.root, &head.root)
            .expect("it continues what was signed");
    }
    let none = Labels::default();
    for name in telemetry.names(None, 100).await.expect("names") {
        say(&telemetry.keys(&name, &none, None, 100).await.expect("keys"));
        let key = SeriesKey::new(&name, none.clone()).expect("a name");
        // no two buckets in one: stores may round what they sum up differently
        let range = (Timestamp::from_micros(0), Timestamp::from_micros(300_000_000));
        let query = RangeQuery::new(key, range, Duration::from_secs(1)).expect("a query");
        say(&telemetry.series(&query).await.expect("series"));
    }
    text
}

/// The tables of an embedded store, each row on a line, and whether each of them has one. Numbers of rows are not in it:
/// they follow from the order in which rows came.
pub(super) fn tables(database: &Path) -> Vec<(String, Vec<String>)> {
    let connection = Connection::open(database).expect("a database");
    let mut names = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
        .expect("a statement");
    let names = names
        .query_map([], |row| row.get::<_, String>(0))
        .expect("tables");
    let names: Vec<String> = names.collect::<Result<_, _>>().expect("names");
    names
        .into_iter()
        .map(|table| {
            let by_number = ["task", "task_spec", "attempt", "stage_report"].contains(&table.as_str());
            let sql = match table.as_str() {
                "task" => "SELECT * FROM task".to_owned(),
                other if by_number => format!("SELECT t.id, x.* FROM {other} x JOIN task t ON t.n = x.n"),
                other => format!("SELECT * FROM {other}"),
            };
            let mut statement = connection.prepare(&sql).expect("a statement");
            let columns: Vec<String> = statement.column_names().map(ToString::to_string).collect();
            let mut found = statement.query([]).expect("rows");
            let mut lines = Vec::new();
            while let Some(row) = found.next().expect("a row") {
                let shown = columns
                    .iter()
                    .enumerate()
                    .filter(|(_, name)| !by_number || *name != "n");
                let shown = shown.map(|(place, name)| {
                    let value = match row.get_ref(place).expect("a value") {
                        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
                        value => format!("{value:?}"),
                    };
                    format!("{name}={value}")
                });
                lines.push(shown.collect::<Vec<_>>().join(" "));
            }
            lines.sort_unstable();
            (table, lines)
        })
        .collect()
}

/// The tenant that the first artifact belongs to.
pub(super) const OWNER: TenantId = tenant(1);
