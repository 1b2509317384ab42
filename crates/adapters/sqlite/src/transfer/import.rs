//! Taking rows: a database that is made of them in one transaction, after everything was checked.

use std::path::{Path, PathBuf};

use arbiter_audit::tile::Tile;
use arbiter_core::model::{LaneId, TaskId, Timestamp};
use arbiter_core::ports::{Applied, Retry, TreeHead};
use arbiter_wire::stored::stage_code;
use arbiter_wire::transfer::{
    AgentRow, BatchRow, Body, Check, Damage, DocumentRow, End, LeaseRow, OutboxRow, PointRow, Rows,
    SeriesRow, SignedRow, TABLES, TaskRow, TransferError,
};
use rusqlite::{CachedStatement, Connection, TransactionBehavior, params};
use tokio::sync::{mpsc, oneshot};

use super::{OPERATION, counts};
use crate::error::{Fault, failed};
use crate::number::whole;
use crate::schema;
use crate::tail::{Placed, place_batch, place_tile};

/// Makes a database of rows: a file that is not there yet, or a database that is empty and that nobody uses. It is one
/// file afterwards. Artifacts do not belong into it. Memory: see [`Check`].
///
/// # Errors
/// [`TransferError::NotEmpty`], [`TransferError::Damaged`] when what came does not add up, [`TransferError::Cut`] when the
/// rows stop before their end, [`TransferError::Store`] when the file cannot be made or written. The database is empty
/// then.
///
/// # Cancel safety
/// Safe: when the rows end early, nothing of them is kept.
pub async fn import(path: PathBuf, rows: mpsc::Receiver<Rows>) -> Result<TreeHead, TransferError> {
    let (answer, taken) = oneshot::channel();
    let work = move || {
        // the caller may have gone: then nobody wants the answer
        let _ = answer.send(take(&path, rows).map_err(Stop::told));
    };
    let cannot = |why| failed(OPERATION, Applied::No, Retry::Transient, why);
    let thread = std::thread::Builder::new().name("arbiter-sqlite-import".to_owned());
    let _joined_by_the_answer = thread
        .spawn(work)
        .map_err(|_| cannot("no thread could be started"))?;
    taken
        .await
        .unwrap_or_else(|_| Err(cannot("the writer panicked").into()))
}

/// Why rows are not taken.
enum Stop {
    Fault(Fault),
    Refused(TransferError),
}

impl Stop {
    fn told(self) -> TransferError {
        match self {
            Self::Fault(fault) => fault.into_store(OPERATION).into(),
            Self::Refused(error) => error,
        }
    }
}

impl<E: Into<Fault>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

fn damaged(damage: Damage) -> Stop {
    Stop::Refused(damage.into())
}

fn take(path: &Path, rows: mpsc::Receiver<Rows>) -> Result<TreeHead, Stop> {
    let mut connection = schema::open_writer(path)?;
    let head = take_into(&mut connection, rows)?;
    // without a log beside it, the database is one file
    connection.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)?;
    Ok(head)
}

fn take_into(connection: &mut Connection, mut rows: mpsc::Receiver<Rows>) -> Result<TreeHead, Stop> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let before = counts(&transaction)?;
    if let Some(table) = TABLES.into_iter().find(|table| before.of(table) > 0) {
        return Err(Stop::Refused(TransferError::NotEmpty { table }));
    }
    let mut target = Target {
        connection: &transaction,
        check: Check::default(),
    };
    loop {
        match rows.blocking_recv() {
            None => return Err(Stop::Refused(TransferError::Cut)),
            Some(Rows::End(end)) => {
                let head = target.finish(&end)?;
                transaction.commit()?;
                return Ok(head);
            }
            Some(rows) => target.take(rows)?,
        }
    }
}

struct Target<'a> {
    connection: &'a Connection,
    check: Check,
}

impl Target<'_> {
    fn take(&mut self, rows: Rows) -> Result<(), Stop> {
        match rows {
            Rows::Documents(rows) => rows.iter().try_for_each(|row| self.document(row)),
            Rows::Leases(rows) => rows.iter().try_for_each(|row| self.lease(row)),
            Rows::Outbox(rows) => rows.iter().try_for_each(|row| self.outbox(row)),
            Rows::Agents(rows) => rows.iter().try_for_each(|row| self.agent(row)),
            Rows::Outcomes(rows) => rows.iter().try_for_each(|(task, fence, at)| {
                let mut add =
                    self.statement("INSERT INTO agent_outcome (task, fence, at) VALUES (?1, ?2, ?3)")?;
                add.execute(params![
                    task.as_bytes(),
                    whole(fence.0),
                    at.map(Timestamp::as_micros)
                ])?;
                Ok(())
            }),
            Rows::Lanes(rows) => rows.iter().try_for_each(|(lane, body)| self.lane(*lane, body)),
            Rows::Tasks(rows) => rows.iter().try_for_each(|row| self.task(row)),
            Rows::Dependencies(rows) => rows
                .iter()
                .try_for_each(|(prerequisite, dependant)| self.dependency(*prerequisite, *dependant)),
            Rows::Loads(rows) => self.loads(&rows),
            Rows::Tallies(rows) => {
                self.check.tallies(&rows);
                rows.iter().try_for_each(|(tenant, counts)| {
                    let [queued, running, reviewing, held, dead] = counts;
                    let mut add = self.statement(
                        "INSERT INTO tally (tenant, queued, running, reviewing, held, dead)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    )?;
                    add.execute(params![tenant.as_bytes(), queued, running, reviewing, held, dead])?;
                    Ok(())
                })
            }
            Rows::Signed(row) => self.signed(&row),
            Rows::Batches(rows) => rows.iter().try_for_each(|row| self.batch(row)),
            Rows::Appends(rows) => rows.iter().try_for_each(|batch| {
                let mut add = self.statement("INSERT INTO audit_append (batch) VALUES (?1)")?;
                add.execute([batch])?;
                Ok(())
            }),
            Rows::Series(rows) => rows.iter().try_for_each(|row| self.series(row)),
            Rows::Points(rows) => rows.iter().try_for_each(|row| self.point(row)),
            Rows::Horizon(at) => {
                self.statement("UPDATE metric_horizon SET at = ?1")?
                    .execute([at])?;
                Ok(())
            }
            Rows::Artifact(_) | Rows::Piece(_) => Err(damaged(Damage::Row {
                table: "artifact",
                what: "the embedded store keeps artifacts as files",
            })),
            Rows::End(_) => Ok(()),
        }
    }

    fn finish(&self, end: &End) -> Result<TreeHead, Stop> {
        self.check
            .finish(end, &counts(self.connection)?)
            .map_err(damaged)?;
        Ok(TreeHead {
            size: end.size,
            root: end.root,
        })
    }

    fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, Fault> {
        Ok(self.connection.prepare_cached(sql)?)
    }

    fn document(&self, row: &DocumentRow) -> Result<(), Stop> {
        let mut add = self.statement(
            "INSERT INTO document (kind, tenant, id, revision, body, entries, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        add.execute(params![
            row.kind,
            row.tenant.as_bytes(),
            row.id,
            row.revision,
            row.body.0,
            row.entries,
            row.expires_at
        ])?;
        for (name, value) in self.check.declared(row).map_err(damaged)? {
            let mut add = self.statement(
                "INSERT INTO document_index (kind, name, value, tenant, id) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            add.execute(params![row.kind, name, value, row.tenant.as_bytes(), row.id])?;
        }
        Ok(())
    }

    fn lease(&self, row: &LeaseRow) -> Result<(), Stop> {
        let mut add =
            self.statement("INSERT INTO lease (name, node, fence, until) VALUES (?1, ?2, ?3, ?4)")?;
        let node = row.node.map(|node| *node.as_bytes());
        add.execute(params![row.name, node, row.fence, row.until])?;
        Ok(())
    }

    fn outbox(&self, row: &OutboxRow) -> Result<(), Stop> {
        let mut add = self.statement(
            "INSERT INTO outbox (id, topic, due_at, tries, body, quarantined, tenant, task)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        add.execute(params![
            row.id.as_bytes(),
            row.topic,
            row.due_at,
            row.tries,
            row.body.0,
            row.quarantined,
            row.tenant.map(|tenant| *tenant.as_bytes()),
            row.task.map(|task| *task.as_bytes()),
        ])?;
        Ok(())
    }

    fn agent(&self, row: &AgentRow) -> Result<(), Stop> {
        self.check.agent(row).map_err(damaged)?;
        let mut add = self.statement(
            "INSERT INTO agent (id, revision, seen_at, able, cpu, memory, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?;
        add.execute(params![
            row.id.as_bytes(),
            row.revision,
            row.seen_at,
            row.able,
            row.cpu,
            row.memory,
            row.body.as_ref().map(|body| body.0.as_str()),
        ])?;
        Ok(())
    }

    fn lane(&self, lane: LaneId, body: &Body) -> Result<(), Stop> {
        self.check.lane(lane, body).map_err(damaged)?;
        self.statement("INSERT INTO lane (lane, body) VALUES (?1, ?2)")?
            .execute(params![lane.0, body.0])?;
        Ok(())
    }

    fn task(&mut self, row: &TaskRow) -> Result<(), Stop> {
        let read = self.check.task(row).map_err(damaged)?;
        let (task, columns) = (&read.task, read.columns);
        let n = self
            .statement(
                "INSERT INTO task (id, tenant, lane, order_key, state, due_at, holder, closed_at, status)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .insert(params![
                task.id.as_bytes(),
                task.tenant.as_bytes(),
                columns.lane,
                columns.order_key,
                columns.state,
                columns.due_at,
                columns.holder,
                columns.closed_at,
                row.status.0,
            ])?;
        let key = row.idempotency.as_ref().map(|(key, _)| key.as_str());
        self.statement("INSERT INTO task_spec (n, idempotency_key, body) VALUES (?1, ?2, ?3)")?
            .execute(params![n, key, row.spec.0])?;
        if let Some((key, fingerprint)) = &row.idempotency {
            self.statement(
                "INSERT INTO idempotency (tenant, submitter, key, fingerprint, task) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                task.tenant.as_bytes(),
                task.submitter.as_bytes(),
                key,
                fingerprint.as_bytes(),
                task.id.as_bytes(),
            ])?;
        }
        for (attempt, body) in read.attempts.iter().zip(&row.attempts) {
            self.statement("INSERT INTO attempt (n, fence, command, body) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![
                    n,
                    whole(attempt.open.fence.0),
                    attempt.command.as_bytes(),
                    body.0
                ])?;
        }
        for (report, body) in read.stages.iter().zip(&row.stages) {
            self.statement(
                "INSERT INTO stage_report (n, fence, stage, command, body) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                n,
                whole(report.fence.0),
                stage_code(report.stage),
                report.command.as_bytes(),
                body.0,
            ])?;
        }
        Ok(())
    }

    fn dependency(&self, prerequisite: TaskId, dependant: TaskId) -> Result<(), Stop> {
        self.statement("INSERT INTO dependency (prerequisite, dependant) VALUES (?1, ?2)")?
            .execute(params![prerequisite.as_bytes(), dependant.as_bytes()])?;
        Ok(())
    }

    fn loads(&mut self, rows: &[(String, i64)]) -> Result<(), Stop> {
        self.check.loads(rows);
        for (scope, used) in rows.iter().filter(|(_, used)| *used != 0) {
            self.statement("INSERT INTO load (scope, used) VALUES (?1, ?2)")?
                .execute(params![scope, used])?;
        }
        Ok(())
    }

    fn signed(&mut self, row: &SignedRow) -> Result<(), Stop> {
        self.check.signed(row).map_err(damaged)?;
        self.statement("INSERT INTO audit_checkpoint (one, size, root, note) VALUES (1, ?1, ?2, ?3)")?
            .execute(params![whole(row.size), row.root.as_bytes(), row.note])?;
        Ok(())
    }

    fn batch(&mut self, row: &BatchRow) -> Result<(), Stop> {
        let placed = self.check.batch(row).map_err(damaged)?;
        place_batch(
            self.connection,
            &Placed {
                first: row.first,
                count: row.count,
                root: placed.root,
                hashes: &row.hashes,
                leaves: &row.leaves,
                details: row.details.as_deref(),
            },
        )?;
        let tiles: &[Tile] = &placed.tiles;
        for tile in tiles {
            place_tile(self.connection, tile)?;
        }
        Ok(())
    }

    fn series(&self, row: &SeriesRow) -> Result<(), Stop> {
        self.statement("INSERT INTO metric_series (id, name, labels) VALUES (?1, ?2, ?3)")?
            .execute(params![row.id, row.name, row.labels])?;
        Ok(())
    }

    fn point(&self, row: &PointRow) -> Result<(), Stop> {
        let PointRow {
            series,
            at,
            span,
            count,
            mean,
            min,
            max,
            last,
        } = row;
        self.statement(
            "INSERT INTO metric_point (series, at, span, count, mean, min, max, last)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![series, at, span, count, mean, min, max, last])?;
        Ok(())
    }
}
