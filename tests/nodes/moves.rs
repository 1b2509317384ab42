//! A store moves from one kind to the other and back: everything is there, and work goes on.

mod fill;
mod shown;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_postgres::{PostgresConfig, PostgresParts, PostgresStore};
use arbiter_adapter_sqlite::{SqliteConfig, SqliteStore, import};
use arbiter_audit::proof::ConsistencyProof;
use arbiter_audit::tile::{Tile, TileMap};
use arbiter_core::lifecycle::{Command, Rules};
use arbiter_core::model::{Digest, Holder, RecordDraft, State, Timestamp, Wait};
use arbiter_core::ports::{
    ArtifactError, ArtifactStore as _, AuditTree as _, Clock, NewTask, Revision, Submitted, TelemetryStore,
    TreeHead,
};
use arbiter_testkit::builders::{agent, batch, node, profile, report, submit_each, task};
use arbiter_testkit::contract::{ManualHarness, Stores, Work, model};
use arbiter_testkit::{ManualClock, SeededEntropy, TestSpawner};
use arbiter_wire::transfer::{ArtifactRow, Damage, Piece, Rows, TransferError};
use futures_util::future::{Either, join, select};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_postgres::{Client, Config, NoTls};

use crate::cluster::Database;
use fill::{fill, keyed, new_sample, outcome, record};
use shown::{OWNER, shown, tables};

/// A server with a schema of its own, and the store on it.
struct Shared {
    store: Arc<PostgresStore>,
    database: Database,
}

impl Shared {
    async fn new(clock: &Arc<ManualClock>) -> Self {
        Self::at(Database::new(), clock).await
    }

    async fn at(database: Database, clock: &Arc<ManualClock>) -> Self {
        let config = PostgresConfig {
            schema: database.schema.clone(),
            application_name: database.schema.clone(),
            ..PostgresConfig::new(database.url.clone())
        };
        let parts = PostgresParts {
            entropy: Arc::new(SeededEntropy::new(7)),
            spawner: &TestSpawner,
            rules: Rules::default(),
            clock: Some(Arc::clone(clock) as Arc<dyn Clock>),
        };
        let store = PostgresStore::open(&config, parts)
            .await
            .expect("the store opens");
        let store = Arc::new(store);
        Self { store, database }
    }

    fn harness(&self, clock: &Arc<ManualClock>) -> ManualHarness {
        ManualHarness::new(Stores::of(&self.store), Arc::clone(clock), 20)
    }

    /// A connection that is the test's own.
    async fn client(&self) -> Client {
        let mut config: Config = self.database.url.parse().expect("a URL");
        config.options(format!("-c search_path={}", self.database.schema));
        config.application_name(&self.database.schema);
        let (client, connection) = config.connect(NoTls).await.expect("the server answers");
        #[expect(clippy::disallowed_methods, reason = "it ends with the client")]
        tokio::spawn(connection);
        client
    }

    /// Takes rows from an embedded store.
    async fn take(&self, source: &SqliteStore) -> Result<TreeHead, TransferError> {
        self.take_through(source, Some).await
    }

    /// The same; what is done to the rows on their way may end them.
    async fn take_through(
        &self,
        source: &SqliteStore,
        change: impl FnMut(Rows) -> Option<Rows>,
    ) -> Result<TreeHead, TransferError> {
        let (give, given) = channel(2);
        let (pass, passed) = channel(2);
        let (_given, (), taken) = futures_util::join!(
            source.export(give),
            pass_on(given, pass, change),
            self.store.import(passed)
        );
        taken
    }

    /// Whether nothing is in it.
    async fn is_empty(&self) -> bool {
        let (give, mut given) = channel(2);
        let counts = async {
            let mut counted = None;
            while let Some(rows) = given.recv().await {
                if let Rows::End(end) = rows {
                    counted = Some(end.counts.total() + end.size);
                }
            }
            counted
        };
        let (exported, counts) = futures_util::join!(self.store.export(give), counts);
        exported.expect("it can be read");
        counts == Some(0)
    }
}

async fn pass_on(
    mut given: Receiver<Rows>,
    pass: Sender<Rows>,
    mut change: impl FnMut(Rows) -> Option<Rows>,
) {
    while let Some(rows) = given.recv().await {
        let Some(rows) = change(rows) else { return };
        if pass.send(rows).await.is_err() {
            return;
        }
    }
}

/// An embedded store in a folder of its own.
struct Embedded {
    store: Arc<SqliteStore>,
    folder: TempDir,
}

impl Embedded {
    fn new(clock: &Arc<ManualClock>) -> Self {
        Self::at(tempfile::tempdir().expect("a folder"), clock)
    }

    fn at(folder: TempDir, clock: &Arc<ManualClock>) -> Self {
        let store = open(folder.path(), clock);
        let store = Arc::new(store);
        Self { store, folder }
    }

    /// Made of the rows of a shared store.
    async fn of(source: &PostgresStore, clock: &Arc<ManualClock>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let database = SqliteConfig::new(folder.path()).database();
        let (give, given) = channel(2);
        let (exported, head) = futures_util::join!(source.export(give), import(database, given));
        exported.expect("exported");
        let embedded = Self::at(folder, clock);
        let found = embedded.store.head().await;
        assert_eq!(head.expect("imported"), found.expect("a head"));
        embedded
    }

    fn harness(&self, clock: &Arc<ManualClock>) -> ManualHarness {
        ManualHarness::new(Stores::of(&self.store), Arc::clone(clock), 20)
    }

    fn tables(&self) -> Vec<(String, Vec<String>)> {
        tables(&SqliteConfig::new(self.folder.path()).database())
    }
}

fn open(folder: &Path, clock: &Arc<ManualClock>) -> SqliteStore {
    let (clock, entropy) = (
        Arc::clone(clock) as Arc<dyn Clock>,
        Arc::new(SeededEntropy::new(3)),
    );
    SqliteStore::open(&SqliteConfig::new(folder), Rules::default(), clock, entropy).expect("the store opens")
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

/// An embedded store with rows of every kind, and work that is under way in it.
async fn filled(clock: &Arc<ManualClock>) -> (Embedded, Work) {
    let embedded = Embedded::new(clock);
    let work = fill(&embedded.harness(clock), &*embedded.store).await;
    for (table, rows) in embedded.tables() {
        assert!(!rows.is_empty(), "there are rows in `{table}`");
    }
    (embedded, work)
}

/// What was begun in the store before goes on in this one.
async fn goes_on(harness: &ManualHarness, telemetry: &dyn TelemetryStore, work: &Work) {
    let desk = fill::desk(harness);
    let stores = desk.stores();
    let tasks = &stores.tasks;
    // the same key and content, under another id
    let again = NewTask {
        idempotency: keyed(1).idempotency,
        ..keyed(50)
    };
    let answers = tasks.submit(submit_each([again])).await.expect("answered");
    assert!(
        matches!(answers.as_slice(), [Submitted::Known(id)] if *id == task(1)),
        "{answers:?}"
    );
    assert!(
        !desk.has_room(60, &fill::loaded(1).loads[0].0, 1).await,
        "its slot is taken"
    );
    let held = Work { ..*work };
    let report = Command::Report(Box::new(report()));
    let done = desk.done(desk.by(held, report)).await;
    assert!(
        matches!(done.state, State::Succeeded),
        "the open lease reports with its token"
    );
    assert!(
        desk.has_room(61, &fill::loaded(1).loads[0].0, 1).await,
        "its slot is free"
    );
    desk.due_all().await;
    let released = desk.get(task(9)).await;
    assert!(
        matches!(released.state, State::Queued { wait: Wait::Ready }),
        "who waited for it can begin: {released:?}"
    );
    let waits = desk.get(task(10)).await;
    assert!(
        matches!(
            waits.state,
            State::Queued {
                wait: Wait::Prerequisites(1)
            }
        ),
        "{waits:?}"
    );
    let minute = Duration::from_secs(60);
    let turn = stores
        .leases
        .take("given back", node(2), minute)
        .await
        .expect("answered");
    assert_eq!(turn.expect("it is free").fence.0, 2, "tokens of leases go on");
    let kept = stores
        .leases
        .take("kept", node(2), minute)
        .await
        .expect("answered");
    assert_eq!(kept, None, "somebody has it");
    let before = stores.agents.changes(Revision(0), 100).await.expect("changes");
    stores.agents.learn(vec![outcome()]).await.expect("answered");
    let after = stores.agents.changes(Revision(0), 100).await.expect("changes");
    assert_eq!(
        format!("{before:?}"),
        format!("{after:?}"),
        "an outcome counts once"
    );
    let (profile, draft) = (profile(9), RecordDraft::default());
    stores.agents.register(profile, draft).await.expect("registered");
    let after = stores
        .agents
        .changes(before.revision, 100)
        .await
        .expect("changes");
    assert_eq!(after.revision.0, before.revision.0 + 1, "revisions go on");
    let size = stores.tree.sequence(usize::MAX).await.expect("placed").size;
    let repeated = vec![record(1, desk.now().await)];
    stores.log.append(batch(3), repeated).await.expect("appended");
    assert_eq!(
        stores.tree.sequence(usize::MAX).await.expect("placed").size,
        size,
        "a batch is appended once"
    );
    let told = telemetry.record(vec![new_sample()]).await.expect("recorded");
    assert_eq!(told.stored, 1, "a new series has a number of its own");
    // versions, leaves, tallies and proofs of everything
    for number in 1..=12 {
        desk.check_versions(task(number)).await;
    }
}

#[test]
fn a_store_moves_there_and_back_and_loses_nothing() {
    let clock = Arc::new(ManualClock::new());
    block_on(async {
        let (origin, work) = filled(&clock).await;
        let before = shown(&Stores::of(&origin.store), &*origin.store).await;
        let tables_before = origin.tables();
        let middle = Shared::new(&clock).await;
        let head = middle.take(&origin.store).await.expect("moved");
        assert_eq!(
            head,
            arbiter_core::ports::AuditTree::head(&*origin.store)
                .await
                .expect("a head")
        );
        let there = shown(&Stores::of(&middle.store), &*middle.store).await;
        similar(&before, &there);
        let back = Embedded::of(&middle.store, &clock).await;
        let after = shown(&Stores::of(&back.store), &*back.store).await;
        similar(&before, &after);
        for (before, after) in tables_before.iter().zip(&back.tables()) {
            assert_eq!(before, after);
        }
        goes_on(&middle.harness(&clock), &*middle.store, &work).await;
        goes_on(&back.harness(&clock), &*back.store, &work).await;
    });
}

/// Names the first lines that differ, not all of them.
fn similar(one: &str, other: &str) {
    for (number, (one, other)) in one.lines().zip(other.lines()).enumerate() {
        assert_eq!(one, other, "line {number}");
    }
    assert_eq!(one.lines().count(), other.lines().count());
}

/// A commit that ended while a snapshot was taken is in it or is not, and what is in it keeps its place.
#[test]
fn a_shared_store_is_copied_while_nodes_write() {
    let clock = Arc::new(ManualClock::new());
    block_on(async {
        let shared = Shared::new(&clock).await;
        let stores = Stores::of(&shared.store);
        let ended = std::cell::Cell::new(false);
        let writing = async {
            let mut number = 0;
            while !ended.get() {
                let append = |number| {
                    let records = vec![record(number, Timestamp::from_micros(1)); 3];
                    stores.log.append(batch(number), records)
                };
                let both = futures_util::join!(append(number), append(number + 1));
                both.0.and(both.1).expect("appended");
                number += 2;
            }
        };
        let copying = async {
            let mut heads = Vec::new();
            for _ in 0..4 {
                let copy = Embedded::of(&shared.store, &clock).await;
                heads.push(
                    arbiter_core::ports::AuditTree::head(&*copy.store)
                        .await
                        .expect("a head"),
                );
            }
            ended.set(true);
            heads
        };
        let ((), heads) = futures_util::join!(writing, copying);
        assert!(
            heads.last().expect("a head").size > 0,
            "something was written meanwhile"
        );
        let newest = stores.tree.sequence(usize::MAX).await.expect("placed");
        for head in heads.into_iter().filter(|head| head.size > 0) {
            let mut tiles = TileMap::new();
            for id in ConsistencyProof::tiles(head.size, newest.size) {
                let hashes = stores.tree.tile(id.level(), id.index(), id.width()).await;
                let hashes = hashes.expect("a tile").unwrap_or_default();
                tiles.insert(Tile { id, hashes });
            }
            let proof = ConsistencyProof::build(head.size, newest.size, &tiles);
            let continues = proof.expect("a proof").verify(&head.root, &newest.root);
            continues.expect("a copy is an earlier state of the log");
        }
    });
}

/// A batch that has its number but is not committed would be placed before batches that are in the snapshot already.
#[test]
fn a_snapshot_waits_for_leaves_that_are_on_their_way() {
    let clock = Arc::new(ManualClock::new());
    block_on(async {
        let shared = Shared::new(&clock).await;
        let stores = Stores::of(&shared.store);
        let append = |number| {
            stores
                .log
                .append(batch(number), vec![record(number, Timestamp::from_micros(1))])
        };
        append(1).await.expect("appended");
        stores.tree.sequence(10).await.expect("placed");
        let mut slow = shared.client().await;
        let slow = slow.transaction().await.expect("begun");
        let copied = "INSERT INTO audit_batch (count, at, hashes, leaves, details)
                      SELECT count, at, hashes, leaves, details FROM audit_batch";
        slow.batch_execute(copied).await.expect("on its way");
        append(2).await.expect("appended");
        let copy = std::pin::pin!(Embedded::of(&shared.store, &clock));
        let waits = async {
            // reads what is committed, so each look is a snapshot of its own
            let looking =
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'audit_batch'::regclass";
            let client = shared.client().await;
            while client
                .query_one(looking, &[])
                .await
                .expect("a look")
                .get::<_, i64>(0)
                == 0
            {
                tokio::task::yield_now().await;
            }
        };
        let Either::Right(((), copy)) = select(copy, std::pin::pin!(waits)).await else {
            panic!("the copy did not wait");
        };
        slow.commit().await.expect("committed");
        let copied = copy.await.store.head().await.expect("a head");
        let placed = stores.tree.sequence(10).await.expect("placed");
        assert_eq!(
            copied, placed,
            "everything has the place in the copy that it has in the store"
        );
        assert_eq!(placed.size, 3);
    });
}

/// A node that started in the middle would see an empty store and make keys of its own. A table that is not in the list
/// would not be moved either.
#[test]
fn nobody_looks_at_a_store_while_it_is_filled() {
    let clock = Arc::new(ManualClock::new());
    block_on(async {
        let (origin, _) = filled(&clock).await;
        let shared = Shared::new(&clock).await;
        let mut unlocked = None;
        shared
            .take_through(&origin.store, |rows| {
                // rows of other kinds were taken before
                if matches!(rows, Rows::Batches(_)) {
                    unlocked = Some(shared.database.ask(&format!(
                        "SELECT relname::text FROM pg_class
                         WHERE relnamespace = '{}'::regnamespace AND relkind = 'r' AND relname <> 'schema_version'
                           AND oid NOT IN (SELECT relation FROM pg_locks
                                           WHERE mode = 'AccessExclusiveLock' AND granted AND relation IS NOT NULL)",
                        shared.database.schema
                    )));
                }
                Some(rows)
            })
            .await
            .expect("moved");
        assert_eq!(unlocked.expect("a look"), Vec::<String>::new());
    });
}

#[test]
fn what_does_not_add_up_is_refused_and_nothing_of_it_is_kept() {
    let clock = Arc::new(ManualClock::new());
    block_on(async {
        let (origin, _) = filled(&clock).await;
        let shared = Shared::new(&clock).await;
        let mut refused = Vec::new();
        for spoil in SPOILS {
            let mut spoiled = false;
            let taken = shared
                .take_through(&origin.store, |mut rows| {
                    spoiled |= !spoiled && spoil(&mut rows);
                    Some(rows)
                })
                .await;
            assert!(spoiled, "there was something to spoil");
            refused.push(match taken {
                Err(TransferError::Damaged(damage)) => damage,
                other => panic!("{} of {}: {other:?}", refused.len(), SPOILS.len()),
            });
            assert!(shared.is_empty().await, "{refused:?}");
        }
        assert!(
            matches!(
                refused.as_slice(),
                [
                    Damage::Log(_),
                    Damage::Log(_),
                    Damage::Row {
                        table: "audit_batch",
                        ..
                    },
                    Damage::Head { .. },
                    Damage::Signed { .. },
                    Damage::Signed { .. },
                    Damage::Tally { .. },
                    Damage::Load { .. },
                    Damage::Count {
                        table: "document",
                        ..
                    },
                    Damage::Count {
                        table: "stage_report",
                        ..
                    },
                    Damage::Body { table: "task", .. },
                    Damage::Body { table: "attempt", .. },
                    Damage::Row { table: "task", .. },
                    Damage::Row { table: "lane", .. },
                    Damage::Row { table: "agent", .. },
                    Damage::Row {
                        table: "document",
                        ..
                    },
                ]
            ),
            "{refused:#?}"
        );
        shared.take(&origin.store).await.expect("as it is, it is taken");
    });
}

/// Each changes something, or says that it found nothing to change.
const SPOILS: [fn(&mut Rows) -> bool; 16] = [
    // a byte of a leaf, one of a detail
    |rows| {
        let Rows::Batches(batches) = rows else {
            return false;
        };
        batches[0].leaves[20] ^= 1;
        true
    },
    |rows| {
        let Rows::Batches(batches) = rows else {
            return false;
        };
        let details = batches.iter_mut().find_map(|batch| batch.details.as_mut());
        *details.and_then(|details| details.last_mut()).expect("a detail") ^= 1;
        true
    },
    |rows| {
        let Rows::Batches(batches) = rows else {
            return false;
        };
        batches.swap(0, 1);
        true
    },
    |rows| {
        let Rows::Batches(batches) = rows else {
            return false;
        };
        batches.pop().is_some()
    },
    |rows| {
        let Rows::Signed(signed) = rows else { return false };
        signed.root = Digest::of(b"another log");
        true
    },
    |rows| {
        let Rows::Signed(signed) = rows else { return false };
        signed.size += 100_000;
        true
    },
    |rows| {
        let Rows::Tallies(tallies) = rows else {
            return false;
        };
        tallies[0].1[0] += 1;
        true
    },
    |rows| {
        let Rows::Loads(loads) = rows else { return false };
        loads[0].1 += 1;
        true
    },
    |rows| {
        let Rows::Documents(documents) = rows else {
            return false;
        };
        documents.pop().is_some()
    },
    |rows| {
        let Rows::Tasks(tasks) = rows else { return false };
        let mut stages = tasks.iter_mut().map(|task| &mut task.stages);
        stages.any(|stages| stages.pop().is_some())
    },
    |rows| {
        let Rows::Tasks(tasks) = rows else { return false };
        tasks[3].status.0.insert(0, '{');
        true
    },
    |rows| {
        let Rows::Tasks(tasks) = rows else { return false };
        let attempt = tasks.iter_mut().find_map(|task| task.attempts.first_mut());
        let body = &mut attempt.expect("an attempt").0;
        *body = body.replace("\"v\":1", "\"v\":99");
        true
    },
    |rows| {
        let Rows::Tasks(tasks) = rows else { return false };
        tasks[0].id = task(77);
        true
    },
    |rows| {
        let Rows::Lanes(lanes) = rows else { return false };
        lanes[0].0.0 ^= 1;
        true
    },
    |rows| {
        let Rows::Agents(agents) = rows else { return false };
        let known = agents.iter_mut().find(|agent| agent.body.is_some());
        known.expect("an agent").id = agent(77);
        true
    },
    |rows| {
        let Rows::Documents(documents) = rows else {
            return false;
        };
        documents[0].entries = Some("{}".to_owned());
        true
    },
];

#[test]
fn only_an_empty_store_takes_rows() {
    let clock = Arc::new(ManualClock::new());
    block_on(async {
        let (origin, _) = filled(&clock).await;
        let shared = Shared::new(&clock).await;
        let log = &Stores::of(&shared.store).log;
        let entry = record(1, Timestamp::from_micros(1));
        log.append(batch(1), vec![entry]).await.expect("appended");
        let refused = shared.take(&origin.store).await;
        assert!(
            matches!(refused, Err(TransferError::NotEmpty { table: "audit_batch" })),
            "{refused:?}"
        );
        assert_eq!(
            log.read(0, 10).await.expect("the log").len(),
            0,
            "it is not placed yet"
        );
        let tree = &Stores::of(&shared.store).tree;
        assert_eq!(
            tree.sequence(10).await.expect("placed").size,
            1,
            "it is as it was"
        );
        let (give, given) = channel(2);
        let database = SqliteConfig::new(origin.folder.path()).database();
        origin.store.close().await;
        let (_, refused) = futures_util::join!(shared.store.export(give), import(database, given));
        assert!(
            matches!(refused, Err(TransferError::NotEmpty { .. })),
            "{refused:?}"
        );
    });
}

#[test]
fn rows_that_stop_before_their_end_are_not_kept() {
    let clock = Arc::new(ManualClock::new());
    block_on(async {
        let (origin, _) = filled(&clock).await;
        let shared = Shared::new(&clock).await;
        let mut batches = 0;
        let count = |rows| {
            batches += 1;
            Some(rows)
        };
        let whole = Shared::new(&clock).await;
        whole.take_through(&origin.store, count).await.expect("moved");
        for end in 0..batches {
            let mut left = end;
            let cut = shared
                .take_through(&origin.store, |rows| {
                    left -= 1;
                    (left >= 0).then_some(rows)
                })
                .await;
            assert!(matches!(cut, Err(TransferError::Cut)), "{end}: {cut:?}");
            assert!(shared.is_empty().await, "{end}");
            let folder = tempfile::tempdir().expect("a folder");
            let database = SqliteConfig::new(folder.path()).database();
            let (give, given) = channel(2);
            let (pass, passed) = channel(2);
            let mut left = end;
            let change = |rows| {
                left -= 1;
                (left >= 0).then_some(rows)
            };
            let (_, (), cut) = futures_util::join!(
                origin.store.export(give),
                pass_on(given, pass, change),
                import(database.clone(), passed)
            );
            assert!(matches!(cut, Err(TransferError::Cut)), "{end}: {cut:?}");
            let kept: usize = tables(&database).iter().map(|(_, rows)| rows.len()).sum();
            assert_eq!(kept, 1, "the horizon of measurements stands in every database");
        }
        shared
            .take(&origin.store)
            .await
            .expect("it can be restored again");
    });
}

#[test]
fn a_move_that_is_killed_leaves_a_store_that_takes_it_again() {
    let clock = Arc::new(ManualClock::new());
    block_on(async {
        let (origin, _) = filled(&clock).await;
        let shared = Shared::new(&clock).await;
        // the server ends the session in the middle
        let killed = shared
            .take_through(&origin.store, |rows| {
                if matches!(rows, Rows::Batches(_)) {
                    shared.database.ask(
                        "SELECT pg_terminate_backend(pid, 5000)::text FROM pg_locks
                         WHERE locktype = 'relation' AND mode = 'AccessExclusiveLock' AND pid <> pg_backend_pid()
                           AND relation = 'task'::regclass",
                    );
                }
                Some(rows)
            })
            .await;
        assert!(matches!(killed, Err(TransferError::Store(_))), "{killed:?}");
        assert!(shared.is_empty().await);
        // the caller is gone in the middle
        let (give, given) = channel(2);
        let (pass, passed) = channel(2);
        {
            let import = shared.store.import(passed);
            let mut batches = 0;
            let reached = pass_on(given, pass, |rows| {
                batches += 1;
                (batches < 8).then_some(rows)
            });
            let export = origin.store.export(give);
            futures_util::pin_mut!(import, export, reached);
            // ends when the eighth batch was reached, with the import still waiting for more
            let _dropped = select(reached, join(import, export)).await;
        }
        assert!(shared.is_empty().await);
        shared.take(&origin.store).await.expect("it is restored again");
    });
}

#[test]
fn artifacts_go_along_and_are_whole() {
    let clock = Arc::new(ManualClock::new());
    block_on(async {
        let (origin, _) = filled(&clock).await;
        let content: Vec<u8> = (0..700_000_u32)
            .map(|number| number as u8 ^ (number >> 8) as u8)
            .collect();
        let whole = ArtifactRow {
            tenant: OWNER,
            digest: Digest::of(&content),
            size_bytes: content.len() as u64,
            is_damaged: false,
        };
        let empty = ArtifactRow {
            digest: Digest::of(b""),
            size_bytes: 0,
            ..whole
        };
        let other = ArtifactRow {
            digest: Digest::of(b"other"),
            ..whole
        };
        let known = ArtifactRow {
            is_damaged: true,
            ..other
        };
        let short = ArtifactRow {
            size_bytes: 700_001,
            ..whole
        };
        let shared = Shared::new(&clock).await;
        for wrong in [other, short] {
            let refused = with_artifacts(&shared, &origin.store, &[(wrong, &content)]).await;
            assert!(
                matches!(refused, Err(TransferError::Damaged(Damage::Artifact { .. }))),
                "{refused:?}"
            );
            assert!(shared.is_empty().await);
        }
        let given = [(whole, content.as_slice()), (empty, &[]), (known, &content)];
        with_artifacts(&shared, &origin.store, &given)
            .await
            .expect("moved");
        let artifacts = shared.store.artifacts(10 << 30, &TestSpawner);
        let read = artifacts.get(OWNER, whole.digest, None).await.expect("read");
        assert_eq!(read.as_deref(), Some(content.as_slice()));
        let read = artifacts.get(OWNER, empty.digest, None).await.expect("read");
        assert_eq!(read.as_deref(), Some(&[][..]));
        let read = artifacts.get(OWNER, known.digest, None).await;
        assert!(
            matches!(read, Err(ArtifactError::Damaged { .. })),
            "what was damaged is told as damaged: {read:?}"
        );
        let used = artifacts.usage(OWNER).await.expect("usage").used_bytes;
        assert_eq!(used, 2 * content.len() as u64);
        let (give, mut given) = channel(2);
        let collect = async {
            let mut found: Vec<(ArtifactRow, Vec<u8>)> = Vec::new();
            while let Some(rows) = given.recv().await {
                match rows {
                    Rows::Artifact(row) => found.push((row, Vec::new())),
                    Rows::Piece(piece) => found.last_mut().expect("an artifact").1.extend(piece.0),
                    _ => {}
                }
            }
            found
        };
        let (exported, found) = futures_util::join!(shared.store.export(give), collect);
        exported.expect("exported");
        assert_eq!(found.len(), 3);
        for (row, bytes) in found {
            let expected: &[u8] = if row.size_bytes == 0 { &[] } else { &content };
            assert!(bytes == expected, "{row:?}");
        }
    });
}

/// Takes rows with artifacts before them.
async fn with_artifacts(
    shared: &Shared,
    source: &SqliteStore,
    artifacts: &[(ArtifactRow, &[u8])],
) -> Result<TreeHead, TransferError> {
    let (give, given) = channel(2);
    let (pass, passed) = channel(2);
    let passing = async {
        for (row, content) in artifacts {
            let pieces = content
                .chunks(100_000)
                .map(|piece| Rows::Piece(Piece(piece.to_vec())));
            for rows in std::iter::once(Rows::Artifact(*row)).chain(pieces) {
                // who refuses takes nothing more
                let _refused = pass.send(rows).await;
            }
        }
        pass_on(given, pass, Some).await;
    };
    let (_, (), taken) = futures_util::join!(source.export(give), passing, shared.store.import(passed));
    taken
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever happened before the move, what happens after it gets the same answers there as here.
    #[test]
    fn a_moved_history_goes_on_as_the_other(
        before in model::operations(40),
        after in model::operations(12),
    ) {
        block_on(async {
            let (here, there) = (Arc::new(ManualClock::new()), Arc::new(ManualClock::new()));
            let origin = Embedded::new(&here);
            let harness = origin.harness(&here);
            model::play(&harness, &before).await;
            let now = here.now().as_micros() - there.now().as_micros();
            there.advance(Duration::from_micros(now as u64));
            let shared = Shared::new(&there).await;
            shared.take(&origin.store).await.expect("moved");
            let back = Embedded::of(&shared.store, &there).await;
            prop_assert_eq!(origin.tables(), back.tables());
            model::compare_after(before.len(), &harness, &shared.harness(&there), &after).await
        })?;
    }
}

#[test]
fn a_holder_is_told_of_what_it_holds_after_the_move() {
    let clock = Arc::new(ManualClock::new());
    block_on(async {
        let (origin, work) = filled(&clock).await;
        let shared = Shared::new(&clock).await;
        shared.take(&origin.store).await.expect("moved");
        let held = Stores::of(&shared.store)
            .reader
            .held_by(work.holder)
            .await
            .expect("what it holds");
        assert!(matches!(work.holder, Holder::Agent(_)));
        assert_eq!(
            held.iter().map(|stored| stored.task.id).collect::<Vec<_>>(),
            [work.task]
        );
    });
}
