//! Transitions and heartbeats.

use arbiter_core::lifecycle::{Call, Expect, Refusal, apply, extend, refused, settle};
use arbiter_core::model::{AuditAction, Fence, Record, RecordOutcome, Resource, Stage, Task};
use arbiter_core::ports::{LeaseRef, LeaseStatus, StoreError, Transition};

use crate::store::Transaction;
use crate::tables::{Tables, TaskRow};

/// Applies one transition.
pub(super) fn transit(
    transaction: &mut Transaction<'_>,
    transition: &Transition,
) -> Result<Result<Task, Refusal>, StoreError> {
    let Some(row) = transaction
        .tables
        .task(transition.tenant, transition.task)
        .cloned()
    else {
        transaction.leaf(&not_found(transaction, transition))?;
        return Ok(Err(Refusal::NotFound));
    };
    let call = Call {
        command: transition.command,
        expect: transition.expect,
        draft: &transition.effects.record,
        rules: transaction.rules,
        now: transaction.now,
    };
    match apply(&row.task, &transition.action, call) {
        Ok(change) => transaction.save(&row, change, &transition.effects.outbox).map(Ok),
        Err(refusal) => refuse(transaction, row, transition, refusal),
    }
}

fn refuse(
    transaction: &mut Transaction<'_>,
    row: TaskRow,
    transition: &Transition,
    refusal: Refusal,
) -> Result<Result<Task, Refusal>, StoreError> {
    let lost = match (&refusal, transition.expect) {
        (Refusal::LeaseLost, Expect::Lease { fence, holder }) => Some((fence, holder)),
        _ => None,
    };
    if let Some((fence, _)) = lost
        && is_repeat(transaction.tables, fence, transition)
    {
        return Ok(Ok(row.task));
    }
    let draft = &transition.effects.record;
    transaction.leaf(&refused(
        &row.task,
        &transition.action,
        &refusal,
        draft,
        transaction.now,
    ))?;
    if let Some(change) = lost.and_then(|(fence, holder)| settle(&row.task, fence, holder)) {
        transaction.save(&row, change, &[])?;
    }
    Ok(Err(refusal))
}

/// Whether the same command ended the attempt with this fence, or stored a verdict of the task's review.
fn is_repeat(tables: &Tables, fence: Fence, transition: &Transition) -> bool {
    let (task, command) = (transition.task, transition.command);
    let attempt = tables.attempts.get(&(task, fence));
    let verdicts = (task, Fence(0), Stage::Verify)..=(task, Fence(u64::MAX), Stage::Comply);
    attempt.is_some_and(|attempt| attempt.command == command)
        || tables
            .stages
            .range(verdicts)
            .any(|(_, report)| report.command == command)
}

fn not_found(transaction: &Transaction<'_>, transition: &Transition) -> Record {
    let draft = &transition.effects.record;
    let mut actions = draft.actions.clone();
    actions.push(AuditAction::Rejected);
    Record {
        at: transaction.now,
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
pub(super) fn beat(transaction: &mut Transaction<'_>, lease: &LeaseRef) -> Result<LeaseStatus, StoreError> {
    let Some(row) = transaction.tables.task(lease.tenant, lease.task).cloned() else {
        return Ok(LeaseStatus::Lost);
    };
    let (status, change) = extend(&row.task, lease, transaction.rules, transaction.now);
    if let Some(change) = change {
        transaction.save(&row, change, &[])?;
    }
    Ok(status)
}
