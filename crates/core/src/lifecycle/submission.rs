//! What becomes of the tasks of a submission: repeats, conflicts, refusals. What passes is stored.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::model::{
    AuditAction, Digest, PrincipalId, Record, RecordOutcome, Resource, TaskId, TenantId, Timestamp,
};
use crate::ports::{Idempotency, NewTask, SubmitRefusal, SubmitRequest, Submitted};

/// What a store knows of tasks that were submitted before.
///
/// A store must hold what it answers until it has stored the tasks: by a lock, or by having one writer.
pub trait Submissions {
    /// Why it cannot say.
    type Error;

    /// Whose the task with this id is, if there is one.
    ///
    /// # Errors
    /// When the store cannot say.
    fn tenant_of(&mut self, id: TaskId) -> Result<Option<TenantId>, Self::Error>;

    /// The task that was submitted under a key, and the fingerprint of its content.
    ///
    /// # Errors
    /// When the store cannot say.
    fn keyed(
        &mut self,
        tenant: TenantId,
        submitter: PrincipalId,
        key: &str,
    ) -> Result<Option<(TaskId, Digest)>, Self::Error>;

    /// How many tasks of the tenant are open.
    ///
    /// # Errors
    /// When the store cannot say.
    fn open(&mut self, tenant: TenantId) -> Result<u64, Self::Error>;
}

/// Why a submission cannot be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubmissionError<E> {
    /// A task of another tenant has the id.
    #[error("the task id is in use")]
    IdInUse,
    /// The store cannot say what it knows.
    #[error(transparent)]
    Store(E),
}

/// What is to become of each task of a submission.
#[derive(Debug)]
pub struct Submission<'a> {
    tasks: &'a [NewTask],
    places: HashMap<TaskId, usize>,
    verdicts: Vec<Option<Submitted>>,
}

/// The task that a prerequisite stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prerequisite {
    /// One that the same submission stores.
    Here(TaskId),
    /// One that is stored already.
    Stored(TaskId),
}

impl<'a> Submission<'a> {
    /// Decides about each task.
    ///
    /// # Errors
    /// [`SubmissionError::IdInUse`] when another tenant has the id of a task: then nothing of the submission is stored.
    pub fn decide<S: Submissions>(
        request: &'a SubmitRequest,
        store: &mut S,
        now: Timestamp,
    ) -> Result<Self, SubmissionError<S::Error>> {
        let mut plan = Self::of(&request.tasks, store)?;
        plan.refuse_expired(now);
        plan.refuse_cycles();
        while plan.refuse_unknown(store)? || plan.refuse_over_limit(store)? {}
        if request.all_or_nothing {
            plan.all_or_nothing();
        }
        Ok(plan)
    }

    /// What became of each task, in the order of the tasks; none means that it is to be stored.
    pub fn verdicts(&self) -> &[Option<Submitted>] {
        &self.verdicts
    }

    /// As [`Submission::verdicts`].
    pub fn into_verdicts(self) -> Vec<Option<Submitted>> {
        self.verdicts
    }

    /// The task that the prerequisite `id` of a task of `tenant` stands for: a repeat by key stands for the task that
    /// was stored then.
    pub fn prerequisite(&self, tenant: TenantId, id: TaskId) -> Prerequisite {
        match self.inside(tenant, id) {
            Some((_, None)) => Prerequisite::Here(id),
            Some((_, Some(Submitted::Known(stored)))) => Prerequisite::Stored(*stored),
            _ => Prerequisite::Stored(id),
        }
    }

    /// Finds repeats: by id, then by key, in the database and among the tasks before.
    fn of<S: Submissions>(tasks: &'a [NewTask], store: &mut S) -> Result<Self, SubmissionError<S::Error>> {
        let mut places = HashMap::with_capacity(tasks.len());
        let mut keys: BTreeMap<_, (TaskId, &Idempotency)> = BTreeMap::new();
        let mut verdicts = Vec::with_capacity(tasks.len());
        for (place, new) in tasks.iter().enumerate() {
            if let Some(earlier) = places
                .get(&new.id)
                .and_then(|earlier: &usize| tasks.get(*earlier))
            {
                if earlier.tenant != new.tenant {
                    return Err(SubmissionError::IdInUse);
                }
                verdicts.push(Some(Submitted::Known(new.id)));
                continue;
            }
            places.insert(new.id, place);
            let mut verdict = match store.tenant_of(new.id).map_err(SubmissionError::Store)? {
                None => None,
                Some(tenant) if tenant == new.tenant => Some(Submitted::Known(new.id)),
                Some(_) => return Err(SubmissionError::IdInUse),
            };
            if let (None, Some(idempotency)) = (&verdict, &new.idempotency) {
                let key = (new.tenant, new.submitter, &idempotency.key);
                let earlier = keys.get(&key).map(|(id, first)| (*id, first.fingerprint));
                let earlier = match earlier {
                    Some(earlier) => Some(earlier),
                    None => store
                        .keyed(new.tenant, new.submitter, &idempotency.key)
                        .map_err(SubmissionError::Store)?,
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
    fn refuse_unknown<S: Submissions>(&mut self, store: &mut S) -> Result<bool, SubmissionError<S::Error>> {
        let mut refused = false;
        for (place, new) in self.tasks.iter().enumerate() {
            if !self.is_undecided(place) {
                continue;
            }
            let mut missing = None;
            for id in &new.spec.after {
                let exists = self.will_exist(new.tenant, *id)
                    || store.tenant_of(*id).map_err(SubmissionError::Store)? == Some(new.tenant);
                if !exists {
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
    fn refuse_over_limit<S: Submissions>(
        &mut self,
        store: &mut S,
    ) -> Result<bool, SubmissionError<S::Error>> {
        let mut refused = false;
        let mut added: BTreeMap<TenantId, u64> = BTreeMap::new();
        for (place, new) in self.tasks.iter().enumerate() {
            if !self.is_undecided(place) {
                continue;
            }
            let added = added.entry(new.tenant).or_default();
            if let Some(limit) = new.open_limit {
                let stored = store.open(new.tenant).map_err(SubmissionError::Store)?;
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

/// The record of a task that was not stored; none for a repeat.
pub fn refused_submission(new: &NewTask, verdict: &Submitted, now: Timestamp) -> Option<Record> {
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
        at: now,
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
