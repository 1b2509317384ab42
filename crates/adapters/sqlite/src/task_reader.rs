//! The port `TaskReader`.

use arbiter_core::model::{Holder, StoredTask, TaskId, TenantId, TenantScope};
use arbiter_core::ports::{StoreError, Tally, TaskHistory, TaskPage, TaskQuery, TaskReader};
use arbiter_wire::stored::{decode_attempt, decode_stage_report, holder_key, state_codes};
use async_trait::async_trait;
use rusqlite::{Connection, params};

use crate::error::Fault;
use crate::group::{open, read_tally};
use crate::number::{natural, whole};
use crate::row::{self, find, stored, task_row};
use crate::store::SqliteStore;

/// A page looks at so many tasks, at most, for each that it may hold.
const SCAN_FACTOR: usize = 20;

#[async_trait]
impl TaskReader for SqliteStore {
    async fn get(&self, scope: TenantScope, ids: &[TaskId]) -> Result<Vec<Option<StoredTask>>, StoreError> {
        let ids = ids.to_vec();
        self.read("get", move |connection| {
            let found = ids.iter().map(|id| match find(connection, *id)? {
                Some(row) if scope.covers(row.task.tenant) => stored(connection, row).map(Some),
                _ => Ok(None),
            });
            found.collect()
        })
        .await
    }

    async fn list(&self, scope: TenantScope, query: TaskQuery) -> Result<TaskPage, StoreError> {
        self.read("list", move |connection| list(connection, scope, &query))
            .await
    }

    async fn history(&self, scope: TenantScope, task: TaskId) -> Result<TaskHistory, StoreError> {
        self.read("history", move |connection| {
            match find(connection, task)?.filter(|row| scope.covers(row.task.tenant)) {
                Some(row) => history(connection, row.n),
                None => Ok(TaskHistory::default()),
            }
        })
        .await
    }

    async fn held_by(&self, holder: Holder) -> Result<Vec<StoredTask>, StoreError> {
        self.read("held_by", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT n, status FROM task INDEXED BY task_holder WHERE holder = ?1 ORDER BY id",
            )?;
            let mut rows = statement.query([holder_key(holder)])?;
            let mut held = Vec::new();
            while let Some(row) = rows.next()? {
                held.push(stored(connection, task_row(row, 0)?)?);
            }
            Ok(held)
        })
        .await
    }

    async fn tally(&self, tenant: TenantId) -> Result<Tally, StoreError> {
        self.read("tally", move |connection| {
            let tally = read_tally(connection, tenant)?;
            let [queued, running, reviewing, held, dead] = tally.map(natural);
            Ok(Tally {
                open: natural(open(tally)),
                queued,
                running,
                reviewing,
                held,
                dead,
            })
        })
        .await
    }
}

fn history(connection: &Connection, n: i64) -> Result<TaskHistory, Fault> {
    let mut history = TaskHistory::default();
    let mut statement = connection.prepare_cached("SELECT body FROM attempt WHERE n = ?1 ORDER BY fence")?;
    let mut rows = statement.query([n])?;
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        history.attempts.push(decode_attempt(body)?);
    }
    let mut statement =
        connection.prepare_cached("SELECT body FROM stage_report WHERE n = ?1 ORDER BY fence, stage")?;
    let mut rows = statement.query([n])?;
    while let Some(row) = rows.next()? {
        let body = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        history.stages.push(decode_stage_report(body)?);
    }
    Ok(history)
}

fn list(connection: &Connection, scope: TenantScope, query: &TaskQuery) -> Result<TaskPage, Fault> {
    let limit = query.limit.clamp(1, 1000);
    let scan = limit * SCAN_FACTOR;
    let mut page = TaskPage::default();
    let (lowest, highest) = query.state.map_or((0, i16::MAX), state_codes);
    let mut scanned = 0;
    let mut last = query.after;
    // a cursor that no id lies before
    let after = query.after.map_or([0; 16], |id| *id.as_bytes());
    let from_start = query.after.is_none();
    let sql = match scope {
        TenantScope::Tenant(_) => {
            "SELECT id, state, n, status FROM task INDEXED BY task_list
             WHERE tenant = ?1 AND id >= ?2 ORDER BY id LIMIT ?3"
        }
        TenantScope::All => {
            "SELECT id, state, n, status FROM task INDEXED BY task_id
             WHERE ?1 IS NULL AND id >= ?2 ORDER BY id LIMIT ?3"
        }
    };
    let tenant = match scope {
        TenantScope::Tenant(tenant) => Some(*tenant.as_bytes()),
        TenantScope::All => None,
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![tenant, after, whole(scan + 2)])?;
    while let Some(row) = rows.next()? {
        let id = TaskId::from_bytes(row.get(0)?);
        if Some(id) == query.after && !from_start {
            continue;
        }
        if page.tasks.len() == limit || scanned == scan {
            page.next = last;
            break;
        }
        scanned += 1;
        last = Some(id);
        let state: i16 = row.get(1)?;
        if !(lowest..=highest).contains(&state) {
            continue;
        }
        let row = task_row(row, 2)?;
        let spec = row::spec(connection, row.n)?;
        let kind_fits = query.kind.as_ref().is_none_or(|kind| *kind == spec.kind);
        let label_fits = (query.label.as_ref())
            .is_none_or(|(name, value)| spec.labels.get(name).is_some_and(|found| found == value));
        if kind_fits && label_fits {
            page.tasks.push(StoredTask {
                task: row.task,
                spec: spec.into(),
            });
        }
    }
    Ok(page)
}
