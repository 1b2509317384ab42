//! Giving rows: one snapshot of the schema, read while other nodes go on using it.

use arbiter_audit::tile::TileWriter;
use arbiter_core::model::{
    AgentId, Digest, Fence, LaneId, NodeId, OutboxId, TaskId, TenantId, TenantScope, Timestamp,
};
use arbiter_wire::transfer::{
    AgentRow, Batch, BatchRow, Body, DocumentRow, End, LeaseRow, OutboxRow, PointRow, Rows, SeriesRow,
    SignedRow, TaskRow, TransferError,
};
use deadpool_postgres::Object;
use futures_util::TryStreamExt as _;
use tokio::sync::mpsc;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{OPERATION, counts};
use crate::audit_tree::digests;
use crate::error::Fault;
use crate::number::natural;
use crate::session::{Session, get, id_bytes};
use crate::store::PostgresStore;
use crate::transaction::{GO_ON, Purpose};

/// A statement lasts as long as its rows are read, and between two of them the receiver may be slow.
const PATIENT: &str = "SELECT set_config('statement_timeout', '0', true),
       set_config('idle_in_transaction_session_timeout', '600000', true)";

impl PostgresStore {
    /// Gives every row of one snapshot, artifacts included, in batches, and the end of them last: everything that was
    /// answered before is in it. Memory holds a batch.
    ///
    /// Leaves of the audit log that have no place yet are given the one that they will have. For that, commits wait for a
    /// moment while the snapshot is taken.
    ///
    /// # Errors
    /// [`TransferError::Unwanted`] when the receiver is gone; [`TransferError::Store`] when something cannot be read. Then
    /// no end is given.
    ///
    /// # Cancel safety
    /// Safe: the connection is closed.
    pub async fn export(&self, rows: mpsc::Sender<Rows>) -> Result<(), TransferError> {
        match self.give(&rows).await {
            Ok(()) => Ok(()),
            Err(Stop::Unwanted) => Err(TransferError::Unwanted),
            Err(Stop::Fault(fault)) => Err(fault.into_store(OPERATION).into()),
        }
    }

    async fn give(&self, rows: &mpsc::Sender<Rows>) -> Result<(), Stop> {
        let mut connection = Closing(Some(self.core.connection().await?));
        let session = connection.snapshot().await?;
        let source = Source {
            session: &session,
            rows,
        };
        source.all().await
    }
}

/// A connection that serves no other call: a statement whose rows nobody reads any more would keep it busy.
struct Closing(Option<Object>);

impl Closing {
    /// Takes the snapshot. Every batch of leaves in it has a smaller number than every one that is not, so those without a
    /// place will be placed before all others, in the order of their numbers.
    async fn snapshot(&mut self) -> Result<Session<'_>, Fault> {
        let connection = self.0.as_mut().ok_or(Fault::Misuse("the connection is closed"))?;
        let session = Session::begin(connection, Purpose::Copy, None, TenantScope::All).await?;
        session.execute(GO_ON, &[]).await?;
        session.query(PATIENT, &[]).await?;
        Ok(session)
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(Object::take(connection));
        }
    }
}

/// Why the rows end early.
pub(super) enum Stop {
    Fault(Fault),
    Unwanted,
}

impl<E: Into<Fault>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Fault(error.into())
    }
}

pub(super) struct Source<'a, 't> {
    pub(super) session: &'a Session<'t>,
    rows: &'a mpsc::Sender<Rows>,
}

impl Source<'_, '_> {
    async fn all(&self) -> Result<(), Stop> {
        self.artifacts().await?;
        self.documents().await?;
        self.leases().await?;
        self.outbox().await?;
        self.agents().await?;
        self.tasks().await?;
        self.counted().await?;
        let (size, root) = self.log().await?;
        self.telemetry().await?;
        let counts = counts(self.session).await?;
        self.send(Rows::End(End { counts, size, root })).await
    }

    pub(super) async fn send(&self, rows: Rows) -> Result<(), Stop> {
        self.rows.send(rows).await.map_err(|_| Stop::Unwanted)
    }

    /// Sends what a statement finds. `read` gives a row and about how many bytes it has.
    async fn stream<T>(
        &self,
        sql: &str,
        mut read: impl FnMut(&Row) -> Result<(T, usize), Fault>,
        wrap: fn(Vec<T>) -> Rows,
    ) -> Result<(), Stop> {
        let mut found = std::pin::pin!(self.session.stream(sql, &[]).await?);
        let mut batch = Batch::default();
        while let Some(row) = found.try_next().await.map_err(Fault::from)? {
            let (row, bytes) = read(&row)?;
            if let Some(full) = batch.add(row, bytes) {
                self.send(wrap(full)).await?;
            }
        }
        match batch.rest() {
            Some(rest) => self.send(wrap(rest)).await,
            None => Ok(()),
        }
    }

    async fn documents(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT kind, tenant, id, revision, body, entries, expires_at FROM document ORDER BY kind, tenant, id",
            |row| {
                let document = DocumentRow {
                    kind: get(row, 0)?,
                    tenant: TenantId::from_bytes(id_bytes(row, 1)?),
                    id: get(row, 2)?,
                    revision: get(row, 3)?,
                    body: Body(get(row, 4)?),
                    entries: get(row, 5)?,
                    expires_at: get(row, 6)?,
                };
                let entries = document.entries.as_ref().map_or(0, String::len);
                let bytes = document.body.0.len() + entries;
                Ok((document, bytes))
            },
            Rows::Documents,
        )
        .await
    }

    async fn leases(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT name, node, fence, until FROM lease",
            |row| {
                let lease = LeaseRow {
                    name: get(row, 0)?,
                    node: get::<Option<Uuid>>(row, 1)?.map(|id| NodeId::from_bytes(id.into_bytes())),
                    fence: get(row, 2)?,
                    until: get(row, 3)?,
                };
                Ok((lease, 0))
            },
            Rows::Leases,
        )
        .await
    }

    async fn outbox(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT id, topic, due_at, tries, body, quarantined, tenant, task FROM outbox",
            |row| {
                let entry = OutboxRow {
                    id: OutboxId::from_bytes(id_bytes(row, 0)?),
                    topic: get(row, 1)?,
                    due_at: get(row, 2)?,
                    tries: get(row, 3)?,
                    body: Body(get(row, 4)?),
                    quarantined: get(row, 5)?,
                    tenant: get::<Option<Uuid>>(row, 6)?.map(|id| TenantId::from_bytes(id.into_bytes())),
                    task: get::<Option<Uuid>>(row, 7)?.map(|id| TaskId::from_bytes(id.into_bytes())),
                };
                let bytes = entry.body.0.len();
                Ok((entry, bytes))
            },
            Rows::Outbox,
        )
        .await
    }

    async fn agents(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT id, revision, seen_at, able, cpu, memory, body FROM agent",
            |row| {
                let body: Option<String> = get(row, 6)?;
                let bytes = body.as_ref().map_or(0, String::len);
                let agent = AgentRow {
                    id: AgentId::from_bytes(id_bytes(row, 0)?),
                    revision: get(row, 1)?,
                    seen_at: get(row, 2)?,
                    able: get(row, 3)?,
                    cpu: get(row, 4)?,
                    memory: get(row, 5)?,
                    body: body.map(Body),
                };
                Ok((agent, bytes))
            },
            Rows::Agents,
        )
        .await?;
        self.stream(
            "SELECT task, fence, at FROM agent_outcome",
            |row| {
                let counted = (
                    TaskId::from_bytes(id_bytes(row, 0)?),
                    Fence(natural(get(row, 1)?)),
                    get::<Option<i64>>(row, 2)?.map(Timestamp::from_micros),
                );
                Ok((counted, 0))
            },
            Rows::Outcomes,
        )
        .await
    }

    async fn tasks(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT lane, body FROM lane",
            |row| {
                let body: String = get(row, 1)?;
                let bytes = body.len();
                Ok(((LaneId(get(row, 0)?), Body(body)), bytes))
            },
            Rows::Lanes,
        )
        .await?;
        self.stream(
            "SELECT t.id, t.status, s.body, s.idempotency_key, s.fingerprint,
               ARRAY(SELECT a.body FROM attempt AS a WHERE a.task = t.id ORDER BY a.fence),
               ARRAY(SELECT r.body FROM stage_report AS r WHERE r.task = t.id ORDER BY r.fence, r.stage)
             FROM task AS t JOIN task_spec AS s ON s.id = t.id ORDER BY t.id",
            |row| {
                let bodies = |column| {
                    let texts: Vec<String> = get(row, column)?;
                    Ok::<_, Fault>(texts.into_iter().map(Body).collect::<Vec<Body>>())
                };
                let task = TaskRow {
                    id: TaskId::from_bytes(id_bytes(row, 0)?),
                    status: Body(get(row, 1)?),
                    spec: Body(get(row, 2)?),
                    idempotency: keyed(row)?,
                    attempts: bodies(5)?,
                    stages: bodies(6)?,
                };
                let history = task.attempts.iter().chain(&task.stages);
                let history: usize = history.map(|body| body.0.len()).sum();
                let bytes = task.status.0.len() + task.spec.0.len() + history;
                Ok((task, bytes))
            },
            Rows::Tasks,
        )
        .await?;
        self.stream(
            "SELECT prerequisite, dependant FROM dependency",
            |row| {
                let pair = (
                    TaskId::from_bytes(id_bytes(row, 0)?),
                    TaskId::from_bytes(id_bytes(row, 1)?),
                );
                Ok((pair, 0))
            },
            Rows::Dependencies,
        )
        .await
    }

    async fn counted(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT scope, used::bigint FROM load WHERE used <> 0",
            |row| Ok(((get(row, 0)?, get(row, 1)?), 0)),
            Rows::Loads,
        )
        .await?;
        self.stream(
            "SELECT tenant, sum(queued)::bigint, sum(running)::bigint, sum(reviewing)::bigint, sum(held)::bigint,
               sum(dead)::bigint FROM tally GROUP BY tenant",
            |row| {
                let counts = [get(row, 1)?, get(row, 2)?, get(row, 3)?, get(row, 4)?, get(row, 5)?];
                Ok(((TenantId::from_bytes(id_bytes(row, 0)?), counts), 0))
            },
            Rows::Tallies,
        )
        .await
    }

    /// The audit log as it will be once everything in the snapshot has its place. Gives its size and root.
    async fn log(&self) -> Result<(u64, Digest), Stop> {
        let session = self.session;
        if let Some(row) = session
            .query_opt("SELECT size, root, note FROM audit_checkpoint", &[])
            .await?
        {
            let root: &[u8] = get(&row, 1)?;
            let root = root.try_into().map_err(|_| Fault::Damaged("audit checkpoint"))?;
            self.send(Rows::Signed(SignedRow {
                size: natural(get(&row, 0)?),
                root: Digest::from_bytes(root),
                note: get(&row, 2)?,
            }))
            .await?;
        }
        let head = session.query_opt("SELECT edge FROM audit_head", &[]).await?;
        let mut tree = TileWriter::decode(get(&head.ok_or(Fault::Damaged("audit head"))?, 0)?)?;
        let columns = "count::bigint, hashes, leaves, details FROM audit_batch";
        self.stream(
            &format!("SELECT first, {columns} WHERE first IS NOT NULL ORDER BY first"),
            |row| batch(row, natural(get(row, 0)?)),
            Rows::Batches,
        )
        .await?;
        self.stream(
            &format!("SELECT first, {columns} WHERE first IS NULL ORDER BY seq"),
            |row| {
                let first = tree.frontier().size();
                let (batch, bytes) = batch(row, first)?;
                tree.append(&digests(&batch.hashes)?)?;
                Ok((batch, bytes))
            },
            Rows::Batches,
        )
        .await?;
        self.stream(
            "SELECT batch FROM audit_append",
            |row| Ok((id_bytes(row, 0)?, 0)),
            Rows::Appends,
        )
        .await?;
        Ok((tree.frontier().size(), tree.frontier().root()))
    }

    async fn telemetry(&self) -> Result<(), Stop> {
        self.stream(
            "SELECT id, name, labels FROM metric_series",
            |row| {
                let series = SeriesRow {
                    id: get(row, 0)?,
                    name: get(row, 1)?,
                    labels: get(row, 2)?,
                };
                Ok((series, 0))
            },
            Rows::Series,
        )
        .await?;
        self.stream(
            "SELECT series, at, span, count, mean, min, max, last FROM metric_point",
            |row| {
                let point = PointRow {
                    series: get(row, 0)?,
                    at: get(row, 1)?,
                    span: get(row, 2)?,
                    count: get(row, 3)?,
                    mean: get(row, 4)?,
                    min: get(row, 5)?,
                    max: get(row, 6)?,
                    last: get(row, 7)?,
                };
                Ok((point, 0))
            },
            Rows::Points,
        )
        .await?;
        let row = self
            .session
            .query_opt("SELECT at FROM metric_horizon", &[])
            .await?;
        let horizon = get(&row.ok_or(Fault::Damaged("metric horizon"))?, 0)?;
        self.send(Rows::Horizon(horizon)).await
    }
}

/// A batch of leaves from the columns after its place, and about how many bytes it has.
fn batch(row: &Row, first: u64) -> Result<(BatchRow, usize), Fault> {
    let batch = BatchRow {
        first,
        count: natural(get(row, 1)?),
        hashes: get(row, 2)?,
        leaves: get(row, 3)?,
        details: get(row, 4)?,
    };
    let details = batch.details.as_ref().map_or(0, Vec::len);
    let bytes = batch.hashes.len() + batch.leaves.len() + details;
    Ok((batch, bytes))
}

/// The idempotency key of a task with its fingerprint.
fn keyed(row: &Row) -> Result<Option<(String, Digest)>, Fault> {
    let (key, fingerprint): (Option<Vec<u8>>, Option<Vec<u8>>) = (get(row, 3)?, get(row, 4)?);
    let (key, fingerprint) = match (key, fingerprint) {
        (None, None) => return Ok(None),
        (Some(key), Some(fingerprint)) => (key, fingerprint),
        _ => return Err(Fault::Damaged("idempotency key")),
    };
    let key = String::from_utf8(key).map_err(|_| Fault::Damaged("idempotency key"))?;
    let fingerprint = fingerprint
        .try_into()
        .map_err(|_| Fault::Damaged("fingerprint"))?;
    Ok(Some((key, Digest::from_bytes(fingerprint))))
}
