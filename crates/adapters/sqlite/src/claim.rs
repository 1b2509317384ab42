//! Claiming: heads of lanes, one choice for all of them, assignments.

use std::collections::BTreeMap;
use std::sync::Arc;

use arbiter_core::lifecycle::{Call, Command, Expect, apply, refused};
use arbiter_core::model::{LaneId, LaneKey, OrderKey, StoredTask};
use arbiter_core::ports::{Assignment, Candidate, Choice, ClaimRequest, Claimed, LaneHead, Scope};
use arbiter_wire::stored::decode_lane;
use rusqlite::{Connection, OptionalExtension as _, params};

use crate::error::Fault;
use crate::group::Group;
use crate::number::whole;
use crate::row::{TaskRow, put_outbox, save, spec, task_row};

/// The claimable tasks of a lane, in order.
pub(crate) const HEADS: &str = "SELECT n, status FROM task INDEXED BY task_claimable
     WHERE lane = ?1 AND state IN (0, 4) ORDER BY order_key, id LIMIT ?2 OFFSET ?3";

/// The order key of the first claimable task of a lane.
pub(crate) const FIRST: &str = "SELECT order_key FROM task INDEXED BY task_claimable
     WHERE lane = ?1 AND state IN (0, 4) ORDER BY order_key, id LIMIT 1";

/// The first claimable task of the first lane after one: one step of a loose index scan.
pub(crate) const NEXT_LANE: &str = "SELECT lane, order_key FROM task INDEXED BY task_claimable
     WHERE lane > ?1 AND state IN (0, 4) ORDER BY lane, order_key, id LIMIT 1";

/// As [`NEXT_LANE`], with the lowest lane included.
pub(crate) const FIRST_LANE: &str = "SELECT lane, order_key FROM task INDEXED BY task_claimable
     WHERE lane >= ?1 AND state IN (0, 4) ORDER BY lane, order_key, id LIMIT 1";

/// Takes tasks off the heads of lanes.
pub(crate) fn claim(group: &mut Group<'_>, request: &ClaimRequest) -> Result<Claimed, Fault> {
    let rows = take(group, request)?;
    let candidates: Vec<Candidate> = rows.iter().map(|(row, key)| candidate(row, key)).collect();
    let mut claimed = Claimed::default();
    if !candidates.is_empty() {
        let choices = request.chooser.choose(&candidates, group.now);
        if choices.len() != candidates.len() {
            return Err(Fault::Misuse(
                "the chooser did not answer for each candidate once",
            ));
        }
        for ((row, _), choice) in rows.into_iter().zip(choices) {
            if let Some(choice) = choice {
                assign(group, request, row, choice, &mut claimed)?;
            }
        }
    }
    if !claimed.assigned.is_empty() {
        put_outbox(group, &request.effects.outbox)?;
    }
    for quota in &request.lanes {
        if claimed.heads.iter().all(|(lane, _)| *lane != quota.lane) {
            let first = group
                .statement(FIRST)?
                .query_row([quota.lane.0], |row| row.get(0))
                .optional()?;
            claimed.heads.push((quota.lane, first.map(OrderKey)));
        }
    }
    Ok(claimed)
}

fn take(group: &mut Group<'_>, request: &ClaimRequest) -> Result<Vec<(TaskRow, Arc<LaneKey>)>, Fault> {
    let mut taken = Vec::new();
    let mut before: BTreeMap<LaneId, usize> = BTreeMap::new();
    for quota in &request.lanes {
        let Some(key) = group.lane(quota.lane)? else {
            continue;
        };
        let before = before.entry(quota.lane).or_default();
        let mut statement = group.statement(HEADS)?;
        let mut rows = statement.query(params![quota.lane.0, quota.take, whole(*before)])?;
        while let Some(row) = rows.next()? {
            taken.push((task_row(row, 0)?, Arc::clone(&key)));
            *before += 1;
        }
    }
    Ok(taken)
}

fn candidate(row: &TaskRow, key: &Arc<LaneKey>) -> Candidate {
    let TaskRow { task, .. } = row;
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

fn assign(
    group: &mut Group<'_>,
    request: &ClaimRequest,
    row: TaskRow,
    choice: Choice,
    claimed: &mut Claimed,
) -> Result<(), Fault> {
    if let Some(scope) = first_full(group, &choice.loads)? {
        claimed.full.push((row.task.id, scope));
        return Ok(());
    }
    let action = Command::Assign {
        to: choice.to,
        acknowledged: choice.acknowledged,
        decision: choice.decision,
        loads: choice.loads.into_iter().map(|(scope, _)| scope).collect(),
    };
    let call = Call {
        command: request.command.for_task(row.task.id),
        expect: Expect::Any,
        draft: &request.effects.record,
        rules: group.rules,
        now: group.now,
    };
    let change = match apply(&row.task, &action, call) {
        Ok(change) if change.record.is_some() => change,
        Ok(_) => return Ok(()),
        Err(refusal) => {
            let record = refused(&row.task, &action, &refusal, &request.effects.record, group.now);
            return group.leaf(record);
        }
    };
    let fence = change.next.fence;
    let task = save(group, &row, change, &[])?;
    let spec = match group.remembered_spec(&task) {
        Some(spec) => spec,
        None => spec(group.connection, row.n)?.into(),
    };
    claimed.assigned.push(Assignment {
        stored: StoredTask { task, spec },
        to: choice.to,
        fence,
    });
    Ok(())
}

/// The first scope that has no room for one more, what this choice has taken before it included.
fn first_full(group: &mut Group<'_>, loads: &[(Scope, u32)]) -> Result<Option<Scope>, Fault> {
    for (place, (scope, limit)) in loads.iter().enumerate() {
        let here = loads
            .iter()
            .take(place)
            .filter(|(earlier, _)| earlier == scope)
            .count();
        if group.used(scope)? + whole(here) + 1 > i64::from(*limit) {
            return Ok(Some(scope.clone()));
        }
    }
    Ok(None)
}

/// Lanes with claimable work, by id.
pub(crate) fn lanes(
    connection: &Connection,
    after: Option<LaneId>,
    limit: usize,
) -> Result<Vec<LaneHead>, Fault> {
    let mut heads = Vec::new();
    let mut next = match after {
        Some(lane) => step(connection, NEXT_LANE, lane.0)?,
        None => step(connection, FIRST_LANE, i64::MIN)?,
    };
    while let Some((lane, first)) = next.filter(|_| heads.len() < limit) {
        let body: String = connection
            .prepare_cached("SELECT body FROM lane WHERE lane = ?1")?
            .query_row([lane], |row| row.get(0))?;
        heads.push(LaneHead {
            lane: LaneId(lane),
            key: decode_lane(&body)?,
            first: OrderKey(first),
        });
        next = step(connection, NEXT_LANE, lane)?;
    }
    Ok(heads)
}

fn step(connection: &Connection, sql: &str, lane: i64) -> Result<Option<(i64, i64)>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([lane], |row| Ok((row.get(0)?, row.get(1)?)));
    Ok(found.optional()?)
}
