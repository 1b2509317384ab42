//! Claiming: heads of lanes, one choice for all of them, assignments.

use std::collections::BTreeMap;

use arbiter_core::lifecycle::{Call, Command, Expect, apply, refused};
use arbiter_core::model::{LaneId, OrderKey, TaskId};
use arbiter_core::ports::{
    Assignment, Candidate, Choice, ClaimRequest, Claimed, LaneHead, LaneQuota, Scope, StoreError,
};

use crate::store::Transaction;
use crate::tables::{Tables, TaskRow};

pub(super) fn claim(
    transaction: &mut Transaction<'_>,
    request: &ClaimRequest,
) -> Result<Claimed, StoreError> {
    let mut claimed = Claimed::default();
    let candidates = candidates(transaction.tables, &request.lanes);
    if !candidates.is_empty() {
        let choices = request.chooser.choose(&candidates, transaction.now);
        if choices.len() != candidates.len() {
            return Err(transaction.failed("the chooser did not answer for each candidate once"));
        }
        for (candidate, choice) in candidates.iter().zip(choices) {
            if let Some(choice) = choice {
                assign(transaction, request, candidate.task, choice, &mut claimed)?;
            }
        }
    }
    if !claimed.assigned.is_empty() {
        transaction.outbox(&request.effects.outbox);
    }
    for quota in &request.lanes {
        if claimed.heads.iter().all(|(lane, _)| *lane != quota.lane) {
            let first = of_lane(transaction.tables, quota.lane).next().map(|(key, _)| key);
            claimed.heads.push((quota.lane, first));
        }
    }
    Ok(claimed)
}

/// The claimable tasks of a lane, in order.
fn of_lane(tables: &Tables, lane: LaneId) -> impl Iterator<Item = (OrderKey, TaskId)> + '_ {
    let all = (lane, OrderKey(i64::MIN), TaskId::from_bytes([0; 16]))
        ..=(lane, OrderKey(i64::MAX), TaskId::from_bytes([u8::MAX; 16]));
    tables
        .claimable
        .range(all)
        .map(|((_, key, task), ())| (*key, *task))
}

fn candidates(tables: &Tables, quotas: &[LaneQuota]) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let mut taken: BTreeMap<LaneId, usize> = BTreeMap::new();
    for quota in quotas {
        let Some(key) = tables.lanes.get(&quota.lane) else {
            continue;
        };
        // a lane that is named twice goes on where it stopped
        let before = taken.entry(quota.lane).or_default();
        let tasks = of_lane(tables, quota.lane)
            .skip(*before)
            .take(quota.take as usize);
        for row in tasks.filter_map(|(_, task)| tables.tasks.get(&task)) {
            let task = &row.task;
            candidates.push(Candidate {
                task: task.id,
                lane: quota.lane,
                key: key.clone(),
                priority: task.terms.priority,
                attempts: task.attempts,
                avoid: task.avoid.clone(),
                deadline: task.terms.deadline,
                attempt_timeout: task.terms.attempt_timeout,
                budget: task.terms.budget,
            });
            *before += 1;
        }
    }
    candidates
}

fn assign(
    transaction: &mut Transaction<'_>,
    request: &ClaimRequest,
    id: TaskId,
    choice: Choice,
    claimed: &mut Claimed,
) -> Result<(), StoreError> {
    let Some(row) = transaction.tables.tasks.get(&id).cloned() else {
        return Err(transaction.corrupt("lane"));
    };
    if let Some(scope) = first_full(transaction.tables, &choice.loads) {
        claimed.full.push((id, scope));
        return Ok(());
    }
    let action = Command::Assign {
        to: choice.to,
        acknowledged: choice.acknowledged,
        decision: choice.decision,
        loads: choice.loads.into_iter().map(|(scope, _)| scope).collect(),
    };
    let call = Call {
        command: request.command.for_task(id),
        expect: Expect::Any,
        draft: &request.effects.record,
        rules: transaction.rules,
        now: transaction.now,
    };
    let change = match apply(&row.task, &action, call) {
        Ok(change) if change.record.is_some() => change,
        // the same claim has made the task's last transition already
        Ok(_) => return Ok(()),
        Err(refusal) => {
            let record = refused(
                &row.task,
                &action,
                &refusal,
                &request.effects.record,
                transaction.now,
            );
            return transaction.leaf(&record);
        }
    };
    let task = transaction.save(&row, change, &[])?;
    claimed.assigned.push(Assignment {
        fence: task.fence,
        stored: TaskRow { task, ..row }.stored(),
        to: choice.to,
    });
    Ok(())
}

/// The first scope that has no room for one more, what this choice has taken before it included.
fn first_full(tables: &Tables, loads: &[(Scope, u32)]) -> Option<Scope> {
    for (place, (scope, limit)) in loads.iter().enumerate() {
        let used = tables.loads.get(scope).copied().unwrap_or(0);
        let here = loads
            .iter()
            .take(place)
            .filter(|(earlier, _)| earlier == scope)
            .count();
        if u64::from(used) + here as u64 + 1 > u64::from(*limit) {
            return Some(scope.clone());
        }
    }
    None
}

/// Lanes with claimable work, by id: from each the first task, then a step over the rest.
pub(super) fn lanes(tables: &Tables, after: Option<LaneId>, limit: usize) -> Vec<LaneHead> {
    let mut heads = Vec::new();
    let mut next = first_lane_after(tables, after);
    while let Some((lane, first)) = next.filter(|_| heads.len() < limit) {
        if let Some(key) = tables.lanes.get(&lane) {
            let key = (**key).clone();
            heads.push(LaneHead { lane, key, first });
        }
        next = first_lane_after(tables, Some(lane));
    }
    heads
}

fn first_lane_after(tables: &Tables, after: Option<LaneId>) -> Option<(LaneId, OrderKey)> {
    let lowest = match after {
        None => LaneId(i64::MIN),
        Some(lane) => LaneId(lane.0.checked_add(1)?),
    };
    let from = (lowest, OrderKey(i64::MIN), TaskId::from_bytes([0; 16]));
    let ((lane, first, _), ()) = tables.claimable.range(from..).next()?;
    Some((*lane, *first))
}
