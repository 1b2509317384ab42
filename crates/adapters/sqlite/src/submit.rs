//! Submitting: what is decided about each task of a request by the rules of the core, and storing those that pass.

use std::collections::{BTreeSet, HashMap};

use arbiter_core::lifecycle::{
    Change, Prerequisite, Submission, SubmissionError, Submissions, admit, refused_submission,
};
use arbiter_core::model::{Digest, LaneKey, PrincipalId, Shape, State, Task, TaskId, TenantId, Work};
use arbiter_core::ports::{NewTask, SubmitRequest, Submitted};
use arbiter_wire::stored::encode_spec;
use rusqlite::{OptionalExtension as _, params};

use crate::error::Fault;
use crate::group::{Group, open};
use crate::number::natural;
use crate::row::{TaskRow, find, find_in, insert, put_outbox, update};

/// Stores new tasks.
pub(crate) fn submit(group: &mut Group<'_>, request: &SubmitRequest) -> Result<Vec<Submitted>, Fault> {
    let tasks = &request.tasks;
    let now = group.now;
    let plan = Submission::decide(request, &mut Database(group), now)?;
    let mut placed = Placed::default();
    for (new, verdict) in tasks.iter().zip(plan.verdicts()) {
        match verdict {
            None => placed.store(group, new, &plan)?,
            Some(verdict) => {
                if let Some(record) = refused_submission(new, verdict, group.now) {
                    group.leaf(record)?;
                }
            }
        }
    }
    let answers = tasks
        .iter()
        .zip(plan.into_verdicts())
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

/// What the database knows of tasks that were submitted before.
struct Database<'a, 'g>(&'a mut Group<'g>);

impl Submissions for Database<'_, '_> {
    type Error = Fault;

    fn tenant_of(&mut self, id: TaskId) -> Result<Option<TenantId>, Fault> {
        let mut statement = self.0.statement("SELECT tenant FROM task WHERE id = ?1")?;
        let tenant: Option<[u8; 16]> = statement
            .query_row([id.as_bytes()], |row| row.get(0))
            .optional()?;
        Ok(tenant.map(TenantId::from_bytes))
    }

    fn keyed(
        &mut self,
        tenant: TenantId,
        submitter: PrincipalId,
        key: &str,
    ) -> Result<Option<(TaskId, Digest)>, Fault> {
        let found = self
            .0
            .statement(
                "SELECT task, fingerprint FROM idempotency WHERE tenant = ?1 AND submitter = ?2 AND key = ?3",
            )?
            .query_row(params![tenant.as_bytes(), submitter.as_bytes(), key], |row| {
                Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, [u8; 32]>(1)?))
            })
            .optional()?;
        Ok(found.map(|(task, fingerprint)| (TaskId::from_bytes(task), Digest::from_bytes(fingerprint))))
    }

    fn open(&mut self, tenant: TenantId) -> Result<u64, Fault> {
        Ok(natural(open(self.0.tally(tenant)?)))
    }
}

impl From<SubmissionError<Self>> for Fault {
    fn from(error: SubmissionError<Self>) -> Self {
        match error {
            SubmissionError::IdInUse => Self::Misuse("the task id is in use"),
            SubmissionError::Store(fault) => fault,
        }
    }
}

/// The tasks of a request that are stored so far.
#[derive(Default)]
struct Placed {
    rows: HashMap<TaskId, TaskRow>,
    /// Tasks for which earlier ones of the request wait.
    awaited: BTreeSet<TaskId>,
}

impl Placed {
    fn store(&mut self, group: &mut Group<'_>, new: &NewTask, plan: &Submission<'_>) -> Result<(), Fault> {
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
    fn waits(&self, group: &Group<'_>, new: &NewTask, plan: &Submission<'_>) -> Result<Waits, Fault> {
        let mut waits = Waits::default();
        for id in &new.spec.after {
            let id = match plan.prerequisite(new.tenant, *id) {
                Prerequisite::Here(id) if !self.rows.contains_key(&id) => {
                    waits.open.insert(id);
                    continue;
                }
                Prerequisite::Here(id) | Prerequisite::Stored(id) => id,
            };
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
