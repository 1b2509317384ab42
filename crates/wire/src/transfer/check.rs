//! What every store checks of the rows that it takes.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_audit::batch::entries_as_they_stand;
use arbiter_audit::detail::Detail;
use arbiter_audit::log::LogVerifier;
use arbiter_audit::tile::{Tile, TileWriter};
use arbiter_audit::view::LeafView;
use arbiter_core::model::{
    Attempt, Digest, LaneId, LaneKey, RegisteredAgent, StageReport, Task, TaskSpec, TenantId, Timestamp,
};

use super::{AgentRow, BatchRow, Body, Counts, Damage, DocumentRow, End, SignedRow, TaskRow};
use crate::stored::{
    CodecError, TaskColumns, decode_agent, decode_attempt, decode_lane, decode_spec, decode_stage_report,
    decode_status, scope_key, tally_place,
};

/// Reads rows as they come, and compares them with each other at the end.
///
/// Memory: the edge of the tree, 24 bytes per task in the audit log, one count per tenant and per scope in use.
#[derive(Debug, Default)]
pub struct Check {
    log: LogVerifier,
    tiles: TileWriter,
    signed: Option<SignedRow>,
    tallies: BTreeMap<TenantId, [i64; 5]>,
    told_tallies: BTreeMap<TenantId, [i64; 5]>,
    loads: BTreeMap<String, i64>,
    told_loads: BTreeMap<String, i64>,
}

/// A task that was read.
#[derive(Debug)]
pub struct CheckedTask {
    /// The task.
    pub task: Task,
    /// The columns that indexes need.
    pub columns: TaskColumns,
    /// What was asked for.
    pub spec: TaskSpec,
    /// Its finished attempts.
    pub attempts: Vec<Attempt>,
    /// The reports of its review stages.
    pub stages: Vec<StageReport>,
}

/// A commit of the audit log that has its place in the tree.
#[derive(Debug)]
pub struct PlacedBatch {
    /// The tiles that it completes.
    pub tiles: Vec<Tile>,
    /// The root after it.
    pub root: Digest,
    /// When its last entry was written.
    pub at: Timestamp,
}

impl Check {
    /// Reads a task, and counts where it stands and what its leases take up.
    ///
    /// # Errors
    /// [`Damage::Body`], [`Damage::Row`]
    pub fn task(&mut self, row: &TaskRow) -> Result<CheckedTask, Damage> {
        let task = decode_status(&row.status.0).map_err(body("task"))?;
        if task.id != row.id {
            return Err(wrong("task", "its id is that of another one"));
        }
        if let Some(count) = tally_place(&task.state)
            .and_then(|place| self.tallies.entry(task.tenant).or_default().get_mut(place))
        {
            *count += 1;
        }
        let open = task.state.lease().map(|lease| &lease.loads);
        let cut = task.releases.iter().map(|release| &release.loads);
        for scope in open.into_iter().chain(cut).flatten() {
            *self.loads.entry(scope_key(scope)).or_default() += 1;
        }
        Ok(CheckedTask {
            columns: TaskColumns::of(&task),
            spec: decode_spec(&row.spec.0).map_err(body("task_spec"))?,
            attempts: all(&row.attempts, decode_attempt, "attempt")?,
            stages: all(&row.stages, decode_stage_report, "stage_report")?,
            task,
        })
    }

    /// Reads the name of a lane, from which its number follows.
    ///
    /// # Errors
    /// [`Damage::Body`], [`Damage::Row`]
    pub fn lane(&self, lane: LaneId, text: &Body) -> Result<LaneKey, Damage> {
        let key = decode_lane(&text.0).map_err(body("lane"))?;
        if key.id() == lane {
            Ok(key)
        } else {
            Err(wrong("lane", "its number is that of another name"))
        }
    }

    /// Reads an agent; none if it was removed.
    ///
    /// # Errors
    /// [`Damage::Body`], [`Damage::Row`]
    pub fn agent(&self, row: &AgentRow) -> Result<Option<RegisteredAgent>, Damage> {
        let Some(text) = &row.body else { return Ok(None) };
        let agent = decode_agent(&text.0).map_err(body("agent"))?;
        if agent.profile.id == row.id {
            Ok(Some(agent))
        } else {
            Err(wrong("agent", "its id is that of another one"))
        }
    }

    /// The declared values of a document, each once.
    ///
    /// # Errors
    /// [`Damage::Row`]
    pub fn declared(&self, row: &DocumentRow) -> Result<BTreeSet<(String, String)>, Damage> {
        let Some(text) = &row.entries else {
            return Ok(BTreeSet::new());
        };
        let entries: Vec<(String, String)> = serde_json::from_str(text)
            .map_err(|_| wrong("document", "its declared values are no list of names and values"))?;
        Ok(entries.into_iter().collect())
    }

    /// Takes what was counted of scopes.
    pub fn loads(&mut self, rows: &[(String, i64)]) {
        self.told_loads.extend(rows.iter().cloned());
    }

    /// Takes what was counted of tenants.
    pub fn tallies(&mut self, rows: &[(TenantId, [i64; 5])]) {
        self.told_tallies.extend(rows.iter().copied());
    }

    /// Takes the head that was signed last. The entries that it covers must come after it.
    ///
    /// # Errors
    /// [`Damage::Row`]
    pub fn signed(&mut self, row: &SignedRow) -> Result<(), Damage> {
        if self.log.entries() > 0 || self.signed.is_some() {
            return Err(wrong("audit_checkpoint", "it came after what it covers"));
        }
        self.signed = Some(row.clone());
        Ok(())
    }

    /// Checks every entry of a commit, and places it behind the one before.
    ///
    /// # Errors
    /// [`Damage::Log`] names the first entry that is not what was written; [`Damage::Row`], [`Damage::Signed`].
    pub fn batch(&mut self, row: &BatchRow) -> Result<PlacedBatch, Damage> {
        let entries = entries_as_they_stand(row.first, &row.leaves, row.details.as_deref());
        let (hashes, rest) = row.hashes.as_chunks::<32>();
        if row.first != self.log.entries() {
            return Err(wrong("audit_batch", "it does not follow the one before"));
        }
        let counted = usize::try_from(row.count).ok();
        if entries.is_empty()
            || !rest.is_empty()
            || hashes.len() != entries.len()
            || counted != Some(entries.len())
        {
            return Err(wrong("audit_batch", "it has another number of entries"));
        }
        let mut tiles = Vec::new();
        for (entry, hash) in entries.iter().zip(hashes) {
            let hash = Digest::from_bytes(*hash);
            let detail = entry.detail.as_ref().map(|detail| Detail {
                salt: detail.salt,
                body: detail.body.as_str().as_bytes().to_vec(),
            });
            self.log
                .entry(&entry.leaf, &hash, detail.as_ref())
                .map_err(Damage::Log)?;
            let complete = self.tiles.append(&[hash]);
            tiles.extend(complete.map_err(|_| wrong("audit_batch", "the tree is full"))?);
            self.compare_with_signed()?;
        }
        let last = entries.last().and_then(|entry| LeafView::parse(&entry.leaf).ok());
        Ok(PlacedBatch {
            tiles,
            root: self.tiles.frontier().root(),
            at: last.map_or(Timestamp::from_micros(0), |leaf| leaf.at),
        })
    }

    fn compare_with_signed(&self) -> Result<(), Damage> {
        let tree = self.tiles.frontier();
        match &self.signed {
            Some(signed) if signed.size == tree.size() && signed.root != tree.root() => {
                Err(Damage::Signed { size: signed.size })
            }
            _ => Ok(()),
        }
    }

    /// The edge of the tree as it stands.
    pub const fn tiles(&self) -> &TileWriter {
        &self.tiles
    }

    /// Compares what came with what the giving store says of it. `kept` are the rows that the taking store has now.
    ///
    /// # Errors
    /// The first thing that does not add up.
    pub fn finish(&self, end: &End, kept: &Counts) -> Result<(), Damage> {
        let (found, root) = (self.tiles.frontier().size(), self.tiles.frontier().root());
        if (found, root) != (end.size, end.root) {
            return Err(Damage::Head { found, root });
        }
        if let Some(signed) = self.signed.as_ref().filter(|signed| signed.size > found) {
            return Err(Damage::Signed { size: signed.size });
        }
        if let Some(table) = end.counts.difference(kept) {
            let (told, found) = (end.counts.of(table), kept.of(table));
            return Err(Damage::Count { table, told, found });
        }
        if let Some(tenant) = difference(&self.tallies, &self.told_tallies) {
            return Err(Damage::Tally { tenant: *tenant });
        }
        if let Some(scope) = difference(&self.loads, &self.told_loads) {
            let scope = scope.clone();
            return Err(Damage::Load { scope });
        }
        Ok(())
    }
}

/// The first key that counts differently; one that is missing counts nothing.
fn difference<'a, K: Ord, V: Copy + Default + PartialEq>(
    one: &'a BTreeMap<K, V>,
    other: &'a BTreeMap<K, V>,
) -> Option<&'a K> {
    let count = |map: &BTreeMap<K, V>, key| map.get(key).copied().unwrap_or_default();
    (one.keys().chain(other.keys())).find(|key| count(one, *key) != count(other, *key))
}

fn all<T>(
    texts: &[Body],
    decode: fn(&str) -> Result<T, CodecError>,
    table: &'static str,
) -> Result<Vec<T>, Damage> {
    let decoded = texts.iter().map(|text| decode(&text.0).map_err(body(table)));
    decoded.collect()
}

fn body(table: &'static str) -> impl Fn(CodecError) -> Damage {
    move |source| Damage::Body { table, source }
}

const fn wrong(table: &'static str, what: &'static str) -> Damage {
    Damage::Row { table, what }
}
