//! Transitions and heartbeats of tasks.

use arbiter_core::lifecycle::{Call, Expect, Refusal, apply, extend, refused, settle};
use arbiter_core::model::{AuditAction, Fence, Record, RecordOutcome, Resource, Task};
use arbiter_core::ports::{LeaseRef, LeaseStatus, Transition};
use rusqlite::{OptionalExtension as _, params};

use crate::error::Fault;
use crate::group::Group;
use crate::number::whole;
use crate::row::{TaskRow, find_in, save};

/// Applies one transition.
pub(crate) fn transit(
    group: &mut Group<'_>,
    transition: &Transition,
) -> Result<Result<Task, Refusal>, Fault> {
    let Some(row) = find_in(group.connection, transition.tenant, transition.task)? else {
        let record = not_found(group, transition);
        group.leaf(record)?;
        return Ok(Err(Refusal::NotFound));
    };
    let call = Call {
        command: transition.command,
        expect: transition.expect,
        draft: &transition.effects.record,
        rules: group.rules,
        now: group.now,
    };
    match apply(&row.task, &transition.action, call) {
        Ok(change) => Ok(Ok(save(group, &row, change, &transition.effects.outbox)?)),
        Err(refusal) => refuse(group, row, transition, refusal),
    }
}

fn refuse(
    group: &mut Group<'_>,
    row: TaskRow,
    transition: &Transition,
    refusal: Refusal,
) -> Result<Result<Task, Refusal>, Fault> {
    let lease = match (&refusal, transition.expect) {
        (Refusal::LeaseLost, Expect::Lease { fence, holder }) => Some((fence, holder)),
        _ => None,
    };
    if let Some((fence, _)) = lease
        && ended_by(group, row.n, fence, transition)?
    {
        return Ok(Ok(row.task));
    }
    let record = refused(
        &row.task,
        &transition.action,
        &refusal,
        &transition.effects.record,
        group.now,
    );
    group.leaf(record)?;
    if let Some(change) = lease.and_then(|(fence, holder)| settle(&row.task, fence, holder)) {
        save(group, &row, change, &[])?;
    }
    Ok(Err(refusal))
}

/// Whether the attempt with this fence, or a stage of the task's review, was ended by the same command: then it is a
/// repeat.
fn ended_by(group: &Group<'_>, n: i64, fence: Fence, transition: &Transition) -> Result<bool, Fault> {
    let found: Option<i64> = group
        .statement(
            "SELECT 1 FROM attempt WHERE n = ?1 AND fence = ?2 AND command = ?3
             UNION ALL SELECT 1 FROM stage_report WHERE n = ?1 AND command = ?3 LIMIT 1",
        )?
        .query_row(params![n, whole(fence.0), transition.command.as_bytes()], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(found.is_some())
}

fn not_found(group: &Group<'_>, transition: &Transition) -> Record {
    let draft = &transition.effects.record;
    let mut actions = draft.actions.clone();
    actions.push(AuditAction::Rejected);
    Record {
        at: group.now,
        tenant: transition.tenant,
        principal: draft.principal,
        operation: draft.operation,
        actions,
        resource: Resource::new("task", transition.task.to_string()),
        outcome: RecordOutcome::Refused,
        reason: Some(Refusal::NotFound.code()),
        count: None,
        detail: draft.detail.clone(),
    }
}

/// Extends one lease.
pub(crate) fn beat(group: &mut Group<'_>, lease: &LeaseRef) -> Result<LeaseStatus, Fault> {
    let Some(row) = find_in(group.connection, lease.tenant, lease.task)? else {
        return Ok(LeaseStatus::Lost);
    };
    let (status, change) = extend(&row.task, lease, group.rules, group.now);
    if let Some(change) = change {
        save(group, &row, change, &[])?;
    }
    Ok(status)
}
