//! Reading tasks by what names them, with their rows locked.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{Task, TaskId};
use arbiter_wire::stored::decode_status;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::error::Fault;
use crate::session::{Session, get, uuid};

/// Tasks by id, locked in the order of their ids. What was changed while this waited is read as it is now.
const LOCK: &str = "SELECT status FROM task WHERE id = ANY($1) ORDER BY id FOR UPDATE";

/// As [`LOCK`], without those that somebody else has locked.
const LOCK_FREE: &str = "SELECT status FROM task WHERE id = ANY($1) ORDER BY id FOR UPDATE SKIP LOCKED";

/// The task in a column.
pub(super) fn task(row: &Row, column: usize) -> Result<Task, Fault> {
    Ok(decode_status(get(row, column)?)?)
}

/// Ids as a statement takes them, each once and sorted.
pub(super) fn sorted(ids: impl IntoIterator<Item = TaskId>) -> Vec<Uuid> {
    let ids: BTreeSet<TaskId> = ids.into_iter().collect();
    ids.iter().map(|id| uuid(id.as_bytes())).collect()
}

/// Locks tasks and reads them; waits for who has them.
pub(super) async fn lock(
    session: &Session<'_>,
    ids: impl IntoIterator<Item = TaskId>,
) -> Result<BTreeMap<TaskId, Task>, Fault> {
    locked(session, LOCK, sorted(ids)).await
}

/// Locks those of the tasks that nobody else has locked, and reads them.
pub(super) async fn lock_free(
    session: &Session<'_>,
    ids: impl IntoIterator<Item = TaskId>,
) -> Result<BTreeMap<TaskId, Task>, Fault> {
    locked(session, LOCK_FREE, sorted(ids)).await
}

async fn locked(session: &Session<'_>, sql: &str, ids: Vec<Uuid>) -> Result<BTreeMap<TaskId, Task>, Fault> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = session.query(sql, &[&ids]).await?;
    let tasks = rows.iter().map(|row| task(row, 0).map(|task| (task.id, task)));
    tasks.collect()
}
