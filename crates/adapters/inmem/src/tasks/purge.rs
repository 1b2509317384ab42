//! Deleting tasks after their retention.

use std::collections::BTreeMap;

use arbiter_core::model::{AuditAction, Fence, Record, RecordOutcome, Resource, Stage, TaskId, TenantId};
use arbiter_core::ports::{Retention, StoreError};

use crate::store::Transaction;
use crate::tables::TaskRow;

/// Deletes tasks that closed before a moment, oldest first; gives how many.
pub(super) fn purge(transaction: &mut Transaction<'_>, retention: &Retention) -> Result<usize, StoreError> {
    let before = ..(retention.closed_before, TaskId::from_bytes([0; 16]));
    let old: Vec<TaskRow> = (transaction.tables.settled.range(before))
        .take(retention.limit)
        .filter_map(|((_, task), ())| transaction.tables.tasks.get(task).cloned())
        .collect();
    let mut counts: BTreeMap<TenantId, u64> = BTreeMap::new();
    for row in &old {
        delete(transaction, row)?;
        *counts.entry(row.task.tenant).or_default() += 1;
    }
    for (tenant, count) in counts {
        transaction.leaf(&record(transaction, retention, tenant, count))?;
    }
    if !old.is_empty() {
        transaction.outbox(&retention.effects.outbox);
    }
    Ok(old.len())
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
    let outcomes: Vec<_> = tables.outcomes.range(outcomes).map(|(key, ())| *key).collect();
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
