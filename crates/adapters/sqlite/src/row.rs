//! The row of a task: its columns, reading it, and saving what a change says.

use arbiter_core::lifecycle::Change;
use arbiter_core::model::{State, StoredTask, Task, TaskId, TaskSpec, TenantId};
use arbiter_core::ports::NewOutboxEntry;
use arbiter_wire::stored::{
    TaskColumns, decode_spec, decode_status, encode_attempt, encode_stage_report, encode_status, stage_code,
};
use rusqlite::{Connection, Row, params};

use crate::error::Fault;
use crate::group::Group;
use crate::number::whole;

/// A task and the number of its row.
#[derive(Debug, Clone)]
pub(crate) struct TaskRow {
    pub(crate) n: i64,
    pub(crate) task: Task,
}

/// Reads a task out of a row whose columns `at` and after are number and status.
pub(crate) fn task_row(row: &Row<'_>, at: usize) -> Result<TaskRow, Fault> {
    let status = row.get_ref(at + 1)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(TaskRow {
        n: row.get(at)?,
        task: decode_status(status)?,
    })
}

/// Finds a task by its id.
pub(crate) fn find(connection: &Connection, id: TaskId) -> Result<Option<TaskRow>, Fault> {
    let mut statement = connection.prepare_cached("SELECT n, status FROM task WHERE id = ?1")?;
    let mut rows = statement.query([id.as_bytes()])?;
    rows.next()?.map(|row| task_row(row, 0)).transpose()
}

/// Finds a task of a tenant by its id.
pub(crate) fn find_in(
    connection: &Connection,
    tenant: TenantId,
    id: TaskId,
) -> Result<Option<TaskRow>, Fault> {
    Ok(find(connection, id)?.filter(|row| row.task.tenant == tenant))
}

/// The specification of a task.
pub(crate) fn spec(connection: &Connection, n: i64) -> Result<TaskSpec, Fault> {
    let mut statement = connection.prepare_cached("SELECT body FROM task_spec WHERE n = ?1")?;
    let mut rows = statement.query([n])?;
    let row = rows.next()?.ok_or(Fault::Damaged("task specification"))?;
    Ok(decode_spec(
        row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?,
    )?)
}

/// A task with its specification.
pub(crate) fn stored(connection: &Connection, row: TaskRow) -> Result<StoredTask, Fault> {
    let spec = spec(connection, row.n)?.into();
    Ok(StoredTask { task: row.task, spec })
}

/// Writes a new task; gives the number of its row.
pub(crate) fn insert(group: &Group<'_>, task: &Task) -> Result<i64, Fault> {
    let columns = TaskColumns::of(task);
    let mut statement = group.statement(
        "INSERT INTO task (id, tenant, lane, order_key, state, due_at, holder, closed_at, status)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    Ok(statement.insert(params![
        task.id.as_bytes(),
        task.tenant.as_bytes(),
        columns.lane,
        columns.order_key,
        columns.state,
        columns.due_at,
        columns.holder,
        columns.closed_at,
        encode_status(task)?,
    ])?)
}

/// Saves the task of a row, touching only the indexes that its change touches.
pub(crate) fn update(group: &Group<'_>, n: i64, before: &Task, task: &Task) -> Result<(), Fault> {
    let (old, new) = (TaskColumns::of(before), TaskColumns::of(task));
    let status = encode_status(task)?;
    let with_due_of_old = TaskColumns {
        due_at: new.due_at,
        ..old
    };
    if new == old {
        group
            .statement("UPDATE task SET status = ?2 WHERE n = ?1")?
            .execute(params![n, status])?;
    } else if new == with_due_of_old {
        group
            .statement("UPDATE task SET due_at = ?2, status = ?3 WHERE n = ?1")?
            .execute(params![n, new.due_at, status])?;
    } else {
        group
            .statement(
                "UPDATE task SET lane = ?2, order_key = ?3, state = ?4, due_at = ?5, holder = ?6, closed_at = ?7,
                   status = ?8
                 WHERE n = ?1",
            )?
            .execute(params![
                n,
                new.lane,
                new.order_key,
                new.state,
                new.due_at,
                new.holder,
                new.closed_at,
                status
            ])?;
    }
    Ok(())
}

/// Saves everything that a change says, and the entries for outside if it made a transition. Gives the task.
pub(crate) fn save(
    group: &mut Group<'_>,
    before: &TaskRow,
    change: Change,
    outbox: &[NewOutboxEntry],
) -> Result<Task, Fault> {
    let Change {
        next,
        ended,
        stage,
        loads,
        record,
    } = change;
    if next != before.task {
        if let State::Reviewing { stage, .. } = next.state {
            group.keep_lane(next.lane_now(), || next.review_lane(stage))?;
        }
        update(group, before.n, &before.task, &next)?;
        group.retally(next.tenant, Some(&before.task.state), Some(&next.state))?;
    }
    if let Some(attempt) = ended {
        group
            .statement("INSERT INTO attempt (n, fence, command, body) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![
                before.n,
                whole(attempt.open.fence.0),
                attempt.command.as_bytes(),
                encode_attempt(&attempt)?
            ])?;
    }
    if let Some(report) = stage {
        group
            .statement(
                "INSERT INTO stage_report (n, fence, stage, command, body) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (n, fence, stage) DO UPDATE SET command = excluded.command, body = excluded.body",
            )?
            .execute(params![
                before.n,
                whole(report.fence.0),
                stage_code(report.stage),
                report.command.as_bytes(),
                encode_stage_report(&report)?
            ])?;
    }
    group.count(loads)?;
    if let Some(record) = record {
        put_outbox(group, outbox)?;
        group.leaf(record)?;
    }
    Ok(next)
}

/// Writes entries for outside; one that is there already stays.
pub(crate) fn put_outbox(group: &Group<'_>, entries: &[NewOutboxEntry]) -> Result<(), Fault> {
    for entry in entries {
        group
            .statement(
                "INSERT INTO outbox (id, topic, due_at, body, tenant, task) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                entry.id.as_bytes(),
                entry.topic,
                group.now.as_micros(),
                entry.body.as_str(),
                entry.about.map(|(tenant, _)| *tenant.as_bytes()),
                entry
                    .about
                    .and_then(|(_, task)| task)
                    .map(|task| *task.as_bytes()),
            ])?;
    }
    Ok(())
}
