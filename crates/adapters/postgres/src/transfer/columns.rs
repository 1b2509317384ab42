//! Rows of tables as the columns that statements take.

use arbiter_core::model::{Fence, TaskId, TenantId, Timestamp};
use arbiter_wire::transfer::{
    AgentRow, BatchRow, DocumentRow, LeaseRow, OutboxRow, PointRow, SeriesRow, SignedRow,
};
use uuid::Uuid;

use super::import::{Target, refused};
use crate::audit_tree::keep;
use crate::error::Fault;
use crate::number::whole;
use crate::session::uuid;

const DOCUMENTS: &str = "INSERT INTO document (kind, tenant, id, revision, body, entries, expires_at)
     SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[])";

const ENTRIES: &str = "INSERT INTO document_index (kind, tenant, id, name, value)
     SELECT * FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[])";

const LEASES: &str = "INSERT INTO lease (name, node, fence, until)
     SELECT * FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[])";

const OUTBOX: &str = "INSERT INTO outbox (id, topic, due_at, tries, body, quarantined, tenant, task)
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::integer[], $5::text[], $6::text[], $7::uuid[],
       $8::uuid[])";

const AGENTS: &str = "INSERT INTO agent (id, tenant, revision, seen_at, able, cpu, memory, body)
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[], $5::boolean[], $6::integer[],
       $7::integer[], $8::text[])";

const OUTCOMES: &str = "INSERT INTO agent_outcome (task, fence, at) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[])";

const BATCHES: &str = "INSERT INTO audit_batch (first, count, at, hashes, leaves, details)
     SELECT first, count, at, hashes, leaves, details
     FROM unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[])
       WITH ORDINALITY AS new (first, count, at, hashes, leaves, details, place) ORDER BY place";

const SERIES: &str = "INSERT INTO metric_series (id, name, labels) OVERRIDING SYSTEM VALUE
     SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])";

const POINTS: &str = "INSERT INTO metric_point (series, at, span, count, mean, min, max, last)
     SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::float8[], $6::float8[],
       $7::float8[], $8::float8[])";

/// Splits rows into columns.
fn column<'r, R, T>(rows: &'r [R], of: impl Fn(&'r R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

impl Target<'_, '_> {
    pub(super) async fn documents(&self, rows: &[DocumentRow]) -> Result<(), Fault> {
        let tenants = column(rows, |row| uuid(row.tenant.as_bytes()));
        self.session
            .execute(
                DOCUMENTS,
                &[
                    &column(rows, |row| row.kind.as_str()),
                    &tenants,
                    &column(rows, |row| row.id.as_str()),
                    &column(rows, |row| row.revision),
                    &column(rows, |row| row.body.0.as_str()),
                    &column(rows, |row| row.entries.as_deref()),
                    &column(rows, |row| row.expires_at),
                ],
            )
            .await?;
        let mut declared = Vec::new();
        for row in rows {
            let entries = self.check.declared(row).map_err(refused)?;
            declared.extend(entries.into_iter().map(|entry| (row, entry)));
        }
        self.session
            .execute(
                ENTRIES,
                &[
                    &column(&declared, |(row, _)| row.kind.as_str()),
                    &column(&declared, |(row, _)| uuid(row.tenant.as_bytes())),
                    &column(&declared, |(row, _)| row.id.as_str()),
                    &column(&declared, |(_, (name, _))| name.as_str()),
                    &column(&declared, |(_, (_, value))| value.as_str()),
                ],
            )
            .await?;
        Ok(())
    }

    pub(super) async fn leases(&self, rows: &[LeaseRow]) -> Result<(), Fault> {
        self.session
            .execute(
                LEASES,
                &[
                    &column(rows, |row| row.name.as_str()),
                    &column(rows, |row| row.node.map(|node| uuid(node.as_bytes()))),
                    &column(rows, |row| row.fence),
                    &column(rows, |row| row.until),
                ],
            )
            .await?;
        Ok(())
    }

    pub(super) async fn outbox(&self, rows: &[OutboxRow]) -> Result<(), Fault> {
        // PostgreSQL keeps no text with a zero byte
        let reason = |row: &OutboxRow| {
            let reason = row.quarantined.as_ref();
            reason.map(|reason| reason.replace('\0', "\u{fffd}"))
        };
        self.session
            .execute(
                OUTBOX,
                &[
                    &column(rows, |row| uuid(row.id.as_bytes())),
                    &column(rows, |row| row.topic.as_str()),
                    &column(rows, |row| row.due_at),
                    &column(rows, |row| row.tries),
                    &column(rows, |row| row.body.0.as_str()),
                    &column(rows, reason),
                    &column(rows, |row| row.tenant.map(|tenant| uuid(tenant.as_bytes()))),
                    &column(rows, |row| row.task.map(|task| uuid(task.as_bytes()))),
                ],
            )
            .await?;
        Ok(())
    }

    pub(super) async fn agents(&self, rows: &[AgentRow]) -> Result<(), Fault> {
        let mut tenants = Vec::new();
        for row in rows {
            // nobody reads the place of an agent that was removed but the engine: it is no tenant's
            let tenant = match self.check.agent(row).map_err(refused)? {
                Some(agent) => agent.profile.tenant,
                None => Some(TenantId::SYSTEM),
            };
            tenants.push(tenant.map(|tenant| uuid(tenant.as_bytes())));
        }
        self.session
            .execute(
                AGENTS,
                &[
                    &column(rows, |row| uuid(row.id.as_bytes())),
                    &tenants,
                    &column(rows, |row| row.revision),
                    &column(rows, |row| row.seen_at),
                    &column(rows, |row| row.able),
                    &column(rows, |row| row.cpu),
                    &column(rows, |row| row.memory),
                    &column(rows, |row| row.body.as_ref().map(|body| body.0.as_str())),
                ],
            )
            .await?;
        Ok(())
    }

    pub(super) async fn outcomes(&self, rows: &[(TaskId, Fence, Option<Timestamp>)]) -> Result<(), Fault> {
        let tasks = column(rows, |(task, ..)| uuid(task.as_bytes()));
        let fences = column(rows, |(_, fence, _)| whole(fence.0));
        let times = column(rows, |(.., at)| at.map(Timestamp::as_micros));
        self.session.execute(OUTCOMES, &[&tasks, &fences, &times]).await?;
        Ok(())
    }

    pub(super) async fn signed(&mut self, row: &SignedRow) -> Result<(), Fault> {
        self.check.signed(row).map_err(refused)?;
        self.session
            .execute(
                "INSERT INTO audit_checkpoint (one, size, root, note) VALUES (true, $1, $2, $3)",
                &[&whole(row.size), &row.root.as_bytes().as_slice(), &row.note],
            )
            .await?;
        Ok(())
    }

    /// Each has its place already, so no sequencer looks at it.
    pub(super) async fn batches(&mut self, rows: &[BatchRow]) -> Result<(), Fault> {
        let (mut moments, mut tiles, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let placed = self.check.batch(row).map_err(refused)?;
            moments.push(placed.at.as_micros());
            tiles.extend(placed.tiles);
            sizes.push(i32::try_from(row.count).map_err(|_| Fault::Damaged("audit batch"))?);
        }
        self.session
            .execute(
                BATCHES,
                &[
                    &column(rows, |row| whole(row.first)),
                    &sizes,
                    &moments,
                    &column(rows, |row| row.hashes.as_slice()),
                    &column(rows, |row| row.leaves.as_slice()),
                    &column(rows, |row| row.details.as_deref()),
                ],
            )
            .await?;
        keep(self.session, &tiles).await
    }

    pub(super) async fn appends(&self, rows: &[[u8; 16]]) -> Result<(), Fault> {
        let ids: Vec<Uuid> = column(rows, uuid);
        self.session
            .execute(
                "INSERT INTO audit_append (batch) SELECT * FROM unnest($1::uuid[])",
                &[&ids],
            )
            .await?;
        Ok(())
    }

    pub(super) async fn series(&self, rows: &[SeriesRow]) -> Result<(), Fault> {
        self.session
            .execute(
                SERIES,
                &[
                    &column(rows, |row| row.id),
                    &column(rows, |row| row.name.as_str()),
                    &column(rows, |row| row.labels.as_str()),
                ],
            )
            .await?;
        Ok(())
    }

    pub(super) async fn points(&self, rows: &[PointRow]) -> Result<(), Fault> {
        self.session
            .execute(
                POINTS,
                &[
                    &column(rows, |row| row.series),
                    &column(rows, |row| row.at),
                    &column(rows, |row| row.span),
                    &column(rows, |row| row.count),
                    &column(rows, |row| row.mean),
                    &column(rows, |row| row.min),
                    &column(rows, |row| row.max),
                    &column(rows, |row| row.last),
                ],
            )
            .await?;
        Ok(())
    }
}
