//! Taking rows: an empty schema that is filled in one transaction, after everything was checked.

use std::sync::Arc;

use arbiter_core::model::TenantScope;
use arbiter_core::ports::TreeHead;
use arbiter_wire::transfer::{Check, Damage, End, Rows, TABLES, TransferError};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::artifacts::Arriving;
use super::{OPERATION, counts};
use crate::error::Fault;
use crate::number::whole;
use crate::session::Session;
use crate::store::{Core, PostgresStore};

/// The group of rows on which other mutations count tasks; the tallies that came stand on the first one.
const NO_SHARD: i16 = 0;

/// Rows come as fast as another store gives them.
const PATIENT: &str = "SELECT set_config('statement_timeout', '0', true),
       set_config('idle_in_transaction_session_timeout', '600000', true)";

/// Keeps every other node out, readers included: one that began in between would see an empty store, and make keys of its
/// own.
const ALONE: &str = "LOCK TABLE document, document_index, lease, outbox, agent, agent_outcome, registry, lane, task,
       task_spec, attempt, stage_report, dependency, load, tally, audit_batch, audit_append, audit_tile, audit_head,
       audit_checkpoint, artifact, artifact_chunk, artifact_upload, artifact_usage, metric_series, metric_point,
       metric_horizon
     IN ACCESS EXCLUSIVE MODE";

/// What must be empty beside the tables that are counted.
const OTHERS: [&str; 4] = ["load", "audit_tile", "audit_checkpoint", "artifact"];

impl PostgresStore {
    /// Fills the schema with rows, artifacts included, in one transaction that is committed when the end has come and all
    /// of it adds up. Other nodes wait meanwhile. Memory: see [`Check`].
    ///
    /// # Errors
    /// [`TransferError::NotEmpty`], [`TransferError::Damaged`] when what came does not add up, [`TransferError::Cut`] when
    /// the rows stop before their end, [`TransferError::Store`] when the server fails. The schema is empty then, unless the
    /// store's error says that it may have applied.
    ///
    /// # Cancel safety
    /// Safe: the transaction is rolled back.
    pub async fn import(&self, rows: mpsc::Receiver<Rows>) -> Result<TreeHead, TransferError> {
        // without a lock first: a store that is in use is not to be disturbed
        self.ensure_empty().await?;
        let core = Arc::clone(&self.core);
        let done = self.core.transact(NO_SHARD, move |write| {
            Box::pin(async move { take(&core, &write.session, rows).await })
        });
        done.await.map_err(told)
    }

    /// Whether the schema takes rows.
    ///
    /// # Errors
    /// [`TransferError::NotEmpty`], [`TransferError::Store`]
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn ensure_empty(&self) -> Result<(), TransferError> {
        let looked = self.core.read(TenantScope::All, |session| {
            Box::pin(async move { ensure_empty(session).await })
        });
        looked.await.map_err(told)
    }
}

fn told(fault: Fault) -> TransferError {
    match fault {
        Fault::Transfer(error) => *error,
        fault => fault.into_store(OPERATION).into(),
    }
}

/// The fault of what does not add up.
pub(super) fn refused(damage: Damage) -> Fault {
    Fault::Transfer(Box::new(damage.into()))
}

async fn take(core: &Core, session: &Session<'_>, mut rows: mpsc::Receiver<Rows>) -> Result<TreeHead, Fault> {
    session.query(PATIENT, &[]).await?;
    session.execute(ALONE, &[]).await?;
    ensure_empty(session).await?;
    let mut target = Target {
        session,
        check: Check::default(),
        artifact: None,
    };
    loop {
        match rows.recv().await {
            None => return Err(Fault::Transfer(Box::new(TransferError::Cut))),
            Some(Rows::End(end)) => return target.finish(&end).await,
            Some(rows) => target.take(rows, || core.random_id()).await?,
        }
    }
}

/// A statement after the lock sees what was committed before it.
async fn ensure_empty(session: &Session<'_>) -> Result<(), Fault> {
    for table in TABLES.into_iter().chain(OTHERS) {
        let found = session
            .query_opt(&format!("SELECT FROM {table} LIMIT 1"), &[])
            .await?;
        if found.is_some() {
            return Err(Fault::Transfer(Box::new(TransferError::NotEmpty { table })));
        }
    }
    Ok(())
}

pub(super) struct Target<'a, 't> {
    pub(super) session: &'a Session<'t>,
    pub(super) check: Check,
    artifact: Option<Arriving>,
}

impl Target<'_, '_> {
    async fn take(&mut self, rows: Rows, id: impl Fn() -> Uuid) -> Result<(), Fault> {
        if let Rows::Piece(piece) = &rows {
            let artifact = self.artifact.as_mut().ok_or_else(|| {
                refused(Damage::Row {
                    table: "artifact_chunk",
                    what: "it belongs to no artifact",
                })
            })?;
            return artifact.take(self.session, &piece.0).await;
        }
        self.end_artifact().await?;
        match rows {
            Rows::Artifact(row) => self.artifact = Some(Arriving::new(row, id())),
            Rows::Documents(rows) => self.documents(&rows).await?,
            Rows::Leases(rows) => self.leases(&rows).await?,
            Rows::Outbox(rows) => self.outbox(&rows).await?,
            Rows::Agents(rows) => self.agents(&rows).await?,
            Rows::Outcomes(rows) => self.outcomes(&rows).await?,
            Rows::Lanes(rows) => self.lanes(&rows).await?,
            Rows::Tasks(rows) => self.tasks(&rows).await?,
            Rows::Dependencies(rows) => self.dependencies(&rows).await?,
            Rows::Loads(rows) => self.loads(&rows).await?,
            Rows::Tallies(rows) => self.tallies(&rows).await?,
            Rows::Signed(row) => self.signed(&row).await?,
            Rows::Batches(rows) => self.batches(&rows).await?,
            Rows::Appends(rows) => self.appends(&rows).await?,
            Rows::Series(rows) => self.series(&rows).await?,
            Rows::Points(rows) => self.points(&rows).await?,
            Rows::Horizon(at) => {
                let set = "UPDATE metric_horizon SET at = $1";
                self.session.execute(set, &[&at]).await?;
            }
            Rows::Piece(_) | Rows::End(_) => {}
        }
        Ok(())
    }

    async fn end_artifact(&mut self) -> Result<(), Fault> {
        match self.artifact.take() {
            Some(artifact) => artifact.finish(self.session).await,
            None => Ok(()),
        }
    }

    async fn finish(mut self, end: &End) -> Result<TreeHead, Fault> {
        self.end_artifact().await?;
        let kept = counts(self.session).await?;
        self.check.finish(end, &kept).map_err(refused)?;
        let size = whole(end.size);
        self.session
            .execute(
                "UPDATE audit_head SET size = $1, root = $2, edge = $3",
                &[
                    &size,
                    &end.root.as_bytes().as_slice(),
                    &self.check.tiles().encode(),
                ],
            )
            .await?;
        // numbers go on behind those that came
        self.session
            .execute(
                "UPDATE registry SET revision = (SELECT coalesce(max(revision), 0) FROM agent)",
                &[],
            )
            .await?;
        self.session
            .query(
                "SELECT setval(pg_get_serial_sequence('metric_series', 'id'),
                   (SELECT coalesce(max(id), 0) + 1 FROM metric_series), false)",
                &[],
            )
            .await?;
        Ok(TreeHead {
            size: end.size,
            root: end.root,
        })
    }
}
