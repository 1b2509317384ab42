//! Submitting: first decide about every task of the request, then store those that pass.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::lifecycle::admit;
use arbiter_core::model::{
    AuditAction, LaneKey, Record, RecordOutcome, Resource, Shape, State, TaskId, TenantId, Timestamp, Work,
};
use arbiter_core::ports::{NewTask, StoreError, SubmitRefusal, SubmitRequest, Submitted};

use crate::store::Transaction;
use crate::tables::{Tables, TaskRow};

pub(super) fn submit(
    transaction: &mut Transaction<'_>,
    request: &SubmitRequest,
) -> Result<Vec<Submitted>, StoreError> {
    let mut plan = Plan::new(&request.tasks);
    plan.find_repeats(transaction)?;
    plan.refuse_expired(transaction.now);
    plan.refuse_cycles();
    // one refusal can bring about another: a task that waits for a refused one, room for the task behind it
    while plan.refuse_unknown(transaction.tables) || plan.refuse_over_limit(transaction.tables) {}
    if request.all_or_nothing {
        plan.refuse_neighbours();
    }
    let mut answers = Vec::with_capacity(request.tasks.len());
    for (place, new) in request.tasks.iter().enumerate() {
        let answer = match plan.verdicts.get(place).cloned().flatten() {
            None => store(transaction, new, &plan)?,
            Some(verdict) => {
                if let Some(reason) = refusal_code(&verdict) {
                    transaction.leaf(&refused(transaction, new, reason))?;
                }
                verdict
            }
        };
        answers.push(answer);
    }
    // those for which earlier ones of the request wait are marked once all of them are there
    plan.mark_prerequisites(transaction, &mut answers)?;
    Ok(answers)
}

/// What is to become of each task; no verdict means that it will be stored.
struct Plan<'a> {
    tasks: &'a [NewTask],
    /// The place of each id that stands in the request for the first time.
    places: BTreeMap<TaskId, usize>,
    verdicts: Vec<Option<Submitted>>,
}

impl<'a> Plan<'a> {
    fn new(tasks: &'a [NewTask]) -> Self {
        Self {
            tasks,
            places: BTreeMap::new(),
            verdicts: vec![None; tasks.len()],
        }
    }

    /// Repeats by id, then by key, of what is stored and of the tasks before.
    fn find_repeats(&mut self, transaction: &Transaction<'_>) -> Result<(), StoreError> {
        let mut keys = BTreeMap::new();
        for (place, new) in self.tasks.iter().enumerate() {
            let earlier = self.places.get(&new.id).map(|place| self.tasks[*place].tenant);
            let stored = transaction.tables.tasks.get(&new.id).map(|row| row.task.tenant);
            self.places.entry(new.id).or_insert(place);
            match earlier.or(stored) {
                Some(tenant) if tenant == new.tenant => {
                    self.verdicts[place] = Some(Submitted::Known(new.id));
                    continue;
                }
                Some(_) => return Err(transaction.failed("the task id is in use")),
                None => {}
            }
            let Some(idempotency) = &new.idempotency else {
                continue;
            };
            let key = (new.tenant, new.submitter, idempotency.key.clone());
            let earlier = transaction
                .tables
                .idempotency
                .get(&key)
                .or_else(|| keys.get(&key))
                .copied();
            match earlier {
                Some((fingerprint, id)) if fingerprint == idempotency.fingerprint => {
                    self.verdicts[place] = Some(Submitted::Known(id));
                }
                Some((_, id)) => self.verdicts[place] = Some(Submitted::Conflict(id)),
                None => drop(keys.insert(key, (idempotency.fingerprint, new.id))),
            }
        }
        Ok(())
    }

    fn undecided(&self) -> impl Iterator<Item = usize> + use<> {
        let undecided: Vec<usize> = (0..self.tasks.len())
            .filter(|place| self.verdicts[*place].is_none())
            .collect();
        undecided.into_iter()
    }

    /// The place of a task of this tenant that the request may store.
    fn place_of(&self, tenant: TenantId, id: TaskId) -> Option<usize> {
        let place = self.places.get(&id).copied()?;
        (self.tasks[place].tenant == tenant).then_some(place)
    }

    /// The prerequisites of a task that the same request will store.
    fn inner(&self, place: usize) -> Vec<usize> {
        let new = &self.tasks[place];
        let places = new
            .spec
            .after
            .iter()
            .filter_map(|id| self.place_of(new.tenant, *id));
        places.filter(|place| self.verdicts[*place].is_none()).collect()
    }

    /// Refuses tasks whose deadline has passed.
    fn refuse_expired(&mut self, now: Timestamp) {
        for place in self.undecided() {
            if let Some(deadline) = self.tasks[place]
                .spec
                .constraints
                .deadline
                .filter(|end| *end <= now)
            {
                self.verdicts[place] = Some(Submitted::Refused(SubmitRefusal::DeadlinePassed(deadline)));
            }
        }
    }

    /// Refuses tasks that, over prerequisites, wait for themselves.
    fn refuse_cycles(&mut self) {
        // Tasks whose prerequisites are all taken away stand on no cycle (Kahn 1962, "Topological sorting of large
        // networks"); what remains stands on one or behind one.
        let mut left: BTreeSet<usize> = self
            .undecided()
            .filter(|place| !self.inner(*place).is_empty())
            .collect();
        loop {
            let free: Vec<usize> = (left.iter().copied())
                .filter(|place| !self.inner(*place).iter().any(|other| left.contains(other)))
                .collect();
            if free.is_empty() {
                break;
            }
            left.retain(|place| !free.contains(place));
        }
        let on_cycle: Vec<usize> = left
            .into_iter()
            .filter(|place| self.reaches_itself(*place))
            .collect();
        for place in on_cycle {
            let refusal = SubmitRefusal::Cycle(self.tasks[place].id);
            self.verdicts[place] = Some(Submitted::Refused(refusal));
        }
    }

    fn reaches_itself(&self, start: usize) -> bool {
        let mut seen = BTreeSet::new();
        let mut next = self.inner(start);
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

    /// Refuses tasks with a prerequisite that does not exist in the tenant and will not be stored; tells whether any.
    fn refuse_unknown(&mut self, tables: &Tables) -> bool {
        let mut refused = false;
        for place in self.undecided() {
            let new = &self.tasks[place];
            let exists = |id: &TaskId| {
                let verdict = self.place_of(new.tenant, *id).map(|place| &self.verdicts[place]);
                matches!(verdict, Some(None | Some(Submitted::Known(_))))
                    || tables.task(new.tenant, *id).is_some()
            };
            if let Some(id) = new.spec.after.iter().find(|id| !exists(id)).copied() {
                self.verdicts[place] = Some(Submitted::Refused(SubmitRefusal::UnknownPrerequisite(id)));
                refused = true;
            }
        }
        refused
    }

    /// Refuses tasks that would take their tenant over its limit; tells whether any.
    fn refuse_over_limit(&mut self, tables: &Tables) -> bool {
        let mut refused = false;
        let mut counts: BTreeMap<TenantId, u64> = BTreeMap::new();
        for place in self.undecided() {
            let new = &self.tasks[place];
            let stored = || tables.tallies.get(&new.tenant).map_or(0, |tally| tally.open);
            let open = counts.entry(new.tenant).or_insert_with(stored);
            match new.open_limit {
                Some(limit) if *open >= limit => {
                    let refusal = SubmitRefusal::BacklogFull { open: *open, limit };
                    self.verdicts[place] = Some(Submitted::Refused(refusal));
                    refused = true;
                }
                _ => *open += 1,
            }
        }
        refused
    }

    fn refuse_neighbours(&mut self) {
        let refused = |verdict: &Option<Submitted>| {
            matches!(verdict, Some(Submitted::Conflict(_) | Submitted::Refused(_)))
        };
        if !self.verdicts.iter().any(refused) {
            return;
        }
        for place in self.undecided() {
            self.verdicts[place] = Some(Submitted::Refused(SubmitRefusal::NeighbourRefused));
        }
    }

    /// The stored task that a prerequisite names: a repeat by key stands for the task that was stored then.
    fn named(&self, tenant: TenantId, id: TaskId) -> TaskId {
        match self
            .place_of(tenant, id)
            .and_then(|place| self.verdicts[place].as_ref())
        {
            Some(Submitted::Known(id)) => *id,
            _ => id,
        }
    }

    /// Notes on prerequisites that others wait for their end: no transition, so no version.
    fn mark_prerequisites(
        &self,
        transaction: &mut Transaction<'_>,
        answers: &mut [Submitted],
    ) -> Result<(), StoreError> {
        for new in self.undecided().map(|place| &self.tasks[place]) {
            for id in new.spec.after.iter().map(|id| self.named(new.tenant, *id)) {
                if !transaction.tables.dependencies.contains(&(id, new.id)) {
                    continue;
                }
                let Some(mut row) = transaction.tables.task(new.tenant, id).cloned() else {
                    continue;
                };
                row.task.has_dependants = true;
                transaction.put_task(row)?;
            }
        }
        for answer in answers {
            if let Submitted::Stored(task) = answer
                && let Some(row) = transaction.tables.tasks.get(&task.id)
            {
                **task = row.task.clone();
            }
        }
        Ok(())
    }
}

fn store(transaction: &mut Transaction<'_>, new: &NewTask, plan: &Plan<'_>) -> Result<Submitted, StoreError> {
    let key = LaneKey {
        tenant: new.tenant,
        band: new.spec.priority.band(),
        work: Work::Attempt(Shape::of(&new.spec)),
    };
    let lane = key.id();
    transaction.tables.lanes.put(lane, key.into());
    let (open, failed) = waits(transaction, new, plan);
    let change = admit(new, lane, open.len() as u32, failed, transaction.now);
    for prerequisite in open {
        transaction.tables.dependencies.put((prerequisite, new.id), ());
    }
    if let Some(idempotency) = &new.idempotency {
        let key = (new.tenant, new.submitter, idempotency.key.clone());
        transaction
            .tables
            .idempotency
            .put(key, (idempotency.fingerprint, new.id));
    }
    let row = TaskRow {
        task: change.next.clone(),
        spec: new.spec.clone(),
        key: new
            .idempotency
            .as_ref()
            .map(|idempotency| idempotency.key.clone()),
    };
    let task = transaction.save(&row, change, &new.effects.outbox)?;
    Ok(Submitted::Stored(Box::new(task)))
}

/// The prerequisites that are still open, and whether one of them has ended without success.
fn waits(transaction: &Transaction<'_>, new: &NewTask, plan: &Plan<'_>) -> (BTreeSet<TaskId>, bool) {
    let (mut open, mut failed) = (BTreeSet::new(), false);
    for id in new.spec.after.iter().map(|id| plan.named(new.tenant, *id)) {
        match transaction.tables.task(new.tenant, id).map(|row| &row.task.state) {
            Some(State::Succeeded) => {}
            Some(state) if state.is_closed() => failed = true,
            // a later one of the same request is not there yet
            Some(_) | None => drop(open.insert(id)),
        }
    }
    (open, failed)
}

const fn refusal_code(verdict: &Submitted) -> Option<&'static str> {
    match verdict {
        Submitted::Stored(_) | Submitted::Known(_) => None,
        Submitted::Conflict(_) => Some("idempotency_conflict"),
        Submitted::Refused(SubmitRefusal::BacklogFull { .. }) => Some("backlog_full"),
        Submitted::Refused(_) => Some("invalid_task"),
    }
}

fn refused(transaction: &Transaction<'_>, new: &NewTask, reason: &'static str) -> Record {
    let draft = &new.effects.record;
    let mut actions = draft.actions.clone();
    actions.push(AuditAction::Rejected);
    Record {
        at: transaction.now,
        tenant: new.tenant,
        principal: draft.principal,
        operation: draft.operation,
        actions,
        resource: Resource::new("task", new.id.to_string()),
        outcome: RecordOutcome::Refused,
        reason: Some(reason),
        count: None,
        detail: draft.detail.clone(),
    }
}
