//! One commit in the making: the tasks that it has locked, and everything that it will write.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::lifecycle::{Change, LoadDelta, Rules};
use arbiter_core::model::{
    Attempt, CommandId, Fence, LaneId, LaneKey, Record, StageReport, State, Task, TaskId, TenantId, Timestamp,
};
use arbiter_core::ports::{NewOutboxEntry, NewTask, Scope};
use arbiter_wire::stored::tally_place;

use crate::error::Fault;

/// Open tasks by where they stand: queued, running, reviewing, held, dead.
pub(super) type Tallied = [i64; 5];

/// A task of the group.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) task: Task,
    /// It is not stored yet.
    pub(super) is_new: bool,
    pub(super) is_changed: bool,
}

/// What a commit reads and writes. Nothing here touches the database: [`Group::flush`] does.
#[derive(Debug)]
pub(super) struct Group<'r> {
    pub(super) rules: &'r Rules,
    /// The store's clock, read once for the transaction.
    pub(super) now: Timestamp,
    pub(super) entries: BTreeMap<TaskId, Entry>,
    pub(super) submitted: BTreeMap<TaskId, &'r NewTask>,
    pub(super) attempts: BTreeMap<(TaskId, Fence), (TenantId, Attempt)>,
    pub(super) stages: BTreeMap<(TaskId, Fence, i16), (TenantId, StageReport)>,
    pub(super) awaited: BTreeSet<(TaskId, TaskId)>,
    pub(super) told: BTreeSet<(TaskId, TaskId)>,
    pub(super) lanes: BTreeMap<LaneId, LaneKey>,
    pub(super) loads: BTreeMap<Scope, i64>,
    pub(super) tallies: BTreeMap<TenantId, Tallied>,
    pub(super) outbox: Vec<NewOutboxEntry>,
    pub(super) records: Vec<Record>,
}

impl<'r> Group<'r> {
    pub(super) const fn new(rules: &'r Rules, now: Timestamp) -> Self {
        Self {
            rules,
            now,
            entries: BTreeMap::new(),
            submitted: BTreeMap::new(),
            attempts: BTreeMap::new(),
            stages: BTreeMap::new(),
            awaited: BTreeSet::new(),
            told: BTreeSet::new(),
            lanes: BTreeMap::new(),
            loads: BTreeMap::new(),
            tallies: BTreeMap::new(),
            outbox: Vec::new(),
            records: Vec::new(),
        }
    }

    /// Takes tasks in that were read under their locks. What the group has changed already stays.
    pub(super) fn take(&mut self, tasks: impl IntoIterator<Item = Task>) {
        for task in tasks {
            self.entries.entry(task.id).or_insert(Entry {
                task,
                is_new: false,
                is_changed: false,
            });
        }
    }

    /// A task as the group leaves it.
    pub(super) fn find(&self, id: TaskId) -> Option<&Task> {
        self.entries.get(&id).map(|entry| &entry.task)
    }

    /// A task of a tenant as the group leaves it.
    pub(super) fn find_in(&self, tenant: TenantId, id: TaskId) -> Option<&Task> {
        self.find(id).filter(|task| task.tenant == tenant)
    }

    /// Notes on a task that others wait for its end: no transition, so no version.
    pub(super) fn mark_awaited(&mut self, id: TaskId, has_dependants: bool) {
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.task.has_dependants != has_dependants
        {
            entry.task.has_dependants = has_dependants;
            entry.is_changed = true;
        }
    }

    /// Adds a task that is to be stored.
    pub(super) fn add(&mut self, task: Task, new: &'r NewTask) {
        self.retally(task.tenant, None, Some(&task.state));
        self.submitted.insert(task.id, new);
        self.entries.insert(
            task.id,
            Entry {
                task,
                is_new: true,
                is_changed: true,
            },
        );
    }

    /// Keeps everything that a change says, and the entries for outside if it made a transition.
    pub(super) fn save(&mut self, before: &Task, change: Change, outbox: &[NewOutboxEntry]) -> Task {
        let Change {
            next,
            ended,
            stage,
            loads,
            record,
        } = change;
        if next != *before {
            if let State::Reviewing { stage, .. } = next.state {
                let lane = next.lane_now();
                if lane != before.lane_now() {
                    self.lanes.entry(lane).or_insert_with(|| next.review_lane(stage));
                }
            }
            self.retally(next.tenant, Some(&before.state), Some(&next.state));
            if let Some(entry) = self.entries.get_mut(&next.id) {
                entry.task = next.clone();
                entry.is_changed = true;
            }
        }
        if let Some(attempt) = ended {
            let key = (next.id, attempt.open.fence);
            self.attempts.insert(key, (next.tenant, attempt));
        }
        if let Some(report) = stage {
            let key = (
                next.id,
                report.fence,
                arbiter_wire::stored::stage_code(report.stage),
            );
            self.stages.insert(key, (next.tenant, report));
        }
        self.count(loads);
        if let Some(record) = record {
            self.outbox.extend_from_slice(outbox);
            self.records.push(record);
        }
        next
    }

    /// Takes up or gives back.
    pub(super) fn count(&mut self, deltas: impl IntoIterator<Item = LoadDelta>) {
        for LoadDelta { scope, by } in deltas {
            *self.loads.entry(scope).or_default() += i64::from(by);
        }
    }

    /// Moves a task from one place of its tenant's tally to another.
    pub(super) fn retally(&mut self, tenant: TenantId, from: Option<&State>, to: Option<&State>) {
        let (from, to) = (from.and_then(tally_place), to.and_then(tally_place));
        if from == to {
            return;
        }
        let counts = self.tallies.entry(tenant).or_default();
        for (place, by) in [(from, -1), (to, 1)] {
            if let Some(count) = place.and_then(|place| counts.get_mut(place)) {
                *count += by;
            }
        }
    }

    /// Whether the group ends an attempt or a stage of a task by this command.
    pub(super) fn ends_by(&self, task: TaskId, fence: Fence, command: CommandId) -> bool {
        let attempt = self.attempts.get(&(task, fence));
        let stages = self.stages.range((task, Fence(0), i16::MIN)..);
        let mut stages = stages.take_while(|((of, _, _), _)| *of == task);
        attempt.is_some_and(|(_, attempt)| attempt.command == command)
            || stages.any(|(_, (_, report))| report.command == command)
    }

    /// The task that a decision was just made about; it was taken in before.
    pub(super) fn known(&self, id: TaskId) -> Result<Task, Fault> {
        self.find(id).cloned().ok_or(Fault::Damaged("task"))
    }
}
