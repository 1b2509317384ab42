//! Claiming: heads of lanes, one choice for all of them, assignments.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arbiter_core::lifecycle::{Call, Command, Expect, Rules, apply, refused};
use arbiter_core::model::{Fence, LaneId, LaneKey, StoredTask, Task, TaskId, TaskSpec};
use arbiter_core::ports::{Assignment, Candidate, Choice, ClaimRequest, Claimed, Scope};
use arbiter_wire::stored::{decode_spec, scope_key};
use futures_util::future::try_join;

use super::group::Group;
use super::lanes::{LaneNames, heads};
use super::rows;
use crate::error::Fault;
use crate::number::whole;
use crate::session::{Session, get, id_bytes};
use crate::write::Write;

/// The claimable tasks of lanes that nobody else is taking, locked.
const HEADS: &str = "SELECT t.status FROM unnest($1::bigint[], $2::bigint[]) AS q (lane, take)
     CROSS JOIN LATERAL (
       SELECT status, order_key, id FROM task WHERE lane = q.lane AND state IN (0, 4)
       ORDER BY order_key, id LIMIT q.take FOR UPDATE SKIP LOCKED) AS t";

/// What is taken up of scopes, locked until the commit.
const LOADS: &str = "SELECT scope, used FROM load WHERE scope = ANY($1) ORDER BY scope FOR UPDATE";

/// A row that is not there cannot be locked.
const MAKE_LOADS: &str =
    "INSERT INTO load (scope, used) SELECT scope, 0 FROM unnest($1::text[]) AS n (scope) ORDER BY scope
     ON CONFLICT DO NOTHING";

const SPECS: &str = "SELECT id, body FROM task_spec WHERE id = ANY($1)";

/// Takes tasks off the heads of lanes.
pub(super) async fn claim(
    write: &mut Write<'_>,
    rules: &Rules,
    names: &LaneNames,
    request: &ClaimRequest,
) -> Result<Claimed, Fault> {
    let keys = names.read(&write.session, &request.lanes).await?;
    let taken = take(&write.session, request, &keys).await?;
    let choices = choose(request, &taken, write)?;
    let (loads, specs) = try_join(
        loads(&write.session, &choices),
        specs(&write.session, &taken, &choices),
    )
    .await?;
    let mut group = Group::new(rules, write.session.now);
    group.take(taken.into_iter().map(|(task, _)| task));
    let mut making = Making {
        group,
        loads,
        specs,
        claimed: Claimed::default(),
    };
    for (task, choice) in choices {
        making.assign(request, task, choice)?;
    }
    let Making {
        mut group,
        mut claimed,
        ..
    } = making;
    if !claimed.assigned.is_empty() {
        group.outbox.extend_from_slice(&request.effects.outbox);
    }
    let asked: BTreeSet<LaneId> = request.lanes.iter().map(|quota| quota.lane).collect();
    let mut heads = group
        .flush(write, |session| {
            Box::pin(async move { heads(session, &asked).await })
        })
        .await?;
    for quota in &request.lanes {
        if claimed.heads.iter().all(|(lane, _)| *lane != quota.lane) {
            claimed.heads.push((quota.lane, heads.remove(&quota.lane)));
        }
    }
    Ok(claimed)
}

type Taken = Vec<(Task, Arc<LaneKey>)>;

/// Locks the heads of the asked lanes, in the order of the quotas.
async fn take(
    session: &Session<'_>,
    request: &ClaimRequest,
    keys: &BTreeMap<LaneId, Arc<LaneKey>>,
) -> Result<Taken, Fault> {
    let mut wanted: BTreeMap<LaneId, i64> = BTreeMap::new();
    for quota in request
        .lanes
        .iter()
        .filter(|quota| keys.contains_key(&quota.lane))
    {
        *wanted.entry(quota.lane).or_default() += i64::from(quota.take);
    }
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let lanes: Vec<i64> = wanted.keys().map(|lane| lane.0).collect();
    let takes: Vec<i64> = wanted.into_values().collect();
    let rows = session.query(HEADS, &[&lanes, &takes]).await?;
    // a join promises no order
    let tasks: Result<Vec<Task>, Fault> = rows.iter().map(|row| rows::task(row, 0)).collect();
    let mut tasks = tasks?;
    tasks.sort_by_key(|task| (task.order_key, task.id));
    let mut by_lane: BTreeMap<LaneId, VecDeque<Task>> = BTreeMap::new();
    for task in tasks {
        by_lane.entry(task.lane_now()).or_default().push_back(task);
    }
    let mut heads = Vec::with_capacity(rows.len());
    for quota in &request.lanes {
        if let (Some(key), Some(tasks)) = (keys.get(&quota.lane), by_lane.get_mut(&quota.lane)) {
            let here = tasks.len().min(quota.take as usize);
            heads.extend(tasks.drain(..here).map(|task| (task, Arc::clone(key))));
        }
    }
    Ok(heads)
}

/// Asks the chooser, once.
fn choose(
    request: &ClaimRequest,
    taken: &[(Task, Arc<LaneKey>)],
    write: &Write<'_>,
) -> Result<Vec<(TaskId, Choice)>, Fault> {
    if taken.is_empty() {
        return Ok(Vec::new());
    }
    let candidates: Vec<Candidate> = taken.iter().map(|(task, key)| candidate(task, key)).collect();
    let now = write.session.now;
    let choices = catch_unwind(AssertUnwindSafe(|| request.chooser.choose(&candidates, now)))
        .map_err(|_| Fault::Misuse("the chooser panicked"))?;
    if choices.len() != taken.len() {
        return Err(Fault::Misuse(
            "the chooser did not answer for each candidate once",
        ));
    }
    let choices = taken.iter().zip(choices);
    Ok(choices
        .filter_map(|((task, _), choice)| Some((task.id, choice?)))
        .collect())
}

fn candidate(task: &Task, key: &Arc<LaneKey>) -> Candidate {
    Candidate {
        task: task.id,
        lane: task.lane_now(),
        key: Arc::clone(key),
        priority: task.terms.priority,
        attempts: task.attempts,
        avoid: task.avoid.clone(),
        deadline: task.terms.deadline,
        attempt_timeout: task.terms.attempt_timeout,
        budget: task.terms.budget,
    }
}

/// Locks the scopes that the choices name, and reads what is taken up of them.
async fn loads(session: &Session<'_>, choices: &[(TaskId, Choice)]) -> Result<BTreeMap<String, i64>, Fault> {
    let scopes = choices.iter().flat_map(|(_, choice)| &choice.loads);
    let scopes: BTreeSet<String> = scopes.map(|(scope, _)| scope_key(scope)).collect();
    if scopes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let scopes = Vec::from_iter(scopes);
    let mut rows = session.query(LOADS, &[&scopes]).await?;
    if rows.len() < scopes.len() {
        session.execute(MAKE_LOADS, &[&scopes]).await?;
        rows = session.query(LOADS, &[&scopes]).await?;
    }
    let used = rows
        .iter()
        .map(|row| Ok((get(row, 0)?, i64::from(get::<i32>(row, 1)?))));
    used.collect()
}

/// The specifications of the tasks that were chosen for.
async fn specs(
    session: &Session<'_>,
    taken: &[(Task, Arc<LaneKey>)],
    choices: &[(TaskId, Choice)],
) -> Result<BTreeMap<TaskId, Arc<TaskSpec>>, Fault> {
    let chosen: BTreeSet<TaskId> = choices.iter().map(|(task, _)| *task).collect();
    let ids = taken.iter().map(|(task, _)| task.id);
    let ids = rows::sorted(ids.filter(|id| chosen.contains(id)));
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = session.query(SPECS, &[&ids]).await?;
    let specs = rows.iter().map(|row| {
        let spec = decode_spec(get(row, 1)?)?;
        Ok((TaskId::from_bytes(id_bytes(row, 0)?), Arc::new(spec)))
    });
    specs.collect()
}

/// A claim in the making.
struct Making<'r> {
    group: Group<'r>,
    loads: BTreeMap<String, i64>,
    specs: BTreeMap<TaskId, Arc<TaskSpec>>,
    claimed: Claimed,
}

impl Making<'_> {
    fn assign(&mut self, request: &ClaimRequest, id: TaskId, choice: Choice) -> Result<(), Fault> {
        let task = self.group.known(id)?;
        if let Some(scope) = self.first_full(&choice.loads)? {
            self.claimed.full.push((id, scope));
            return Ok(());
        }
        let action = Command::Assign {
            to: choice.to,
            acknowledged: choice.acknowledged,
            decision: choice.decision,
            loads: choice.loads.into_iter().map(|(scope, _)| scope).collect(),
        };
        let draft = &request.effects.record;
        let call = Call {
            command: request.command.for_task(id),
            expect: Expect::Any,
            draft,
            rules: self.group.rules,
            now: self.group.now,
        };
        let change = match apply(&task, &action, call) {
            Ok(change) if change.record.is_some() => change,
            Ok(_) => return Ok(()),
            Err(refusal) => {
                let record = refused(&task, &action, &refusal, draft, self.group.now);
                self.group.records.push(record);
                return Ok(());
            }
        };
        for delta in &change.loads {
            if let Some(used) = self.loads.get_mut(&scope_key(&delta.scope)) {
                *used += i64::from(delta.by);
            }
        }
        let fence: Fence = change.next.fence;
        let task = self.group.save(&task, change, &[]);
        let spec = self
            .specs
            .remove(&id)
            .ok_or(Fault::Damaged("task specification"))?;
        self.claimed.assigned.push(Assignment {
            stored: StoredTask { task, spec },
            to: choice.to,
            fence,
        });
        Ok(())
    }

    /// The first scope that has no room for one more, what this choice has taken before it included.
    fn first_full(&self, loads: &[(Scope, u32)]) -> Result<Option<Scope>, Fault> {
        for (place, (scope, limit)) in loads.iter().enumerate() {
            let here = loads.iter().take(place);
            let here = here.filter(|(earlier, _)| earlier == scope).count();
            let used = self.loads.get(&scope_key(scope)).ok_or(Fault::Damaged("load"))?;
            if used + whole(here) + 1 > i64::from(*limit) {
                return Ok(Some(scope.clone()));
            }
        }
        Ok(None)
    }
}

impl std::fmt::Debug for Making<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Making")
            .field("claimed", &self.claimed)
            .finish_non_exhaustive()
    }
}
