//! Deleting tasks after their retention.

use std::collections::BTreeMap;

use arbiter_core::model::{AuditAction, Record, RecordOutcome, Resource, TenantId};
use arbiter_core::ports::Retention;
use rusqlite::{OptionalExtension as _, params};

use crate::error::Fault;
use crate::group::Group;
use crate::number::whole;
use crate::row::{TaskRow, put_outbox, spec, task_row};

/// Tasks that nothing but retention keeps, oldest first.
pub(crate) const CLOSED: &str = "SELECT n, status FROM task INDEXED BY task_closed
     WHERE closed_at IS NOT NULL AND closed_at < ?1 ORDER BY closed_at, id LIMIT ?2";

/// Deletes tasks that closed before a moment; gives how many.
pub(crate) fn purge(group: &mut Group<'_>, retention: &Retention) -> Result<usize, Fault> {
    let mut old = Vec::new();
    {
        let mut statement = group.statement(CLOSED)?;
        let mut rows = statement.query(params![
            retention.closed_before.as_micros(),
            whole(retention.limit)
        ])?;
        while let Some(row) = rows.next()? {
            old.push(task_row(row, 0)?);
        }
    }
    let mut counts: BTreeMap<TenantId, u64> = BTreeMap::new();
    for row in &old {
        delete(group, row)?;
        *counts.entry(row.task.tenant).or_default() += 1;
    }
    for (tenant, count) in counts {
        let record = record(group, retention, tenant, count);
        group.leaf(record)?;
    }
    if !old.is_empty() {
        put_outbox(group, &retention.effects.outbox)?;
    }
    Ok(old.len())
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
