//! Giving rows: one snapshot of the database, read on a thread of its own while the store goes on being used.

use std::path::Path;

use arbiter_core::model::{
    AgentId, Digest, Fence, LaneId, NodeId, OutboxId, PrincipalId, TaskId, TenantId, Timestamp,
};
use arbiter_core::ports::{Applied, Retry};
use arbiter_wire::stored::decode_status;
use arbiter_wire::transfer::{
    AgentRow, Batch, BatchRow, Body, DocumentRow, End, LeaseRow, OutboxRow, PointRow, Rows, SeriesRow,
    SignedRow, TaskRow, TransferError,
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tokio::sync::{mpsc, oneshot};

use super::{OPERATION, counts};
use crate::error::{Fault, failed};
use crate::number::natural;
use crate::schema;
use crate::store::SqliteStore;
use crate::tail::Tail;

impl SqliteStore {
    /// Gives every row of one snapshot, in batches, and the end of them last: everything that was answered before is in
    /// it. Memory holds a batch.
    ///
    /// # Errors
    /// [`TransferError::Unwanted`] when the receiver is gone; [`TransferError::Damaged`] and [`TransferError::Store`]
    /// when something cannot be read. Then no end is given.
    ///
    /// # Cancel safety
    /// Safe: the thread ends when the receiver is gone.
    pub async fn export(&self, rows: mpsc::Sender<Rows>) -> Result<(), TransferError> {
        let path = self.database.clone();
        let (answer, given) = oneshot::channel();
        let work = move || {
            // the caller may have gone: then nobody wants the answer
            let _ = answer.send(export(&path, &rows));
        };
        let cannot = |why| failed(OPERATION, Applied::No, Retry::Transient, why);
        let thread = std::thread::Builder::new().name("arbiter-sqlite-export".to_owned());
        let _joined_by_the_answer = thread
            .spawn(work)
            .map_err(|_| cannot("no thread could be started"))?;
        given
            .await
            .unwrap_or_else(|_| Err(cannot("the reader panicked").into()))
    }
}

/// Why the rows end early.
enum Stop {
    Fault(Fault),
    Unwanted,
}

impl<E: Into<Fault>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

fn export(path: &Path, rows: &mpsc::Sender<Rows>) -> Result<(), TransferError> {
    match give(path, rows) {
        Ok(()) => Ok(()),
        Err(Stop::Unwanted) => Err(TransferError::Unwanted),
        Err(Stop::Fault(fault)) => Err(fault.into_store(OPERATION).into()),
    }
}

fn give(path: &Path, rows: &mpsc::Sender<Rows>) -> Result<(), Stop> {
    let mut connection = schema::open_reader(path)?;
    // the snapshot is that of the first statement
    let connection = connection.transaction()?;
    let source = Source {
        connection: &connection,
        rows,
    };
    let head = Tail::load(&connection)?.head();
    source.documents()?;
    source.leases()?;
    source.outbox()?;
    source.agents()?;
    source.tasks()?;
    source.counted()?;
    source.log()?;
    source.telemetry()?;
    source.send(Rows::End(End {
        counts: counts(&connection)?,
        size: head.size,
        root: head.root,
    }))
}

struct Source<'a> {
    connection: &'a Connection,
    rows: &'a mpsc::Sender<Rows>,
}

impl Source<'_> {
    fn send(&self, rows: Rows) -> Result<(), Stop> {
        self.rows.blocking_send(rows).map_err(|_| Stop::Unwanted)
    }

    /// Sends what a statement finds. `read` gives a row and about how many bytes it has.
    fn stream<T>(
        &self,
        sql: &str,
        read: impl Fn(&Row<'_>) -> Result<(T, usize), Fault>,
        wrap: fn(Vec<T>) -> Rows,
    ) -> Result<(), Stop> {
        let mut statement = self.connection.prepare(sql)?;
        let mut found = statement.query([])?;
        let mut batch = Batch::default();
        while let Some(row) = found.next()? {
            let (row, bytes) = read(row)?;
            if let Some(full) = batch.add(row, bytes) {
                self.send(wrap(full))?;
            }
        }
        match batch.rest() {
            Some(rest) => self.send(wrap(rest)),
            None => Ok(()),
        }
    }

    fn documents(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT kind, tenant, id, revision, body, entries, expires_at FROM document",
            |row| {
                let document = DocumentRow {
                    kind: row.get(0)?,
                    tenant: TenantId::from_bytes(row.get(1)?),
                    id: row.get(2)?,
                    revision: row.get(3)?,
                    body: Body(row.get(4)?),
                    entries: row.get(5)?,
                    expires_at: row.get(6)?,
                };
                let entries = document.entries.as_ref().map_or(0, String::len);
                let bytes = document.body.0.len() + entries;
                Ok((document, bytes))
            },
            Rows::Documents,
        )
    }

    fn leases(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT name, node, fence, until FROM lease",
            |row| {
                let node: Option<[u8; 16]> = row.get(1)?;
                let lease = LeaseRow {
                    name: row.get(0)?,
                    node: node.map(NodeId::from_bytes),
                    fence: row.get(2)?,
                    until: row.get(3)?,
                };
                Ok((lease, 0))
            },
            Rows::Leases,
        )
    }

    fn outbox(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT id, topic, due_at, tries, body, quarantined, tenant, task FROM outbox",
            |row| {
                let tenant: Option<[u8; 16]> = row.get(6)?;
                let task: Option<[u8; 16]> = row.get(7)?;
                let entry = OutboxRow {
                    id: OutboxId::from_bytes(row.get(0)?),
                    topic: row.get(1)?,
                    due_at: row.get(2)?,
                    tries: row.get(3)?,
                    body: Body(row.get(4)?),
                    quarantined: row.get(5)?,
                    tenant: tenant.map(TenantId::from_bytes),
                    task: task.map(TaskId::from_bytes),
                };
                let bytes = entry.body.0.len();
                Ok((entry, bytes))
            },
            Rows::Outbox,
        )
    }

    fn agents(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT id, revision, seen_at, able, cpu, memory, body FROM agent",
            |row| {
                let body: Option<String> = row.get(6)?;
                let bytes = body.as_ref().map_or(0, String::len);
                let agent = AgentRow {
                    id: AgentId::from_bytes(row.get(0)?),
                    revision: row.get(1)?,
                    seen_at: row.get(2)?,
                    able: row.get(3)?,
                    cpu: row.get(4)?,
                    memory: row.get(5)?,
                    body: body.map(Body),
                };
                Ok((agent, bytes))
            },
            Rows::Agents,
        )?;
        self.stream(
            "SELECT task, fence, at FROM agent_outcome",
            |row| {
                let at = row.get::<_, Option<i64>>(2)?.map(Timestamp::from_micros);
                let counted = (TaskId::from_bytes(row.get(0)?), Fence(natural(row.get(1)?)), at);
                Ok((counted, 0))
            },
            Rows::Outcomes,
        )
    }

    fn tasks(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT lane, body FROM lane",
            |row| {
                let body: String = row.get(1)?;
                let bytes = body.len();
                Ok(((LaneId(row.get(0)?), Body(body)), bytes))
            },
            Rows::Lanes,
        )?;
        self.stream(
            "SELECT t.id, t.status, s.body, s.idempotency_key, t.n FROM task t JOIN task_spec s ON s.n = t.n ORDER BY t.n",
            |row| {
                let n: i64 = row.get(4)?;
                let task = TaskRow {
                    id: TaskId::from_bytes(row.get(0)?),
                    status: Body(row.get(1)?),
                    spec: Body(row.get(2)?),
                    idempotency: self.keyed(row)?,
                    attempts: self.bodies("SELECT body FROM attempt WHERE n = ?1 ORDER BY fence", n)?,
                    stages: self.bodies("SELECT body FROM stage_report WHERE n = ?1 ORDER BY fence, stage", n)?,
                };
                let history = task.attempts.iter().chain(&task.stages);
                let history: usize = history.map(|body| body.0.len()).sum();
                let bytes = task.status.0.len() + task.spec.0.len() + history;
                Ok((task, bytes))
            },
            Rows::Tasks,
        )?;
        let keyed: i64 = self.connection.query_row(
            "SELECT count(*) FROM task_spec WHERE idempotency_key IS NOT NULL",
            [],
            |row| row.get(0),
        )?;
        let known: i64 = self
            .connection
            .query_row("SELECT count(*) FROM idempotency", [], |row| row.get(0))?;
        if keyed != known {
            return Err(Fault::Damaged("idempotency key").into());
        }
        self.stream(
            "SELECT prerequisite, dependant FROM dependency",
            |row| {
                let pair = (TaskId::from_bytes(row.get(0)?), TaskId::from_bytes(row.get(1)?));
                Ok((pair, 0))
            },
            Rows::Dependencies,
        )
    }

    /// The key of a task with its fingerprint. Both lead to each other, else a repeat would not be recognised.
    fn keyed(&self, row: &Row<'_>) -> Result<Option<(String, Digest)>, Fault> {
        let Some(key) = row.get::<_, Option<String>>(3)? else {
            return Ok(None);
        };
        let status = row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?;
        let task = decode_status(status)?;
        let (tenant, submitter): (TenantId, PrincipalId) = (task.tenant, task.submitter);
        let found: Option<([u8; 32], [u8; 16])> = self
            .connection
            .prepare_cached(
                "SELECT fingerprint, task FROM idempotency WHERE tenant = ?1 AND submitter = ?2 AND key = ?3",
            )?
            .query_row(params![tenant.as_bytes(), submitter.as_bytes(), key], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        match found {
            Some((fingerprint, id)) if id == *task.id.as_bytes() => {
                Ok(Some((key, Digest::from_bytes(fingerprint))))
            }
            _ => Err(Fault::Damaged("idempotency key")),
        }
    }

    fn bodies(&self, sql: &str, n: i64) -> Result<Vec<Body>, Fault> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let bodies = statement.query_map([n], |row| row.get(0).map(Body))?;
        Ok(bodies.collect::<Result<_, _>>()?)
    }

    fn counted(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT scope, used FROM load",
            |row| Ok(((row.get(0)?, row.get(1)?), 0)),
            Rows::Loads,
        )?;
        self.stream(
            "SELECT tenant, queued, running, reviewing, held, dead FROM tally",
            |row| {
                let counts = [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?];
                Ok(((TenantId::from_bytes(row.get(0)?), counts), 0))
            },
            Rows::Tallies,
        )
    }

    fn log(&self) -> Result<(), Stop> {
        let signed = self
            .connection
            .query_row("SELECT size, root, note FROM audit_checkpoint", [], |row| {
                Ok(SignedRow {
                    size: natural(row.get(0)?),
                    root: Digest::from_bytes(row.get(1)?),
                    note: row.get(2)?,
                })
            })
            .optional()?;
        if let Some(signed) = signed {
            self.send(Rows::Signed(signed))?;
        }
        self.stream(
            "SELECT first, count, hashes, leaves, details FROM audit_batch ORDER BY first",
            |row| {
                let batch = BatchRow {
                    first: natural(row.get(0)?),
                    count: natural(row.get(1)?),
                    hashes: row.get(2)?,
                    leaves: row.get(3)?,
                    details: row.get(4)?,
                };
                let details = batch.details.as_ref().map_or(0, Vec::len);
                let bytes = batch.hashes.len() + batch.leaves.len() + details;
                Ok((batch, bytes))
            },
            Rows::Batches,
        )?;
        self.stream(
            "SELECT batch FROM audit_append",
            |row| Ok((row.get(0)?, 0)),
            Rows::Appends,
        )
    }

    fn telemetry(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT id, name, labels FROM metric_series",
            |row| {
                let series = SeriesRow {
                    id: row.get(0)?,
                    name: row.get(1)?,
                    labels: row.get(2)?,
                };
                Ok((series, 0))
            },
            Rows::Series,
        )?;
        self.stream(
            "SELECT series, at, span, count, mean, min, max, last FROM metric_point",
            |row| {
                let point = PointRow {
                    series: row.get(0)?,
                    at: row.get(1)?,
                    span: row.get(2)?,
                    count: row.get(3)?,
                    mean: row.get(4)?,
                    min: row.get(5)?,
                    max: row.get(6)?,
                    last: row.get(7)?,
                };
                Ok((point, 0))
            },
            Rows::Points,
        )?;
        let horizon = self
            .connection
            .query_row("SELECT at FROM metric_horizon", [], |row| row.get(0))?;
        self.send(Rows::Horizon(horizon))
    }
}
