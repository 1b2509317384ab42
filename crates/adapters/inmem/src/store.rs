//! The store: one mutex around all tables; a call is one transaction.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arbiter_audit::detail::{Detail, SALT_BYTES};
use arbiter_audit::leaf::Leaf;
use arbiter_audit::record::encode_record;
use arbiter_audit::tile::TileWriter;
use arbiter_audit::tree::leaf_hash;
use arbiter_core::lifecycle::Rules;
use arbiter_core::model::{Record, Timestamp};
use arbiter_core::ports::{Applied, BoxError, Clock, Entropy, NewOutboxEntry, Retry, StoreError, TreeHead};

use crate::tables::{LeafRow, OutboxRow, OutboxState, Tables};

/// Every storage port in memory: the model that other stores are compared with.
///
/// Nothing is kept when it is dropped. Each call holds one mutex from its first read to its last write, so calls take
/// effect one after the other; a call that fails, or whose chooser panics, leaves nothing behind. No method waits, so
/// a mutation whose future was polled has committed.
pub struct InMemoryStore {
    rules: Rules,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pub(crate) max_agents: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    tables: Tables,
    tree: TileWriter,
}

impl std::fmt::Debug for InMemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InMemoryStore").finish_non_exhaustive()
    }
}

impl InMemoryStore {
    /// How many agents the registry takes unless told otherwise.
    pub const MAX_AGENTS: usize = 10_000;

    /// An empty store. Leases and due times follow `clock`; the salts of audit details come from `entropy`.
    pub fn new(rules: Rules, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            rules,
            clock,
            entropy,
            max_agents: Self::MAX_AGENTS,
            kept: Mutex::default(),
        }
    }

    /// The store with another limit of registered agents.
    pub fn with_max_agents(mut self, max_agents: usize) -> Self {
        self.max_agents = max_agents;
        self
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads at one moment.
    pub(crate) fn read<T>(&self, work: impl FnOnce(&Tables, Timestamp) -> T) -> T {
        let kept = self.kept();
        work(&kept.tables, self.clock.now())
    }

    /// The edge of the audit tree, and its complete tiles.
    pub(crate) fn tree<T>(&self, work: impl FnOnce(&TileWriter, &Tables) -> T) -> T {
        let kept = self.kept();
        work(&kept.tree, &kept.tables)
    }

    /// Does all of `work` or nothing of it.
    pub(crate) fn write<T, E: From<StoreError>>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut kept = self.kept();
        let Kept { tables, tree } = &mut *kept;
        let mut transaction = Transaction {
            tables,
            now: self.clock.now(),
            rules: &self.rules,
            entropy: &*self.entropy,
            leaves: Vec::new(),
            operation,
        };
        let worked = std::panic::catch_unwind(AssertUnwindSafe(|| work(&mut transaction)));
        let leaves = std::mem::take(&mut transaction.leaves);
        let done = match worked {
            Ok(Ok(done)) => place(tables, tree, leaves)
                .map(|()| done)
                .map_err(|why| failed(operation, why).into()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(failed(operation, "a part of the call panicked").into()),
        };
        match &done {
            Ok(_) => tables.commit(),
            Err(_) => tables.roll_back(),
        }
        done
    }
}

/// Gives leaves their places at the end of the log.
fn place(tables: &mut Tables, tree: &mut TileWriter, leaves: Vec<LeafRow>) -> Result<(), BoxError> {
    let first = tree.frontier().size();
    let hashes: Vec<_> = leaves.iter().map(|row| leaf_hash(&row.bytes)).collect();
    for tile in tree.append(&hashes)? {
        tables.tiles.put((tile.id.level(), tile.id.index()), tile.hashes);
    }
    for (index, row) in (first..).zip(leaves) {
        tables.leaves.put(index, row);
    }
    Ok(())
}

/// Size and root of a tree.
pub(crate) fn head_of(tree: &TileWriter) -> TreeHead {
    TreeHead {
        size: tree.frontier().size(),
        root: tree.frontier().root(),
    }
}

/// One call in the making.
pub(crate) struct Transaction<'a> {
    pub(crate) tables: &'a mut Tables,
    /// The store's clock, read once.
    pub(crate) now: Timestamp,
    pub(crate) rules: &'a Rules,
    entropy: &'a dyn Entropy,
    leaves: Vec<LeafRow>,
    operation: &'static str,
}

impl Transaction<'_> {
    /// Writes the leaf of a record.
    pub(crate) fn leaf(&mut self, record: &Record) -> Result<(), StoreError> {
        let mut salt = [0; SALT_BYTES];
        if record.detail.is_some() {
            self.entropy.fill(&mut salt);
        }
        let (leaf, detail): (Leaf, Option<Detail>) =
            encode_record(record, salt).map_err(|error| self.failed(error))?;
        let bytes = leaf.encode();
        self.leaves.push(LeafRow { leaf, bytes, detail });
        Ok(())
    }

    /// Writes entries for outside; one that is there already stays as it is.
    pub(crate) fn outbox(&mut self, entries: &[NewOutboxEntry]) {
        for entry in entries {
            if self.tables.outbox.contains(&entry.id) {
                continue;
            }
            let row = OutboxRow {
                topic: entry.topic.clone(),
                about: entry.about,
                body: entry.body.clone(),
                tries: 0,
                state: OutboxState::Due(self.now),
            };
            self.tables
                .outbox_due
                .put((entry.topic.clone(), self.now, entry.id), ());
            self.tables.outbox.put(entry.id, row);
        }
    }

    /// A failure of this call, for good.
    pub(crate) fn failed(&self, source: impl Into<BoxError>) -> StoreError {
        failed(self.operation, source)
    }

    /// Something stored that does not hold what it must.
    pub(crate) fn corrupt(&self, what: &'static str) -> StoreError {
        StoreError::Corrupt {
            operation: self.operation,
            what,
            source: "it does not hold what it must".into(),
        }
    }
}

fn failed(operation: &'static str, source: impl Into<BoxError>) -> StoreError {
    StoreError::Backend {
        operation,
        applied: Applied::No,
        retry: Retry::Permanent,
        source: source.into(),
    }
}
