//! Deleting tasks after their retention.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{AuditAction, Fence, Record, RecordOutcome, Resource, Stage, TaskId, TenantId};
use arbiter_core::ports::{Purge, Retention, Scope, StoreError};

use super::Places;
use crate::store::Transaction;
use crate::tables::{Tables, TaskRow};

/// Deletes tasks that only retention keeps; gives how many.
pub(super) fn purge(transaction: &mut Transaction<'_>, retention: &Retention) -> Result<usize, StoreError> {
    let rows = found(transaction.tables, retention);
    let mut counts: BTreeMap<TenantId, u64> = BTreeMap::new();
    for row in &rows {
        delete(transaction, row)?;
        *counts.entry(row.task.tenant).or_default() += 1;
    }
    for (tenant, count) in counts {
        transaction.leaf(&record(transaction, retention, tenant, count))?;
    }
    if !rows.is_empty() {
        transaction.outbox(&retention.effects.outbox);
    }
    if let Purge::Tenant(tenant) = retention.which {
        forget(transaction.tables, tenant);
    }
    Ok(rows.len())
}

fn found(tables: &Tables, retention: &Retention) -> Vec<TaskRow> {
    let all = (TaskId::from_bytes([0; 16]), TaskId::from_bytes([0xff; 16]));
    let ids: Vec<TaskId> = match &retention.which {
        Purge::ClosedBefore(before) => {
            let old = tables.settled.range(..(*before, all.0));
            old.take(retention.limit).map(|((_, task), ())| *task).collect()
        }
        Purge::Tenant(tenant) => {
            let own = tables.tasks_by_tenant.range((*tenant, all.0)..=(*tenant, all.1));
            own.map(|((_, task), ())| *task).collect()
        }
        Purge::Tasks(tenant, ids) => {
            let own = ids.iter().copied();
            own.filter(|task| tables.tasks_by_tenant.contains(&(*tenant, *task)))
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect()
        }
    };
    ids.iter()
        .filter_map(|task| tables.tasks.get(task))
        .filter(|row| Places::of(&row.task).settled.is_some())
        .filter(|row| {
            let is_young = retention
                .keyed_before
                .is_some_and(|before| row.task.submitted_at >= before);
            row.key.is_none() || !is_young
        })
        .take(retention.limit)
        .cloned()
        .collect()
}

/// Forgets lanes and counters of a tenant that has no task any more.
fn forget(tables: &mut Tables, tenant: TenantId) {
    let all = (TaskId::from_bytes([0; 16]), TaskId::from_bytes([0xff; 16]));
    if tables
        .tasks_by_tenant
        .range((tenant, all.0)..=(tenant, all.1))
        .next()
        .is_some()
    {
        return;
    }
    let lanes: Vec<_> = (tables.lanes.range(..))
        .filter(|(_, key)| key.tenant == tenant)
        .map(|(id, _)| *id)
        .collect();
    lanes.iter().for_each(|id| tables.lanes.remove(id));
    tables.tallies.remove(&tenant);
    let loads: Vec<_> = (tables.loads.range(..))
        .filter(|(scope, used)| {
            **used == 0 && matches!(scope, Scope::Tenant(of) | Scope::TenantKind(of, _) if *of == tenant)
        })
        .map(|(scope, _)| scope.clone())
        .collect();
    loads.iter().for_each(|scope| tables.loads.remove(scope));
}

fn delete(transaction: &mut Transaction<'_>, row: &TaskRow) -> Result<(), StoreError> {
    let (task, tables) = (&row.task, &mut *transaction.tables);
    if let Some(key) = &row.key {
        tables
            .idempotency
            .remove(&(task.tenant, task.submitter, key.clone()));
    }
    let attempts = (task.id, Fence(0))..=(task.id, Fence(u64::MAX));
    let attempts: Vec<_> = tables.attempts.range(attempts).map(|(key, _)| *key).collect();
    attempts.iter().for_each(|key| tables.attempts.remove(key));
    let stages = (task.id, Fence(0), Stage::Verify)..=(task.id, Fence(u64::MAX), Stage::Comply);
    let stages: Vec<_> = tables.stages.range(stages).map(|(key, _)| *key).collect();
    stages.iter().for_each(|key| tables.stages.remove(key));
    for prerequisite in &row.spec.after {
        tables.dependencies.remove(&(*prerequisite, task.id));
    }
    let outcomes = (task.id, Fence(0))..=(task.id, Fence(u64::MAX));
    let outcomes: Vec<_> = tables.outcomes.range(outcomes).map(|(key, _)| *key).collect();
    outcomes.iter().for_each(|key| tables.outcomes.remove(key));
    transaction.remove_task(task)
}

fn record(transaction: &Transaction<'_>, retention: &Retention, tenant: TenantId, count: u64) -> Record {
    let draft = &retention.effects.record;
    let mut actions = draft.actions.clone();
    actions.push(AuditAction::Purged);
    Record {
        at: transaction.now,
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
