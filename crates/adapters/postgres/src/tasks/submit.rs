//! Submitting: what is decided about each task of a request by the rules of the core, and storing those that pass.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::lifecycle::{
    Change, Prerequisite, Rules, Submission, SubmissionError, Submissions, admit, refused_submission,
};
use arbiter_core::model::{Digest, Json, LaneKey, PrincipalId, Shape, State, TaskId, TenantId, Work};
use arbiter_core::ports::{NewTask, SubmitRequest, Submitted};
use futures_util::future::{BoxFuture, try_join3};
use uuid::Uuid;

use super::flush;
use super::group::Group;
use super::rows;
use crate::error::Fault;
use crate::line::{Call, Try};
use crate::number::natural;
use crate::session::{Session, get, id_bytes, uuid};
use crate::write::Write;

const KNOWN_IDS: &str = "SELECT id, tenant FROM task WHERE id = ANY($1)";

/// Looked up key by key: a join would be planned while the table is small, as one pass over all the keys there are.
const KNOWN_KEYS: &str = "SELECT k.tenant, k.submitter, k.key, s.id, s.fingerprint
     FROM unnest($1::uuid[], $2::uuid[], $3::bytea[]) AS k (tenant, submitter, key)
     CROSS JOIN LATERAL (
       SELECT id, fingerprint FROM task_spec
       WHERE tenant = k.tenant AND submitter = k.submitter AND idempotency_key = k.key LIMIT 1) AS s";

/// Makes every other submission of the tenants wait, on any node.
const LOCK_TALLIES: &str = "INSERT INTO tally AS t (tenant, shard, queued, running, reviewing, held, dead)
     SELECT tenant, $2, 0, 0, 0, 0, 0 FROM unnest($1::uuid[]) AS n (tenant) ORDER BY tenant
     ON CONFLICT (tenant, shard) DO UPDATE SET queued = t.queued";

/// A call of `TaskStore::submit`.
#[derive(Debug)]
pub(crate) struct Submit(pub(super) SubmitRequest);

impl Call for Submit {
    type Answer = Vec<Submitted>;

    const OPERATION: &'static str = "submit";

    fn bytes(&self) -> usize {
        let bytes = self.0.tasks.iter().map(|new| {
            let input = new.spec.input.as_ref().map_or(0, Json::len_bytes);
            1024 + new.spec.instructions.len() + input
        });
        bytes.sum()
    }

    fn run<'a>(
        write: &'a mut Write<'_>,
        rules: &'a Rules,
        calls: &'a [Self],
        attempt: Try,
    ) -> BoxFuture<'a, Result<Vec<Self::Answer>, Fault>> {
        Box::pin(submit(write, rules, calls, attempt))
    }
}

async fn submit(
    write: &mut Write<'_>,
    rules: &Rules,
    calls: &[Submit],
    attempt: Try,
) -> Result<Vec<Vec<Submitted>>, Fault> {
    let mut known = Known::read(&write.session, calls).await?;
    let mut group = Group::new(rules, write.session.now);
    let awaited = rows::lock(&write.session, known.prerequisites(calls)).await?;
    group.take(awaited.into_values());
    if attempt == Try::Again {
        known.lock_backlogs(write).await?;
    }
    let mut answers = Vec::with_capacity(calls.len());
    for Submit(request) in calls {
        answers.push(one(&mut group, &mut known, request)?);
    }
    let watched: Vec<TenantId> = known.limits.keys().copied().collect();
    let open = group
        .flush(write, |session| Box::pin(flush::open(session, watched)))
        .await?;
    known.check_limits(&group, &open)?;
    Ok(answers)
}

/// Decides about one request and adds what is to be stored to the group.
fn one<'a>(
    group: &mut Group<'a>,
    known: &mut Known,
    request: &'a SubmitRequest,
) -> Result<Vec<Submitted>, Fault> {
    let now = group.now;
    let plan = Submission::decide(request, &mut Facts { group, known }, now)?;
    // tasks of the request for which earlier ones of it wait
    let mut awaited = BTreeSet::new();
    for (new, verdict) in request.tasks.iter().zip(plan.verdicts()) {
        match verdict {
            None => store(group, &mut awaited, new, &plan)?,
            Some(verdict) => group.records.extend(refused_submission(new, verdict, now)),
        }
    }
    let answers = request.tasks.iter().zip(plan.into_verdicts());
    let answers = answers.map(|(new, verdict)| {
        if let Some(verdict) = verdict {
            return Ok(verdict);
        }
        known.note(new);
        Ok(Submitted::Stored(Box::new(group.known(new.id)?)))
    });
    answers.collect()
}

fn store<'a>(
    group: &mut Group<'a>,
    awaited: &mut BTreeSet<TaskId>,
    new: &'a NewTask,
    plan: &Submission<'_>,
) -> Result<(), Fault> {
    let key = LaneKey {
        tenant: new.tenant,
        band: new.spec.priority.band(),
        work: Work::Attempt(Shape::of(&new.spec)),
    };
    let lane = key.id();
    group.lanes.entry(lane).or_insert(key);
    let (mut open, mut failed) = (BTreeSet::new(), false);
    for id in &new.spec.after {
        match plan.prerequisite(new.tenant, *id) {
            Prerequisite::Here(id) if group.find(id).is_none() => drop(open.insert(id)),
            Prerequisite::Here(id) | Prerequisite::Stored(id) => {
                let found = group.find(id).ok_or(Fault::Damaged("prerequisite"))?;
                match &found.state {
                    State::Succeeded => {}
                    state if state.is_closed() => failed = true,
                    _ => drop(open.insert(id)),
                }
            }
        }
    }
    let waits = u32::try_from(open.len()).map_err(|_| Fault::Misuse("too many prerequisites"))?;
    let Change { mut next, record, .. } = admit(new, lane, waits, failed, group.now);
    next.has_dependants = awaited.contains(&new.id);
    for id in open {
        group.awaited.insert((id, new.id));
        if group.find(id).is_some() {
            group.mark_awaited(id, true);
        } else {
            awaited.insert(id);
        }
    }
    group.add(next, new);
    group.outbox.extend_from_slice(&new.effects.outbox);
    group.records.extend(record);
    Ok(())
}

/// What the database knows of tasks that were submitted before.
#[derive(Debug, Default)]
struct Known {
    ids: BTreeMap<TaskId, TenantId>,
    keys: BTreeMap<(TenantId, PrincipalId, String), (TaskId, Digest)>,
    open: BTreeMap<TenantId, u64>,
    /// The lowest limit of what the group stores.
    limits: BTreeMap<TenantId, u64>,
}

impl Known {
    async fn read(session: &Session<'_>, calls: &[Submit]) -> Result<Self, Fault> {
        let tasks = || calls.iter().flat_map(|call| &call.0.tasks);
        let ids = rows::sorted(tasks().map(|new| new.id));
        let limited = tasks().filter(|new| new.open_limit.is_some());
        let limited: BTreeSet<TenantId> = limited.map(|new| new.tenant).collect();
        let keyed = tasks().filter_map(|new| Some((new, new.idempotency.as_ref()?)));
        let (ids, keys, open) = try_join3(
            known_ids(session, ids),
            known_keys(session, keyed),
            flush::open(session, limited.iter().copied()),
        )
        .await?;
        Ok(Self {
            ids,
            keys,
            open,
            limits: BTreeMap::new(),
        })
    }

    /// The tasks that may be meant by prerequisites.
    fn prerequisites(&self, calls: &[Submit]) -> BTreeSet<TaskId> {
        let mut ids = BTreeSet::new();
        for Submit(request) in calls {
            let after: BTreeSet<TaskId> = (request.tasks.iter())
                .flat_map(|new| new.spec.after.iter().copied())
                .collect();
            let repeats = request.tasks.iter().filter(|new| after.contains(&new.id));
            let repeats = repeats.filter_map(|new| {
                let key = new.idempotency.as_ref()?.key.clone();
                let (id, _) = self.keys.get(&(new.tenant, new.submitter, key))?;
                Some(*id)
            });
            ids.extend(repeats);
            ids.extend(after);
        }
        ids
    }

    /// Makes other submissions of the same tenants wait, and counts again.
    async fn lock_backlogs(&mut self, write: &Write<'_>) -> Result<(), Fault> {
        let tenants: Vec<Uuid> = self.open.keys().map(|id| uuid(id.as_bytes())).collect();
        let session = &write.session;
        session.execute(LOCK_TALLIES, &[&tenants, &write.shard]).await?;
        self.open = flush::open(session, self.open.keys().copied()).await?;
        Ok(())
    }

    /// Remembers a task that the group stores.
    fn note(&mut self, new: &NewTask) {
        if let Some(found) = &new.idempotency {
            let key = (new.tenant, new.submitter, found.key.clone());
            self.keys.insert(key, (new.id, found.fingerprint));
        }
        if let Some(limit) = new.open_limit {
            let lowest = self.limits.entry(new.tenant).or_insert(limit);
            *lowest = limit.min(*lowest);
        }
    }

    /// Compares with what was counted once more, when the rows of the tallies were locked by what was written: others may
    /// have stored tasks of the same tenants meanwhile.
    fn check_limits(&self, group: &Group<'_>, open: &BTreeMap<TenantId, u64>) -> Result<(), Fault> {
        for (tenant, open) in open {
            let counted = self.open.get(tenant).copied().unwrap_or(0) + added(group, *tenant);
            let is_over = self.limits.get(tenant).is_some_and(|limit| open > limit);
            if is_over && *open > counted {
                return Err(Fault::Raced);
            }
        }
        Ok(())
    }
}

/// How many open tasks of a tenant the group adds.
fn added(group: &Group<'_>, tenant: TenantId) -> u64 {
    let counts = group.tallies.get(&tenant);
    counts.map_or(0, |[queued, running, reviewing, held, _]| {
        natural(queued + running + reviewing + held)
    })
}

/// What is known, with what the group has stored so far.
struct Facts<'a, 'g> {
    group: &'a Group<'g>,
    known: &'a Known,
}

impl Submissions for Facts<'_, '_> {
    type Error = Fault;

    fn tenant_of(&mut self, id: TaskId) -> Result<Option<TenantId>, Fault> {
        let here = self.group.find(id).map(|task| task.tenant);
        Ok(here.or_else(|| self.known.ids.get(&id).copied()))
    }

    fn keyed(
        &mut self,
        tenant: TenantId,
        submitter: PrincipalId,
        key: &str,
    ) -> Result<Option<(TaskId, Digest)>, Fault> {
        Ok(self.known.keys.get(&(tenant, submitter, key.to_owned())).copied())
    }

    fn open(&mut self, tenant: TenantId) -> Result<u64, Fault> {
        let stored = self.known.open.get(&tenant).copied().unwrap_or(0);
        Ok(stored + added(self.group, tenant))
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

async fn known_ids(session: &Session<'_>, ids: Vec<Uuid>) -> Result<BTreeMap<TaskId, TenantId>, Fault> {
    let rows = session.query(KNOWN_IDS, &[&ids]).await?;
    let known = rows.iter().map(|row| {
        let tenant = TenantId::from_bytes(id_bytes(row, 1)?);
        Ok((TaskId::from_bytes(id_bytes(row, 0)?), tenant))
    });
    known.collect()
}

type Keys = BTreeMap<(TenantId, PrincipalId, String), (TaskId, Digest)>;

async fn known_keys<'a>(
    session: &Session<'_>,
    keyed: impl Iterator<Item = (&'a NewTask, &'a arbiter_core::ports::Idempotency)> + Send,
) -> Result<Keys, Fault> {
    let (mut tenants, mut submitters, mut keys) = (Vec::new(), Vec::new(), Vec::new());
    for (new, idempotency) in keyed {
        tenants.push(uuid(new.tenant.as_bytes()));
        submitters.push(uuid(new.submitter.as_bytes()));
        keys.push(idempotency.key.as_bytes());
    }
    if keys.is_empty() {
        return Ok(Keys::new());
    }
    let rows = session.query(KNOWN_KEYS, &[&tenants, &submitters, &keys]).await?;
    let known = rows.iter().map(|row| {
        let key = std::str::from_utf8(get(row, 2)?).map_err(|_| Fault::Damaged("idempotency key"))?;
        let fingerprint: &[u8] = get(row, 4)?;
        let fingerprint = fingerprint
            .try_into()
            .map_err(|_| Fault::Damaged("fingerprint"))?;
        let tenant = TenantId::from_bytes(id_bytes(row, 0)?);
        let submitter = PrincipalId::from_bytes(id_bytes(row, 1)?);
        let task = TaskId::from_bytes(id_bytes(row, 3)?);
        Ok((
            (tenant, submitter, key.to_owned()),
            (task, Digest::from_bytes(fingerprint)),
        ))
    });
    known.collect()
}
