//! What happens without anybody calling: timers, and the ends of prerequisites.

use arbiter_core::lifecycle::{Call, Command, Expect, apply};
use arbiter_core::model::{CommandId, RecordDraft, State, TaskId, TenantId, Timestamp};
use arbiter_core::ports::DueDone;
use rusqlite::{OptionalExtension as _, params};

use crate::error::Fault;
use crate::group::Group;
use crate::number::whole;
use crate::row::{TaskRow, find_in, save, task_row, update};

/// Overdue tasks in time order.
pub(crate) const OVERDUE: &str = "SELECT n, status FROM task INDEXED BY task_due
     WHERE due_at IS NOT NULL AND due_at <= ?1 ORDER BY due_at, id LIMIT ?2";

/// The next moment at which something will be due.
pub(crate) const NEXT_DUE: &str =
    "SELECT due_at FROM task INDEXED BY task_due WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1";

/// How many things one task may have overdue at a time: a deadline, then slots to give back, then its dependants.
const STEPS: usize = 4;

/// Does what is overdue, at most `limit` tasks and `limit` dependants.
pub(crate) fn due(group: &mut Group<'_>, limit: usize) -> Result<DueDone, Fault> {
    let mut done = DueDone::default();
    let mut overdue = Vec::new();
    {
        let mut statement = group.statement(OVERDUE)?;
        let mut rows = statement.query(params![group.now.as_micros(), whole(limit)])?;
        while let Some(row) = rows.next()? {
            overdue.push(task_row(row, 0)?);
        }
    }
    for row in overdue {
        // an earlier one of the same call may have changed it
        let row = find_in(group.connection, row.task.tenant, row.task.id)?.unwrap_or(row);
        handle(group, row, limit, &mut done)?;
        done.handled += 1;
    }
    let next: Option<i64> = group
        .statement(NEXT_DUE)?
        .query_row([], |row| row.get(0))
        .optional()?;
    done.next = next.map(Timestamp::from_micros);
    Ok(done)
}

fn handle(group: &mut Group<'_>, mut row: TaskRow, limit: usize, done: &mut DueDone) -> Result<(), Fault> {
    for _ in 0..STEPS {
        if row.task.due_at().is_none_or(|at| at > group.now) {
            return Ok(());
        }
        if row.task.state.is_closed() && row.task.has_dependants {
            if !tell_dependants(group, &mut row, limit, done)? {
                return Ok(());
            }
            continue;
        }
        if !step(group, &mut row, done)? {
            return Ok(());
        }
    }
    Ok(())
}

/// Does one overdue thing; false when there was none.
fn step(group: &mut Group<'_>, row: &mut TaskRow, done: &mut DueDone) -> Result<bool, Fault> {
    let draft = RecordDraft::default();
    let call = Call {
        command: CommandId::for_version(row.task.id, row.task.version),
        expect: Expect::Any,
        draft: &draft,
        rules: group.rules,
        now: group.now,
    };
    let Ok(change) = apply(&row.task, &Command::Due, call) else {
        return Ok(false);
    };
    row.task = save(group, row, change, &[])?;
    note(done, row.task.id, row.task.tenant);
    Ok(true)
}

fn note(done: &mut DueDone, task: TaskId, tenant: TenantId) {
    if !done.changed.contains(&(task, tenant)) {
        done.changed.push((task, tenant));
    }
}

/// Tells those that wait for this task how it ended; false when some are left for the next call.
fn tell_dependants(
    group: &mut Group<'_>,
    row: &mut TaskRow,
    limit: usize,
    done: &mut DueDone,
) -> Result<bool, Fault> {
    let room = limit.saturating_sub(done.changed.len());
    let prerequisite = row.task.id;
    let mut waiting: Vec<TaskId> = Vec::new();
    {
        let mut statement = group.statement(
            "SELECT dependant FROM dependency WHERE prerequisite = ?1 ORDER BY dependant LIMIT ?2",
        )?;
        let mut rows = statement.query(params![prerequisite.as_bytes(), whole(room.saturating_add(1))])?;
        while let Some(row) = rows.next()? {
            waiting.push(TaskId::from_bytes(row.get(0)?));
        }
    }
    let more = waiting.len() > room;
    waiting.truncate(room);
    let succeeded = row.task.state == State::Succeeded;
    for id in waiting {
        group
            .statement("DELETE FROM dependency WHERE prerequisite = ?1 AND dependant = ?2")?
            .execute(params![prerequisite.as_bytes(), id.as_bytes()])?;
        tell(group, row, id, succeeded, done)?;
    }
    if !more {
        let before = row.task.clone();
        row.task.has_dependants = false;
        update(group, row.n, &before, &row.task)?;
    }
    Ok(!more)
}

fn tell(
    group: &mut Group<'_>,
    prerequisite: &TaskRow,
    id: TaskId,
    succeeded: bool,
    done: &mut DueDone,
) -> Result<(), Fault> {
    // it may have been purged
    let Some(dependant) = find_in(group.connection, prerequisite.task.tenant, id)? else {
        return Ok(());
    };
    let draft = RecordDraft::default();
    let call = Call {
        command: CommandId::for_version(id, dependant.task.version),
        expect: Expect::Any,
        draft: &draft,
        rules: group.rules,
        now: group.now,
    };
    let action = Command::Prerequisite {
        id: prerequisite.task.id,
        succeeded,
    };
    // refused when the dependant was cancelled or held meanwhile: nothing to tell then
    if let Ok(change) = apply(&dependant.task, &action, call) {
        save(group, &dependant, change, &[])?;
        note(done, id, dependant.task.tenant);
    }
    Ok(())
}
