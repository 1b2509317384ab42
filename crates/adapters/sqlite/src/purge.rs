//! Deleting tasks after their retention.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{AuditAction, LaneId, Record, RecordOutcome, Resource, TaskId, TenantId};
use arbiter_core::ports::{Purge, Retention};
use arbiter_wire::stored::{TaskColumns, decode_lane};
use rusqlite::{OptionalExtension as _, params};

use crate::error::Fault;
use crate::group::Group;
use crate::number::whole;
use crate::row::{TaskRow, find_in, put_outbox, spec, task_row};

/// Tasks that nothing but retention keeps, oldest first.
pub(crate) const CLOSED: &str = "SELECT n, status FROM task INDEXED BY task_closed
     WHERE closed_at IS NOT NULL AND closed_at < ?1 ORDER BY closed_at, id LIMIT ?2";

/// The closed tasks of a tenant, by id.
pub(crate) const OF_TENANT: &str = "SELECT n, status FROM task INDEXED BY task_closed_of
     WHERE tenant = ?1 AND closed_at IS NOT NULL ORDER BY id LIMIT ?2";

/// Deletes tasks that only retention keeps; gives how many.
pub(crate) fn purge(group: &mut Group<'_>, retention: &Retention) -> Result<usize, Fault> {
    let rows = found(group, retention)?;
    if !matches!(retention.which, Purge::ClosedBefore(_)) {
        group.scrub();
    }
    let mut counts: BTreeMap<TenantId, u64> = BTreeMap::new();
    let mut deleted = 0;
    for row in &rows {
        if is_held_by_its_key(group, retention, row)? {
            continue;
        }
        delete(group, row)?;
        deleted += 1;
        *counts.entry(row.task.tenant).or_default() += 1;
    }
    for (tenant, count) in counts {
        let record = record(group, retention, tenant, count);
        group.leaf(record)?;
    }
    if deleted > 0 {
        put_outbox(group, &retention.effects.outbox)?;
    }
    if let Purge::Tenant(tenant) = retention.which {
        forget(group, tenant)?;
    }
    Ok(deleted)
}

/// Whether a repeat of the task's submission must find it yet.
fn is_held_by_its_key(group: &Group<'_>, retention: &Retention, row: &TaskRow) -> Result<bool, Fault> {
    if retention
        .keyed_before
        .is_none_or(|before| row.task.submitted_at < before)
    {
        return Ok(false);
    }
    let key: Option<Option<String>> = group
        .statement("SELECT idempotency_key FROM task_spec WHERE n = ?1")?
        .query_row([row.n], |row| row.get(0))
        .optional()?;
    Ok(key.flatten().is_some())
}

fn found(group: &Group<'_>, retention: &Retention) -> Result<Vec<TaskRow>, Fault> {
    let limit = whole(retention.limit);
    match &retention.which {
        Purge::ClosedBefore(before) => {
            let mut statement = group.statement(CLOSED)?;
            rows(statement.query(params![before.as_micros(), limit])?)
        }
        Purge::Tenant(tenant) => {
            let mut statement = group.statement(OF_TENANT)?;
            rows(statement.query(params![tenant.as_bytes(), limit])?)
        }
        Purge::Tasks(tenant, ids) => {
            let ids: BTreeSet<TaskId> = ids.iter().copied().collect();
            let found = ids.into_iter().map(|id| find_in(group.connection, *tenant, id));
            let closed = found.filter_map(|found| {
                found
                    .map(|row| row.filter(|row| TaskColumns::of(&row.task).closed_at.is_some()))
                    .transpose()
            });
            closed.take(retention.limit).collect()
        }
    }
}

fn rows(mut rows: rusqlite::Rows<'_>) -> Result<Vec<TaskRow>, Fault> {
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(task_row(row, 0)?);
    }
    Ok(found)
}

/// Forgets lanes and counters of a tenant that has no task any more.
fn forget(group: &mut Group<'_>, tenant: TenantId) -> Result<(), Fault> {
    let has_tasks: bool = group
        .statement("SELECT EXISTS (SELECT 1 FROM task INDEXED BY task_list WHERE tenant = ?1)")?
        .query_row([tenant.as_bytes()], |row| row.get(0))?;
    if has_tasks {
        return Ok(());
    }
    let mut lanes = Vec::new();
    {
        let mut statement = group.statement("SELECT lane, body FROM lane")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
            if decode_lane(body)?.tenant == tenant {
                lanes.push(LaneId(row.get(0)?));
            }
        }
    }
    for lane in lanes {
        group.forget_lane(lane)?;
    }
    group.forget_tally(tenant)
}

fn delete(group: &mut Group<'_>, row: &TaskRow) -> Result<(), Fault> {
    let TaskRow { n, task } = row;
    for prerequisite in spec(group.connection, *n)?.after {
        group
            .statement("DELETE FROM dependency WHERE prerequisite = ?1 AND dependant = ?2")?
            .execute(params![prerequisite.as_bytes(), task.id.as_bytes()])?;
    }
    let key: Option<Option<String>> = group
        .statement("DELETE FROM task_spec WHERE n = ?1 RETURNING idempotency_key")?
        .query_row([n], |row| row.get(0))
        .optional()?;
    if let Some(key) = key.flatten() {
        group
            .statement("DELETE FROM idempotency WHERE tenant = ?1 AND submitter = ?2 AND key = ?3")?
            .execute(params![task.tenant.as_bytes(), task.submitter.as_bytes(), key])?;
    }
    for sql in [
        "DELETE FROM attempt WHERE n = ?1",
        "DELETE FROM stage_report WHERE n = ?1",
        "DELETE FROM task WHERE n = ?1",
    ] {
        group.statement(sql)?.execute([n])?;
    }
    group
        .statement("DELETE FROM agent_outcome WHERE task = ?1")?
        .execute([task.id.as_bytes()])?;
    group.retally(task.tenant, Some(&task.state), None)
}

fn record(group: &Group<'_>, retention: &Retention, tenant: TenantId, count: u64) -> Record {
    let draft = &retention.effects.record;
    let mut actions = draft.actions.clone();
    actions.push(AuditAction::Purged);
    Record {
        at: group.now,
        tenant,
        principal: draft.principal,
        operation: draft.operation,
        actions,
        resource: Resource::new("tenant", tenant.to_string()),
        outcome: RecordOutcome::Done,
        reason: None,
        count: Some(count),
        detail: draft.detail.clone(),
    }
}
