//! Submitting: decide about every task of a request first, then store those that pass.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arbiter_core::lifecycle::{Change, admit};
use arbiter_core::model::{
    AuditAction, LaneKey, Record, RecordOutcome, Resource, Shape, State, Task, TaskId, TenantId, Timestamp,
    Work,
};
use arbiter_core::ports::{Idempotency, NewTask, SubmitRefusal, SubmitRequest, Submitted};
use arbiter_wire::stored::encode_spec;
use rusqlite::{OptionalExtension as _, params};

use crate::error::Fault;
use crate::group::{Group, open};
use crate::number::natural;
use crate::row::{TaskRow, find, find_in, insert, put_outbox, update};

/// Stores new tasks.
pub(crate) fn submit(group: &mut Group<'_>, request: &SubmitRequest) -> Result<Vec<Submitted>, Fault> {
    let tasks = &request.tasks;
    let mut plan = Plan::of(group, tasks)?;
    plan.refuse_expired(group.now);
    plan.refuse_cycles();
    while plan.refuse_unknown(group)? || plan.refuse_over_limit(group)? {}
    if request.all_or_nothing {
        plan.all_or_nothing();
    }
    let mut placed = Placed::default();
    for (new, verdict) in tasks.iter().zip(&plan.verdicts) {
        match verdict {
            None => placed.store(group, new, &plan)?,
            Some(verdict) => {
                if let Some(record) = refusal(group, new, verdict) {
                    group.leaf(record)?;
                }
            }
        }
    }
    let answers = tasks
        .iter()
        .zip(plan.verdicts)
        .map(|(new, verdict)| match verdict {
            Some(verdict) => Ok(verdict),
            None => {
                let row = placed
                    .rows
                    .remove(&new.id)
                    .ok_or(Fault::Misuse("a task was given twice"))?;
                Ok(Submitted::Stored(Box::new(row.task)))
            }
        });
    answers.collect()
}

/// What is to become of each task; none yet means that it will be stored.
struct Plan<'a> {
    tasks: &'a [NewTask],
    places: HashMap<TaskId, usize>,
    verdicts: Vec<Option<Submitted>>,
}

impl<'a> Plan<'a> {
    /// Finds repeats: by id, then by key, in the database and among the tasks before.
    fn of(group: &Group<'_>, tasks: &'a [NewTask]) -> Result<Self, Fault> {
        let mut places = HashMap::with_capacity(tasks.len());
        let mut keys: BTreeMap<_, (TaskId, &Idempotency)> = BTreeMap::new();
        let mut verdicts = Vec::with_capacity(tasks.len());
        for (place, new) in tasks.iter().enumerate() {
            if let Some(earlier) = places
                .get(&new.id)
                .and_then(|earlier: &usize| tasks.get(*earlier))
            {
                if earlier.tenant != new.tenant {
                    return Err(Fault::Misuse("the task id is in use"));
                }
                verdicts.push(Some(Submitted::Known(new.id)));
                continue;
            }
            places.insert(new.id, place);
            let mut verdict = known_id(group, new)?;
            if let (None, Some(idempotency)) = (&verdict, &new.idempotency) {
                let key = (new.tenant, new.submitter, &idempotency.key);
                let earlier = keys.get(&key).map(|(id, first)| (*id, first.fingerprint));
                let earlier = match earlier {
                    Some(earlier) => Some(earlier),
                    None => known_key(group, new, idempotency)?,
                };
                match earlier {
                    Some((id, fingerprint)) if fingerprint == idempotency.fingerprint => {
                        verdict = Some(Submitted::Known(id));
                    }
                    Some((id, _)) => verdict = Some(Submitted::Conflict(id)),
                    None => drop(keys.insert(key, (new.id, idempotency))),
                }
            }
            verdicts.push(verdict);
        }
        Ok(Self {
            tasks,
            places,
            verdicts,
        })
    }

    /// The place and verdict of a task of this tenant that stands in the request.
    fn inside(&self, tenant: TenantId, id: TaskId) -> Option<(usize, &Option<Submitted>)> {
        let place = self.places.get(&id).copied()?;
        self.tasks.get(place).filter(|new| new.tenant == tenant)?;
        Some((place, self.verdicts.get(place)?))
    }

    fn is_undecided(&self, place: usize) -> bool {
        matches!(self.verdicts.get(place), Some(None))
    }

    /// The prerequisites of a task that will be stored by the same request.
    fn inner(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        let after = self.tasks.get(place).into_iter();
        let after = after.flat_map(|new| new.spec.after.iter().map(|id| (new.tenant, *id)));
        let inside = after.filter_map(|(tenant, id)| self.inside(tenant, id));
        inside
            .filter(|(_, verdict)| verdict.is_none())
            .map(|(place, _)| place)
    }

    /// Refuses tasks whose deadline has passed.
    fn refuse_expired(&mut self, now: Timestamp) {
        for (new, verdict) in self.tasks.iter().zip(&mut self.verdicts) {
            let passed = new.spec.constraints.deadline.filter(|end| *end <= now);
            if let (None, Some(deadline)) = (&verdict, passed) {
                *verdict = Some(Submitted::Refused(SubmitRefusal::DeadlinePassed(deadline)));
            }
        }
    }

    /// Refuses tasks that, over prerequisites, wait for themselves.
    fn refuse_cycles(&mut self) {
        // tasks whose prerequisites are all taken away stand on no cycle (Kahn 1962, "Topological sorting of large
        // networks"); what remains stands on one or behind one
        let mut left: BTreeSet<usize> = (0..self.tasks.len())
            .filter(|place| self.is_undecided(*place) && self.inner(*place).next().is_some())
            .collect();
        loop {
            let before = left.len();
            let free: Vec<usize> = (left.iter().copied())
                .filter(|place| !self.inner(*place).any(|other| left.contains(&other)))
                .collect();
            left.retain(|place| !free.contains(place));
            if left.len() == before {
                break;
            }
        }
        let on_cycle: Vec<usize> = left
            .iter()
            .copied()
            .filter(|place| self.reaches_itself(*place))
            .collect();
        for place in on_cycle {
            let id = self.tasks.get(place).map(|new| new.id);
            if let (Some(id), Some(verdict)) = (id, self.verdicts.get_mut(place)) {
                *verdict = Some(Submitted::Refused(SubmitRefusal::Cycle(id)));
            }
        }
    }

    fn reaches_itself(&self, start: usize) -> bool {
        let mut seen = BTreeSet::new();
        let mut next: Vec<usize> = self.inner(start).collect();
        while let Some(place) = next.pop() {
            if place == start {
                return true;
            }
            if seen.insert(place) {
                next.extend(self.inner(place));
            }
        }
        false
    }

    /// Refuses tasks with a prerequisite that does not exist and will not be stored; true when it refused any.
    fn refuse_unknown(&mut self, group: &Group<'_>) -> Result<bool, Fault> {
        let mut refused = false;
        for (place, new) in self.tasks.iter().enumerate() {
            if !self.is_undecided(place) {
                continue;
            }
            let mut missing = None;
            for id in &new.spec.after {
                if !self.will_exist(new.tenant, *id) && find_in(group.connection, new.tenant, *id)?.is_none()
                {
                    missing = Some(*id);
                    break;
                }
            }
            if let (Some(id), Some(verdict)) = (missing, self.verdicts.get_mut(place)) {
                *verdict = Some(Submitted::Refused(SubmitRefusal::UnknownPrerequisite(id)));
                refused = true;
            }
        }
        Ok(refused)
    }

    /// Whether a task of the request is stored, or known already.
    fn will_exist(&self, tenant: TenantId, id: TaskId) -> bool {
        let verdict = self.inside(tenant, id).map(|(_, verdict)| verdict);
        matches!(verdict, Some(None | Some(Submitted::Known(_))))
    }

    /// Refuses tasks that would take their tenant over its limit; true when it refused any.
    fn refuse_over_limit(&mut self, group: &mut Group<'_>) -> Result<bool, Fault> {
        let mut refused = false;
        let mut added: BTreeMap<TenantId, u64> = BTreeMap::new();
        for (place, new) in self.tasks.iter().enumerate() {
            if !self.is_undecided(place) {
                continue;
            }
            let added = added.entry(new.tenant).or_default();
            if let Some(limit) = new.open_limit {
                let stored = natural(open(group.tally(new.tenant)?));
                let open = stored + *added;
                if let Some(verdict) = self.verdicts.get_mut(place).filter(|_| open >= limit) {
                    *verdict = Some(Submitted::Refused(SubmitRefusal::BacklogFull { open, limit }));
                    refused = true;
                    continue;
                }
            }
            *added += 1;
        }
        Ok(refused)
    }

    fn all_or_nothing(&mut self) {
        let refused = |verdict: &Option<Submitted>| {
            matches!(verdict, Some(Submitted::Refused(_) | Submitted::Conflict(_)))
        };
        if !self.verdicts.iter().any(refused) {
            return;
        }
        for verdict in self.verdicts.iter_mut().filter(|verdict| verdict.is_none()) {
            *verdict = Some(Submitted::Refused(SubmitRefusal::NeighbourRefused));
        }
    }
}

/// Whether the task is stored already.
fn known_id(group: &Group<'_>, new: &NewTask) -> Result<Option<Submitted>, Fault> {
    let mut statement = group.statement("SELECT tenant FROM task WHERE id = ?1")?;
    let tenant: Option<[u8; 16]> = statement
        .query_row([new.id.as_bytes()], |row| row.get(0))
        .optional()?;
    match tenant {
        None => Ok(None),
        Some(tenant) if tenant == *new.tenant.as_bytes() => Ok(Some(Submitted::Known(new.id))),
        Some(_) => Err(Fault::Misuse("the task id is in use")),
    }
}

/// The task that was submitted under the same key, and its fingerprint.
fn known_key(
    group: &Group<'_>,
    new: &NewTask,
    idempotency: &Idempotency,
) -> Result<Option<(TaskId, arbiter_core::model::Digest)>, Fault> {
    let found = group
        .statement(
            "SELECT task, fingerprint FROM idempotency WHERE tenant = ?1 AND submitter = ?2 AND key = ?3",
        )?
        .query_row(
            params![new.tenant.as_bytes(), new.submitter.as_bytes(), idempotency.key],
            |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, [u8; 32]>(1)?)),
        )
        .optional()?;
    Ok(found.map(|(task, fingerprint)| {
        let fingerprint = arbiter_core::model::Digest::from_bytes(fingerprint);
        (TaskId::from_bytes(task), fingerprint)
    }))
}

/// The record of a task that was not stored; none for a repeat.
fn refusal(group: &Group<'_>, new: &NewTask, verdict: &Submitted) -> Option<Record> {
    let reason = match verdict {
        Submitted::Stored(_) | Submitted::Known(_) => return None,
        Submitted::Conflict(_) => "idempotency_conflict",
        Submitted::Refused(SubmitRefusal::BacklogFull { .. }) => "backlog_full",
        Submitted::Refused(_) => "invalid_task",
    };
    let draft = &new.effects.record;
    let mut actions = draft.actions.clone();
    actions.push(AuditAction::Rejected);
    Some(Record {
        at: group.now,
        tenant: new.tenant,
        principal: draft.principal,
        operation: draft.operation,
        actions,
        resource: Resource::new("task", new.id.to_string()),
        outcome: RecordOutcome::Refused,
        reason: Some(reason),
        count: None,
        detail: draft.detail.clone(),
    })
}

/// The tasks of a request that are stored so far.
#[derive(Default)]
struct Placed {
    rows: HashMap<TaskId, TaskRow>,
    /// Tasks for which earlier ones of the request wait.
    awaited: BTreeSet<TaskId>,
}

impl Placed {
    fn store(&mut self, group: &mut Group<'_>, new: &NewTask, plan: &Plan<'_>) -> Result<(), Fault> {
        let key = LaneKey {
            tenant: new.tenant,
            band: new.spec.priority.band(),
            work: Work::Attempt(Shape::of(&new.spec)),
        };
        let lane = key.id();
        group.keep_lane(lane, || key)?;
        let waits = self.waits(group, new, plan)?;
        let Change { mut next, record, .. } =
            admit(new, lane, waits.open.len() as u32, waits.failed, group.now);
        next.has_dependants = self.awaited.contains(&new.id);
        let n = insert(group, &next)?;
        store_spec(group, n, new)?;
        for prerequisite in waits.open {
            group
                .statement(
                    "INSERT INTO dependency (prerequisite, dependant) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                )?
                .execute(params![prerequisite.as_bytes(), new.id.as_bytes()])?;
            self.mark(group, new.tenant, prerequisite)?;
        }
        group.retally(new.tenant, None, Some(&next.state))?;
        group.remember_spec(new.id, &new.spec);
        put_outbox(group, &new.effects.outbox)?;
        if let Some(record) = record {
            group.leaf(record)?;
        }
        self.rows.insert(new.id, TaskRow { n, task: next });
        Ok(())
    }

    /// What a task waits for.
    fn waits(&self, group: &Group<'_>, new: &NewTask, plan: &Plan<'_>) -> Result<Waits, Fault> {
        let mut waits = Waits::default();
        for id in &new.spec.after {
            let inner = plan.inside(new.tenant, *id).map(|(_, verdict)| verdict);
            // a repeat by key stands for the task that was stored then
            let id = match inner {
                Some(Some(Submitted::Known(id))) => *id,
                _ => *id,
            };
            if matches!(inner, Some(None)) && !self.rows.contains_key(&id) {
                waits.open.insert(id);
                continue;
            }
            match self.state(group, new.tenant, id)? {
                State::Succeeded => {}
                state if state.is_closed() => waits.failed = true,
                _ => drop(waits.open.insert(id)),
            }
        }
        Ok(waits)
    }

    fn state(&self, group: &Group<'_>, tenant: TenantId, id: TaskId) -> Result<State, Fault> {
        if let Some(row) = self.rows.get(&id) {
            return Ok(row.task.state.clone());
        }
        let found = find_in(group.connection, tenant, id)?;
        Ok(found.ok_or(Fault::Damaged("prerequisite"))?.task.state)
    }

    /// Notes on a prerequisite that others wait for its end: no transition, so no version.
    fn mark(&mut self, group: &Group<'_>, tenant: TenantId, id: TaskId) -> Result<(), Fault> {
        if let Some(row) = self.rows.get_mut(&id) {
            return set_dependants(group, row);
        }
        match find(group.connection, id)? {
            Some(mut row) if row.task.tenant == tenant => set_dependants(group, &mut row),
            _ => {
                self.awaited.insert(id);
                Ok(())
            }
        }
    }
}

#[derive(Default)]
struct Waits {
    open: BTreeSet<TaskId>,
    failed: bool,
}

fn set_dependants(group: &Group<'_>, row: &mut TaskRow) -> Result<(), Fault> {
    if row.task.has_dependants {
        return Ok(());
    }
    let before: Task = row.task.clone();
    row.task.has_dependants = true;
    update(group, row.n, &before, &row.task)
}

fn store_spec(group: &Group<'_>, n: i64, new: &NewTask) -> Result<(), Fault> {
    let idempotency = new.idempotency.as_ref();
    group
        .statement("INSERT INTO task_spec (n, idempotency_key, body) VALUES (?1, ?2, ?3)")?
        .execute(params![
            n,
            idempotency.map(|idempotency| idempotency.key.as_str()),
            encode_spec(&new.spec)?,
        ])?;
    if let Some(idempotency) = idempotency {
        group
            .statement(
                "INSERT INTO idempotency (tenant, submitter, key, fingerprint, task) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                new.tenant.as_bytes(),
                new.submitter.as_bytes(),
                idempotency.key,
                idempotency.fingerprint.as_bytes(),
                new.id.as_bytes(),
            ])?;
    }
    Ok(())
}
