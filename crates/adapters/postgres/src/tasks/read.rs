//! Reading tasks.

use std::collections::BTreeMap;

use arbiter_core::model::{Holder, StoredTask, TaskId, TaskKind, TenantId, TenantScope};
use arbiter_core::ports::{Tally, TaskHistory, TaskPage, TaskQuery};
use arbiter_wire::stored::{decode_attempt, decode_spec, decode_stage_report, holder_key, state_codes};
use tokio_postgres::Row;
use uuid::Uuid;

use super::flush::label_hash;
use super::rows;
use crate::error::Fault;
use crate::number::{natural, whole};
use crate::session::{Session, get, id_bytes, uuid};

/// A page looks at so many tasks, at most, for each that it may hold.
const SCAN_FACTOR: usize = 20;

const GET: &str = "SELECT t.status, s.body FROM task AS t JOIN task_spec AS s ON s.id = t.id
     WHERE t.id = ANY($1) AND ($2::uuid IS NULL OR t.tenant = $2) ORDER BY t.id";

const HELD: &str = "SELECT t.status, s.body FROM task AS t JOIN task_spec AS s ON s.id = t.id
     WHERE t.holder = $1 ORDER BY t.id";

/// Which of the next tasks of a tenant fit. What is scanned is cut off first, so that a filter which nothing fits costs
/// no more.
const SCAN_TENANT: &str = "SELECT n.id, t.state BETWEEN $4 AND $5 AND ($6::text IS NULL OR n.kind = $6)
       AND ($7::bigint IS NULL OR $7 = ANY(n.labels))
     FROM (SELECT id, kind, labels FROM task_spec WHERE tenant = $1 AND id >= $2 AND ($8 OR id > $2)
           ORDER BY id LIMIT $3) AS n
     JOIN task AS t ON t.id = n.id ORDER BY n.id";

/// As [`SCAN_TENANT`], of all tenants.
const SCAN_ALL: &str = "SELECT n.id, t.state BETWEEN $4 AND $5 AND ($6::text IS NULL OR n.kind = $6)
       AND ($7::bigint IS NULL OR $7 = ANY(n.labels))
     FROM (SELECT id, kind, labels FROM task_spec WHERE $1::uuid IS NULL AND id >= $2 AND ($8 OR id > $2)
           ORDER BY id LIMIT $3) AS n
     JOIN task AS t ON t.id = n.id ORDER BY n.id";

const ATTEMPTS: &str =
    "SELECT body FROM attempt WHERE task = $1 AND ($2::uuid IS NULL OR tenant = $2) ORDER BY fence";

const STAGES: &str = "SELECT body FROM stage_report WHERE task = $1 AND ($2::uuid IS NULL OR tenant = $2) ORDER BY fence, stage";

const TALLY: &str =
    "SELECT sum(queued)::bigint, sum(running)::bigint, sum(reviewing)::bigint, sum(held)::bigint,
       sum(dead)::bigint FROM tally WHERE tenant = $1";

/// Tasks by id, in the order of the ids.
pub(super) async fn get_all(
    session: &Session<'_>,
    scope: TenantScope,
    ids: &[TaskId],
) -> Result<Vec<Option<StoredTask>>, Fault> {
    let rows = session
        .query(GET, &[&rows::sorted(ids.iter().copied()), &of(scope)])
        .await?;
    let found = rows
        .iter()
        .map(|row| stored(row).map(|stored| (stored.task.id, stored)));
    let found: BTreeMap<TaskId, StoredTask> = found.collect::<Result<_, Fault>>()?;
    Ok(ids.iter().map(|id| found.get(id).cloned()).collect())
}

/// What a holder has.
pub(super) async fn held_by(session: &Session<'_>, holder: Holder) -> Result<Vec<StoredTask>, Fault> {
    let rows = session.query(HELD, &[&holder_key(holder).as_slice()]).await?;
    rows.iter().map(stored).collect()
}

/// A page of tasks.
pub(super) async fn list(
    session: &Session<'_>,
    scope: TenantScope,
    query: &TaskQuery,
) -> Result<TaskPage, Fault> {
    let limit = query.limit.clamp(1, 1000);
    let scan = limit * SCAN_FACTOR;
    let (lowest, highest) = query.state.map_or((0, i16::MAX), state_codes);
    let from_start = query.after.is_none();
    let after = query.after.map_or(Uuid::nil(), |id| uuid(id.as_bytes()));
    let kind = query.kind.as_ref().map(TaskKind::as_str);
    let label = (query.label.as_ref()).map(|(name, value)| label_hash(name, value));
    let sql = match scope {
        TenantScope::Tenant(_) => SCAN_TENANT,
        TenantScope::All => SCAN_ALL,
    };
    let rows = session
        .query(
            sql,
            &[
                &of(scope),
                &after,
                &whole(scan + 1),
                &lowest,
                &highest,
                &kind,
                &label,
                &from_start,
            ],
        )
        .await?;
    let mut page = TaskPage::default();
    let (mut fitting, mut last) = (Vec::new(), query.after);
    for (scanned, row) in rows.iter().enumerate() {
        if fitting.len() == limit || scanned == scan {
            page.next = last;
            break;
        }
        let id = TaskId::from_bytes(id_bytes(row, 0)?);
        last = Some(id);
        if get(row, 1)? {
            fitting.push(id);
        }
    }
    let found = get_all(session, scope, &fitting).await?.into_iter().flatten();
    // two labels may have one hash
    let label_fits = |stored: &StoredTask| {
        let label = query.label.as_ref();
        label.is_none_or(|(name, value)| stored.spec.labels.get(name) == Some(value))
    };
    page.tasks = found.filter(label_fits).collect();
    Ok(page)
}

/// The finished attempts and stage reports of a task.
pub(super) async fn history(
    session: &Session<'_>,
    scope: TenantScope,
    task: TaskId,
) -> Result<TaskHistory, Fault> {
    let (task, of) = (uuid(task.as_bytes()), of(scope));
    let mut history = TaskHistory::default();
    for row in &session.query(ATTEMPTS, &[&task, &of]).await? {
        history.attempts.push(decode_attempt(get(row, 0)?)?);
    }
    for row in &session.query(STAGES, &[&task, &of]).await? {
        history.stages.push(decode_stage_report(get(row, 0)?)?);
    }
    Ok(history)
}

/// How many tasks of a tenant stand where.
pub(super) async fn tally(session: &Session<'_>, tenant: TenantId) -> Result<Tally, Fault> {
    let row = session.query_opt(TALLY, &[&uuid(tenant.as_bytes())]).await?;
    let row = row.ok_or(Fault::Damaged("tally"))?;
    let count = |column: usize| Ok::<_, Fault>(natural(get::<Option<i64>>(&row, column)?.unwrap_or(0)));
    let (queued, running, reviewing, held) = (count(0)?, count(1)?, count(2)?, count(3)?);
    Ok(Tally {
        open: queued + running + reviewing + held,
        queued,
        running,
        reviewing,
        held,
        dead: count(4)?,
    })
}

fn stored(row: &Row) -> Result<StoredTask, Fault> {
    Ok(StoredTask {
        task: rows::task(row, 0)?,
        spec: decode_spec(get(row, 1)?)?.into(),
    })
}

fn of(scope: TenantScope) -> Option<Uuid> {
    match scope {
        TenantScope::Tenant(tenant) => Some(uuid(tenant.as_bytes())),
        TenantScope::All => None,
    }
}
