//! One commit in the making: the transaction, what the writer remembers, and how to undo a job.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

use arbiter_core::lifecycle::{LoadDelta, Rules};
use arbiter_core::model::{LaneId, LaneKey, Record, State, Task, TaskId, TaskSpec, TenantId, Timestamp};
use arbiter_core::ports::{Entropy, Scope};
use arbiter_wire::stored::{decode_lane, encode_lane, scope_key, tally_place};
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use crate::error::Fault;
use crate::leaves::{Leaves, Mark as LeafMark};

/// How many lanes, scopes and tenants the writer remembers of each; more, and it forgets all of them.
const REMEMBERED: usize = 20_000;

/// How many specifications of newly submitted tasks the writer remembers for their claims.
const REMEMBERED_SPECS: usize = 4096;

/// A specification with longer texts is not remembered.
const REMEMBERED_SPEC_BYTES: usize = 2048;

/// What the writer knows without asking the database. Only the writer changes the database, so it cannot be stale.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    lanes: HashMap<LaneId, Arc<LaneKey>>,
    loads: HashMap<Scope, Count<i64>>,
    tallies: HashMap<TenantId, Count<Tallied>>,
    specs: HashMap<TaskId, Arc<TaskSpec>>,
    spec_order: VecDeque<TaskId>,
}

/// Open tasks by where they stand: queued, running, reviewing, held, dead.
pub(crate) type Tallied = [i64; 5];

/// A counter, with the value that the database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count<T> {
    now: T,
    stored: T,
}

/// One step back.
#[derive(Debug)]
enum Undo {
    Lane(LaneId),
    Load(Scope, i64),
    Tally(TenantId, Tallied),
    Spec(TaskId),
    Forgotten(TenantId),
}

/// A place inside a group to which a job can be undone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    leaves: LeafMark,
    undo: usize,
    changes: u64,
}

/// The transaction that jobs work in.
pub(crate) struct Group<'a> {
    pub(crate) connection: &'a Connection,
    cache: &'a mut Cache,
    /// The store's clock, read once for the group.
    pub(crate) now: Timestamp,
    pub(crate) rules: &'a Rules,
    entropy: &'a dyn Entropy,
    leaves: &'a mut Leaves,
    undo: Vec<Undo>,
    scrubs: bool,
}

impl std::fmt::Debug for Group<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("now", &self.now)
            .finish_non_exhaustive()
    }
}

impl<'a> Group<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        cache: &'a mut Cache,
        leaves: &'a mut Leaves,
        (rules, entropy): (&'a Rules, &'a dyn Entropy),
        now: Timestamp,
    ) -> Self {
        leaves.clear();
        Self {
            connection,
            cache,
            now,
            rules,
            entropy,
            leaves,
            undo: Vec::new(),
            scrubs: false,
        }
    }

    /// What the group deletes must be in no file any more: the log of writes is emptied after the commit.
    pub(crate) const fn scrub(&mut self) {
        self.scrubs = true;
    }

    /// Whether something was deleted that no file may have any more.
    pub(crate) const fn scrubs(&self) -> bool {
        self.scrubs
    }

    /// Deletes the row of a lane.
    pub(crate) fn forget_lane(&mut self, lane: LaneId) -> Result<(), Fault> {
        // Remembered or not: what is forgotten is read again.
        self.cache.lanes.remove(&lane);
        self.statement("DELETE FROM lane WHERE lane = ?1")?
            .execute([lane.0])?;
        Ok(())
    }

    /// Deletes the row of a tally whose counts are zero.
    pub(crate) fn forget_tally(&mut self, tenant: TenantId) -> Result<(), Fault> {
        if self.tally(tenant)? != Tallied::default() {
            return Err(Fault::Damaged("tally"));
        }
        self.statement("DELETE FROM tally WHERE tenant = ?1")?
            .execute([tenant.as_bytes()])?;
        if let Some(count) = self.cache.tallies.get_mut(&tenant) {
            // So that nothing is left to write; the group may be undone, and then the row is read again.
            count.stored = count.now;
        }
        self.undo.push(Undo::Forgotten(tenant));
        Ok(())
    }

    pub(crate) fn statement(&self, sql: &str) -> Result<CachedStatement<'a>, Fault> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    /// Appends the leaf of a record.
    pub(crate) fn leaf(&mut self, record: Record) -> Result<(), Fault> {
        let entropy = self.entropy;
        self.leaves.push(&record, || {
            let mut salt = [0; 16];
            entropy.fill(&mut salt);
            salt
        })
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            leaves: self.leaves.mark(),
            undo: self.undo.len(),
            changes: self.connection.total_changes(),
        }
    }

    /// Whether anything in the database was changed since.
    pub(crate) fn wrote_since(&self, mark: &Mark) -> bool {
        self.connection.total_changes() != mark.changes
    }

    /// Takes back everything but what stands in the database.
    pub(crate) fn back_to(&mut self, mark: Mark) {
        self.leaves.cut(mark.leaves);
        for step in self.undo.drain(mark.undo..).rev() {
            match step {
                Undo::Lane(lane) => drop(self.cache.lanes.remove(&lane)),
                Undo::Spec(task) => drop(self.cache.specs.remove(&task)),
                Undo::Forgotten(tenant) => drop(self.cache.tallies.remove(&tenant)),
                Undo::Load(scope, used) => {
                    if let Some(count) = self.cache.loads.get_mut(&scope) {
                        count.now = used;
                    }
                }
                Undo::Tally(tenant, counts) => {
                    if let Some(count) = self.cache.tallies.get_mut(&tenant) {
                        count.now = counts;
                    }
                }
            }
        }
    }

    /// Makes sure that the lane has a row.
    pub(crate) fn keep_lane(&mut self, id: LaneId, key: impl FnOnce() -> LaneKey) -> Result<(), Fault> {
        if self.cache.lanes.contains_key(&id) {
            return Ok(());
        }
        let key = key();
        let body = encode_lane(&key)?;
        self.statement("INSERT INTO lane (lane, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![id.0, body])?;
        self.remember_lane(id, key);
        Ok(())
    }

    fn remember_lane(&mut self, id: LaneId, key: LaneKey) -> Arc<LaneKey> {
        let key = Arc::new(key);
        self.cache.lanes.insert(id, Arc::clone(&key));
        self.undo.push(Undo::Lane(id));
        key
    }

    /// The full name of a lane; none if it was never used.
    pub(crate) fn lane(&mut self, id: LaneId) -> Result<Option<Arc<LaneKey>>, Fault> {
        if let Some(key) = self.cache.lanes.get(&id) {
            return Ok(Some(Arc::clone(key)));
        }
        let body: Option<String> = self
            .statement("SELECT body FROM lane WHERE lane = ?1")?
            .query_row([id.0], |row| row.get(0))
            .optional()?;
        let Some(body) = body else { return Ok(None) };
        let key = decode_lane(&body)?;
        Ok(Some(self.remember_lane(id, key)))
    }

    /// How much of a scope is taken.
    pub(crate) fn used(&mut self, scope: &Scope) -> Result<i64, Fault> {
        if let Some(count) = self.cache.loads.get(scope) {
            return Ok(count.now);
        }
        let stored: Option<i64> = self
            .statement("SELECT used FROM load WHERE scope = ?1")?
            .query_row([scope_key(scope)], |row| row.get(0))
            .optional()?;
        let stored = stored.unwrap_or(0);
        let count = Count { now: stored, stored };
        self.cache.loads.insert(scope.clone(), count);
        Ok(stored)
    }

    /// Takes up or gives back.
    pub(crate) fn count(&mut self, deltas: Vec<LoadDelta>) -> Result<(), Fault> {
        for LoadDelta { scope, by } in deltas {
            let used = self.used(&scope)?;
            let next = used + i64::from(by);
            if next < 0 {
                return Err(Fault::Damaged("load"));
            }
            if let Some(count) = self.cache.loads.get_mut(&scope) {
                count.now = next;
            }
            self.undo.push(Undo::Load(scope, used));
        }
        Ok(())
    }

    /// Where a tenant's tasks stand.
    pub(crate) fn tally(&mut self, tenant: TenantId) -> Result<Tallied, Fault> {
        if let Some(count) = self.cache.tallies.get(&tenant) {
            return Ok(count.now);
        }
        let stored = read_tally(self.connection, tenant)?;
        let count = Count { now: stored, stored };
        self.cache.tallies.insert(tenant, count);
        Ok(stored)
    }

    /// Moves a task from one place of its tenant's tally to another.
    pub(crate) fn retally(
        &mut self,
        tenant: TenantId,
        from: Option<&State>,
        to: Option<&State>,
    ) -> Result<(), Fault> {
        let (from, to) = (from.and_then(tally_place), to.and_then(tally_place));
        if from == to {
            return Ok(());
        }
        let before = self.tally(tenant)?;
        let mut after = before;
        for (place, by) in [(from, -1), (to, 1)] {
            if let Some(slot) = place.and_then(|place| after.get_mut(place)) {
                *slot += by;
            }
        }
        if after.iter().any(|count| *count < 0) {
            return Err(Fault::Damaged("tally"));
        }
        if let Some(count) = self.cache.tallies.get_mut(&tenant) {
            count.now = after;
        }
        self.undo.push(Undo::Tally(tenant, before));
        Ok(())
    }

    /// Remembers the specification of a task that will be claimed soon.
    pub(crate) fn remember_spec(&mut self, task: TaskId, spec: &Arc<TaskSpec>) {
        let carried = spec
            .input
            .as_ref()
            .map_or(0, arbiter_core::model::Json::len_bytes);
        if spec.instructions.len() + carried > REMEMBERED_SPEC_BYTES {
            return;
        }
        while self.cache.spec_order.len() >= REMEMBERED_SPECS {
            if let Some(oldest) = self.cache.spec_order.pop_front() {
                self.cache.specs.remove(&oldest);
            }
        }
        self.cache.specs.insert(task, Arc::clone(spec));
        self.cache.spec_order.push_back(task);
        self.undo.push(Undo::Spec(task));
    }

    /// The remembered specification of a task.
    pub(crate) fn remembered_spec(&self, task: &Task) -> Option<Arc<TaskSpec>> {
        self.cache.specs.get(&task.id).map(Arc::clone)
    }

    /// Writes the counters that the jobs changed.
    pub(crate) fn write_counts(&mut self) -> Result<(), Fault> {
        let steps = std::mem::take(&mut self.undo);
        for step in steps {
            match step {
                Undo::Load(scope, _) => self.write_load(&scope)?,
                Undo::Tally(tenant, _) => self.write_tally(tenant)?,
                Undo::Lane(_) | Undo::Spec(_) | Undo::Forgotten(_) => {}
            }
        }
        Ok(())
    }

    fn write_load(&mut self, scope: &Scope) -> Result<(), Fault> {
        let Some(count) = self
            .cache
            .loads
            .get_mut(scope)
            .filter(|count| count.now != count.stored)
        else {
            return Ok(());
        };
        count.stored = count.now;
        let used = count.now;
        let key = scope_key(scope);
        if used == 0 {
            self.statement("DELETE FROM load WHERE scope = ?1")?
                .execute([key])?;
        } else {
            self.statement(
                "INSERT INTO load (scope, used) VALUES (?1, ?2)
                 ON CONFLICT (scope) DO UPDATE SET used = excluded.used",
            )?
            .execute(params![key, used])?;
        }
        Ok(())
    }

    fn write_tally(&mut self, tenant: TenantId) -> Result<(), Fault> {
        let changed = self
            .cache
            .tallies
            .get_mut(&tenant)
            .filter(|count| count.now != count.stored);
        let Some(count) = changed else { return Ok(()) };
        count.stored = count.now;
        let [queued, running, reviewing, held, dead] = count.now;
        self.statement(
            "INSERT INTO tally (tenant, queued, running, reviewing, held, dead) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (tenant) DO UPDATE SET queued = excluded.queued, running = excluded.running,
               reviewing = excluded.reviewing, held = excluded.held, dead = excluded.dead",
        )?
        .execute(params![tenant.as_bytes(), queued, running, reviewing, held, dead])?;
        Ok(())
    }

    pub(crate) fn leaves(&self) -> &Leaves {
        self.leaves
    }
}

impl Cache {
    /// Keeps memory bounded; called between groups.
    pub(crate) fn trim(&mut self) {
        if self.lanes.len() > REMEMBERED {
            self.lanes.clear();
        }
        if self.loads.len() > REMEMBERED {
            self.loads.clear();
        }
        if self.tallies.len() > REMEMBERED {
            self.tallies.clear();
        }
    }
}

/// Reads the tally of a tenant; zeros if there is none.
pub(crate) fn read_tally(connection: &Connection, tenant: TenantId) -> Result<Tallied, Fault> {
    let counts = connection
        .prepare_cached("SELECT queued, running, reviewing, held, dead FROM tally WHERE tenant = ?1")?
        .query_row([tenant.as_bytes()], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?])
        })
        .optional()?;
    Ok(counts.unwrap_or_default())
}

/// The tasks of a tally that are not closed.
pub(crate) const fn open(tally: Tallied) -> i64 {
    tally[0] + tally[1] + tally[2] + tally[3]
}
