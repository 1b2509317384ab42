//! Deleting tasks after their retention.

use std::collections::BTreeMap;

use arbiter_core::lifecycle::Rules;
use arbiter_core::model::{AuditAction, Record, RecordOutcome, Resource, Task, TaskId, TenantId};
use arbiter_core::ports::{Purge, Retention};
use uuid::Uuid;

use super::flush::nothing;
use super::group::Group;
use super::rows;
use crate::error::Fault;
use crate::number::whole;
use crate::session::{Session, get, uuid};
use crate::write::Write;

/// Tasks that nothing but retention keeps, oldest first.
const CLOSED: &str = "SELECT t.status FROM task AS t WHERE t.closed_at < $1
     ORDER BY t.closed_at, t.id LIMIT $2 FOR UPDATE SKIP LOCKED";

/// The closed tasks of a tenant, by id.
const OF_TENANT: &str = "SELECT status FROM task WHERE tenant = $1 AND closed_at IS NOT NULL
     ORDER BY id LIMIT $2 FOR UPDATE";

/// Those of a tenant's tasks that are closed, by id.
const THESE: &str = "SELECT status FROM task WHERE id = ANY($1) AND tenant = $2 AND closed_at IS NOT NULL
     ORDER BY id LIMIT $3 FOR UPDATE";

/// Those of the tasks that were submitted under a key.
const KEYED: &str = "SELECT id FROM task_spec WHERE id = ANY($1) AND idempotency_key IS NOT NULL";

const DELETE: [&str; 6] = [
    "DELETE FROM dependency WHERE dependant = ANY($1)",
    "DELETE FROM task_spec WHERE id = ANY($1)",
    "DELETE FROM attempt WHERE task = ANY($1)",
    "DELETE FROM stage_report WHERE task = ANY($1)",
    "DELETE FROM agent_outcome WHERE task = ANY($1)",
    "DELETE FROM task WHERE id = ANY($1)",
];

/// The counters of a tenant, locked: a submission that is under way has them, or waits for them before it looks for its
/// lanes.
const LOCK_TALLIES: &str = "SELECT shard FROM tally WHERE tenant = $1 ORDER BY shard FOR UPDATE";

const HAS_TASKS: &str = "SELECT EXISTS (SELECT FROM task_spec WHERE tenant = $1)";

const FORGET: [&str; 2] = [
    "DELETE FROM lane WHERE tenant = $1",
    "DELETE FROM tally WHERE tenant = $1",
];

/// Scopes of a tenant begin with it; see `arbiter_wire::stored::scope_key`.
const FORGET_LOADS: &str =
    "DELETE FROM load WHERE (scope = 't:' || $1 OR starts_with(scope, 'k:' || $1 || ':')) AND used = 0";

/// Deletes tasks that only retention keeps; gives how many.
pub(super) async fn purge(write: &mut Write<'_>, retention: &Retention) -> Result<usize, Fault> {
    let rules = Rules::default();
    let mut group = Group::new(&rules, write.session.now);
    let found = found(&write.session, retention).await?;
    let found = without_keyed(&write.session, retention, found).await?;
    delete(&write.session, rows::sorted(found.iter().map(|task| task.id))).await?;
    let mut counts: BTreeMap<TenantId, u64> = BTreeMap::new();
    for task in &found {
        *counts.entry(task.tenant).or_default() += 1;
        group.retally(task.tenant, Some(&task.state), None);
    }
    for (tenant, count) in counts {
        group.records.push(record(&group, retention, tenant, count));
    }
    if !found.is_empty() {
        group.outbox.extend_from_slice(&retention.effects.outbox);
    }
    // their leaves are stored behind what is forgotten below: see `put_leaves`
    let records = std::mem::take(&mut group.records);
    group.flush(write, nothing).await?;
    if let Purge::Tenant(tenant) = retention.which {
        forget(&write.session, tenant).await?;
    }
    for record in &records {
        write.leaf(record)?;
    }
    Ok(found.len())
}

async fn found(session: &Session<'_>, retention: &Retention) -> Result<Vec<Task>, Fault> {
    let limit = whole(retention.limit);
    let rows = match &retention.which {
        Purge::ClosedBefore(before) => session.query(CLOSED, &[&before.as_micros(), &limit]).await?,
        Purge::Tenant(tenant) => {
            let tenant = uuid(tenant.as_bytes());
            session.query(OF_TENANT, &[&tenant, &limit]).await?
        }
        Purge::Tasks(tenant, ids) => {
            let ids = rows::sorted(ids.iter().copied());
            let tenant = uuid(tenant.as_bytes());
            session.query(THESE, &[&ids, &tenant, &limit]).await?
        }
    };
    rows.iter().map(|row| rows::task(row, 0)).collect()
}

/// Leaves out those that a repeat of their submission must find yet.
async fn without_keyed(
    session: &Session<'_>,
    retention: &Retention,
    mut found: Vec<Task>,
) -> Result<Vec<Task>, Fault> {
    let Some(before) = retention.keyed_before else {
        return Ok(found);
    };
    let recent = found.iter().filter(|task| task.submitted_at >= before);
    let recent = rows::sorted(recent.map(|task| task.id));
    if recent.is_empty() {
        return Ok(found);
    }
    let rows = session.query(KEYED, &[&recent]).await?;
    let keyed: Result<Vec<TaskId>, Fault> = rows
        .iter()
        .map(|row| Ok(TaskId::from_bytes(get::<Uuid>(row, 0)?.into_bytes())))
        .collect();
    let keyed = keyed?;
    found.retain(|task| !keyed.contains(&task.id));
    Ok(found)
}

async fn delete(session: &Session<'_>, ids: Vec<Uuid>) -> Result<(), Fault> {
    if ids.is_empty() {
        return Ok(());
    }
    for sql in DELETE {
        session.execute(sql, &[&ids]).await?;
    }
    Ok(())
}

/// Forgets lanes and counters of a tenant that has no task any more.
async fn forget(session: &Session<'_>, tenant: TenantId) -> Result<(), Fault> {
    let id = uuid(tenant.as_bytes());
    session.query(LOCK_TALLIES, &[&id]).await?;
    // a statement of its own: it must see what was committed while this one waited
    let row = session.query_opt(HAS_TASKS, &[&id]).await?;
    if row.map(|row| get(&row, 0)).transpose()?.unwrap_or(true) {
        return Ok(());
    }
    session.execute(FORGET_LOADS, &[&tenant.to_string()]).await?;
    for sql in FORGET {
        session.execute(sql, &[&id]).await?;
    }
    Ok(())
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
