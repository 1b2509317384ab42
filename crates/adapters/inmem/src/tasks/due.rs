//! What happens without anybody calling: timers, and the ends of prerequisites.

use arbiter_core::lifecycle::{Call, Change, Command, Expect, Refusal, apply};
use arbiter_core::model::{CommandId, RecordDraft, State, Task, TaskId, TenantId};
use arbiter_core::ports::{DueDone, StoreError};

use crate::store::Transaction;
use crate::tables::TaskRow;

/// How many things one task may have overdue at a time: a deadline, then slots to give back, then its dependants.
const STEPS: usize = 4;

/// Does what is overdue, at most `limit` tasks and `limit` dependants.
pub(super) fn due(transaction: &mut Transaction<'_>, limit: usize) -> Result<DueDone, StoreError> {
    let mut done = DueDone::default();
    let overdue = ..=(transaction.now, TaskId::from_bytes([u8::MAX; 16]));
    let overdue: Vec<TaskId> = transaction
        .tables
        .due
        .range(overdue)
        .take(limit)
        .map(|((_, task), ())| *task)
        .collect();
    for id in overdue {
        handle(transaction, id, limit, &mut done)?;
        done.handled += 1;
    }
    done.next = transaction.tables.due.iter().next().map(|((at, _), ())| *at);
    Ok(done)
}

fn handle(
    transaction: &mut Transaction<'_>,
    id: TaskId,
    limit: usize,
    done: &mut DueDone,
) -> Result<(), StoreError> {
    for _ in 0..STEPS {
        let now = transaction.now;
        let row = transaction
            .tables
            .tasks
            .get(&id)
            .filter(|row| row.task.due_at().is_some_and(|at| at <= now));
        let Some(row) = row.cloned() else { return Ok(()) };
        let goes_on = if row.task.state.is_closed() && row.task.has_dependants {
            tell_dependants(transaction, row, limit, done)?
        } else {
            step(transaction, &row, &Command::Due, done)?
        };
        if !goes_on {
            return Ok(());
        }
    }
    Ok(())
}

/// Applies a command that nobody asks for; false when it is refused.
fn step(
    transaction: &mut Transaction<'_>,
    row: &TaskRow,
    action: &Command,
    done: &mut DueDone,
) -> Result<bool, StoreError> {
    let Ok(change) = decide(transaction, &row.task, action) else {
        return Ok(false);
    };
    transaction.save(row, change, &[])?;
    note(done, row.task.id, row.task.tenant);
    Ok(true)
}

fn decide(transaction: &Transaction<'_>, task: &Task, action: &Command) -> Result<Change, Refusal> {
    let call = Call {
        command: CommandId::for_version(task.id, task.version),
        expect: Expect::Any,
        draft: &RecordDraft::default(),
        rules: transaction.rules,
        now: transaction.now,
    };
    apply(task, action, call)
}

fn note(done: &mut DueDone, task: TaskId, tenant: TenantId) {
    if !done.changed.contains(&(task, tenant)) {
        done.changed.push((task, tenant));
    }
}

/// Tells those that wait for this task how it ended; false when some are left for the next call.
fn tell_dependants(
    transaction: &mut Transaction<'_>,
    mut row: TaskRow,
    limit: usize,
    done: &mut DueDone,
) -> Result<bool, StoreError> {
    let Task { id, tenant, .. } = row.task;
    let action = Command::Prerequisite {
        id,
        succeeded: row.task.state == State::Succeeded,
    };
    let of_it = (id, TaskId::from_bytes([0; 16]))..=(id, TaskId::from_bytes([u8::MAX; 16]));
    let waiting: Vec<TaskId> = transaction
        .tables
        .dependencies
        .range(of_it)
        .map(|((_, task), ())| *task)
        .collect();
    let room = limit.saturating_sub(done.changed.len());
    let more = waiting.len() > room;
    for dependant in waiting.into_iter().take(room) {
        transaction.tables.dependencies.remove(&(id, dependant));
        // it may have been purged, cancelled or held meanwhile: then there is nothing to tell
        if let Some(dependant) = transaction.tables.task(tenant, dependant).cloned() {
            step(transaction, &dependant, &action, done)?;
        }
    }
    if !more {
        row.task.has_dependants = false;
        transaction.put_task(row)?;
    }
    Ok(!more)
}
