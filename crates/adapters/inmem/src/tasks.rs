//! The port `TaskStore`: saving what the state table says, and the indexes over tasks.

mod claim;
mod due;
mod purge;
mod submit;
mod transition;

use arbiter_core::lifecycle::{Change, Refusal};
use arbiter_core::model::{Holder, LaneId, OrderKey, State, StoredTask, Task, TaskId, TenantId, Timestamp};
use arbiter_core::ports::{
    ClaimRequest, Claimed, DueDone, LaneHead, LeaseRef, LeaseStatus, NewOutboxEntry, Retention, StoreError,
    SubmitRequest, Submitted, Tally, TaskStore, Transition,
};
use async_trait::async_trait;

use crate::store::{InMemoryStore, Transaction};
use crate::tables::{Tables, TaskRow};

#[async_trait]
impl TaskStore for InMemoryStore {
    async fn submit(&self, request: SubmitRequest) -> Result<Vec<Submitted>, StoreError> {
        self.write("submit", |transaction| submit::submit(transaction, &request))
    }

    async fn lanes(&self, after: Option<LaneId>, limit: usize) -> Result<Vec<LaneHead>, StoreError> {
        Ok(self.read(|tables, _| claim::lanes(tables, after, limit)))
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed, StoreError> {
        self.write("claim", |transaction| claim::claim(transaction, &request))
    }

    async fn apply(&self, transitions: Vec<Transition>) -> Result<Vec<Result<Task, Refusal>>, StoreError> {
        self.write("apply", |transaction| {
            transitions
                .iter()
                .map(|transition| transition::transit(transaction, transition))
                .collect()
        })
    }

    async fn extend(&self, leases: Vec<LeaseRef>) -> Result<Vec<LeaseStatus>, StoreError> {
        self.write("extend", |transaction| {
            leases
                .iter()
                .map(|lease| transition::beat(transaction, lease))
                .collect()
        })
    }

    async fn due(&self, limit: usize) -> Result<DueDone, StoreError> {
        self.write("due", |transaction| due::due(transaction, limit))
    }

    async fn purge(&self, retention: Retention) -> Result<usize, StoreError> {
        self.write("purge", |transaction| purge::purge(transaction, &retention))
    }
}

impl Tables {
    /// A task of a tenant.
    pub(crate) fn task(&self, tenant: TenantId, id: TaskId) -> Option<&TaskRow> {
        self.tasks.get(&id).filter(|row| row.task.tenant == tenant)
    }
}

impl TaskRow {
    pub(crate) fn stored(&self) -> StoredTask {
        StoredTask {
            task: self.task.clone(),
            spec: self.spec.clone(),
        }
    }
}

/// Where a task stands in the indexes; all of it follows from the task.
#[derive(Debug, PartialEq, Eq)]
struct Places {
    claimable: Option<(LaneId, OrderKey)>,
    due: Option<Timestamp>,
    holder: Option<Holder>,
    settled: Option<Timestamp>,
}

impl Places {
    fn of(task: &Task) -> Self {
        let settled = task.state.is_closed() && task.releases.is_empty() && !task.has_dependants;
        Self {
            claimable: (task.order_key)
                .filter(|_| task.is_claimable())
                .map(|key| (task.lane_now(), key)),
            due: task.due_at(),
            holder: task.state.lease().map(|lease| lease.holder),
            settled: settled.then_some(task.changed_at),
        }
    }
}

impl Transaction<'_> {
    /// Stores a row as it is now, its places in the indexes and in its tenant's tally.
    fn put_task(&mut self, row: TaskRow) -> Result<(), StoreError> {
        let id = row.task.id;
        let before = self.tables.tasks.get(&id).map(|old| old.task.clone());
        if let Some(old) = &before {
            self.unplace(old);
        }
        self.place(&row.task);
        self.retally(
            row.task.tenant,
            before.map(|task| task.state).as_ref(),
            Some(&row.task.state),
        )?;
        self.tables.tasks.put(id, row);
        Ok(())
    }

    /// Deletes a row with its places.
    fn remove_task(&mut self, task: &Task) -> Result<(), StoreError> {
        self.unplace(task);
        self.retally(task.tenant, Some(&task.state), None)?;
        self.tables.tasks.remove(&task.id);
        Ok(())
    }

    fn place(&mut self, task: &Task) {
        let places = Places::of(task);
        self.tables.tasks_by_tenant.put((task.tenant, task.id), ());
        if let Some((lane, key)) = places.claimable {
            self.tables.claimable.put((lane, key, task.id), ());
        }
        if let Some(at) = places.due {
            self.tables.due.put((at, task.id), ());
        }
        if let Some(holder) = places.holder {
            self.tables.held.put((holder, task.id), ());
        }
        if let Some(at) = places.settled {
            self.tables.settled.put((at, task.id), ());
        }
    }

    fn unplace(&mut self, task: &Task) {
        let places = Places::of(task);
        self.tables.tasks_by_tenant.remove(&(task.tenant, task.id));
        if let Some((lane, key)) = places.claimable {
            self.tables.claimable.remove(&(lane, key, task.id));
        }
        if let Some(at) = places.due {
            self.tables.due.remove(&(at, task.id));
        }
        if let Some(holder) = places.holder {
            self.tables.held.remove(&(holder, task.id));
        }
        if let Some(at) = places.settled {
            self.tables.settled.remove(&(at, task.id));
        }
    }

    /// Moves a task from one place of its tenant's tally to another.
    fn retally(
        &mut self,
        tenant: TenantId,
        from: Option<&State>,
        to: Option<&State>,
    ) -> Result<(), StoreError> {
        let mut tally = self.tables.tallies.get(&tenant).copied().unwrap_or_default();
        for count in from.map(|state| counts(&mut tally, state)).into_iter().flatten() {
            *count = count.checked_sub(1).ok_or_else(|| self.corrupt("tally"))?;
        }
        for count in to.map(|state| counts(&mut tally, state)).into_iter().flatten() {
            *count += 1;
        }
        self.tables.tallies.put(tenant, tally);
        Ok(())
    }

    /// Saves everything that a change says, and the entries for outside if it made a transition. Gives the task.
    fn save(&mut self, row: &TaskRow, change: Change, outbox: &[NewOutboxEntry]) -> Result<Task, StoreError> {
        let Change {
            next,
            ended,
            stage,
            loads,
            record,
        } = change;
        if let State::Reviewing { stage, .. } = next.state {
            let key = next.review_lane(stage);
            self.tables.lanes.put(key.id(), key.into());
        }
        self.put_task(TaskRow {
            task: next.clone(),
            ..row.clone()
        })?;
        if let Some(attempt) = ended {
            let key = (next.id, attempt.open.fence);
            if self.tables.attempts.contains(&key) {
                return Err(self.corrupt("attempt"));
            }
            self.tables.attempts.put(key, attempt);
        }
        if let Some(report) = stage {
            self.tables
                .stages
                .put((next.id, report.fence, report.stage), report);
        }
        for load in loads {
            let used = self.tables.loads.get(&load.scope).copied().unwrap_or(0);
            let used = used
                .checked_add_signed(load.by)
                .ok_or_else(|| self.corrupt("load"))?;
            self.tables.loads.put(load.scope, used);
        }
        if let Some(record) = record {
            self.outbox(outbox);
            self.leaf(&record)?;
        }
        Ok(next)
    }
}

/// The counts that a task in this state is part of.
fn counts<'a>(tally: &'a mut Tally, state: &State) -> Vec<&'a mut u64> {
    match state {
        State::Queued { .. } => vec![&mut tally.open, &mut tally.queued],
        State::Assigned(_) | State::Running(_) => vec![&mut tally.open, &mut tally.running],
        State::Reviewing { .. } => vec![&mut tally.open, &mut tally.reviewing],
        State::Held { .. } => vec![&mut tally.open, &mut tally.held],
        State::DeadLettered { .. } => vec![&mut tally.dead],
        State::Succeeded | State::Failed { .. } | State::Cancelled => Vec::new(),
    }
}
