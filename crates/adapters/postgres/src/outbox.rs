//! The port `Outbox`.

use std::time::Duration;

use arbiter_core::model::{Json, OutboxId, TaskId, TenantId, Timestamp};
use arbiter_core::ports::{NewOutboxEntry, Outbox, OutboxEntry, StoreError};
use async_trait::async_trait;

use crate::error::Fault;
use crate::number::whole;
use crate::session::{get, id_bytes, uuid};
use crate::store::PostgresStore;
use crate::write::Write;

/// Leases due entries that nobody else is taking, and gives them as they were.
const TAKE: &str = "WITH due AS (
       SELECT id, due_at FROM outbox WHERE topic = $1 AND due_at <= $2
       ORDER BY due_at, id LIMIT $3 FOR UPDATE SKIP LOCKED)
     UPDATE outbox AS o SET due_at = $4 FROM due WHERE o.id = due.id
     RETURNING o.id, o.tries, o.body, due.due_at";

#[async_trait]
impl Outbox for PostgresStore {
    async fn take(&self, topic: &str, limit: usize, lease: Duration) -> Result<Vec<OutboxEntry>, StoreError> {
        let topic = topic.to_owned();
        self.write("take outbox entries", move |write| {
            Box::pin(async move { take(write, topic, limit, lease).await })
        })
        .await
    }

    async fn done(&self, ids: &[OutboxId]) -> Result<(), StoreError> {
        // in one order for all callers, so that none waits for another in a circle
        let mut ids: Vec<_> = ids.iter().map(|id| uuid(id.as_bytes())).collect();
        ids.sort_unstable();
        self.write("remove outbox entries", move |write| {
            Box::pin(async move {
                write
                    .session
                    .execute(
                        "DELETE FROM outbox WHERE id IN (
                           SELECT id FROM outbox WHERE id = ANY($1) ORDER BY id FOR UPDATE)",
                        &[&ids],
                    )
                    .await?;
                Ok(())
            })
        })
        .await
    }

    async fn later(&self, id: OutboxId, at: Timestamp) -> Result<(), StoreError> {
        self.write("put an outbox entry off", move |write| {
            Box::pin(async move {
                write
                    .session
                    .execute(
                        "UPDATE outbox SET due_at = $2, tries = tries + 1 WHERE id = $1 AND due_at IS NOT NULL",
                        &[&uuid(id.as_bytes()), &at.as_micros()],
                    )
                    .await?;
                Ok(())
            })
        })
        .await
    }

    async fn quarantine(&self, id: OutboxId, reason: &str) -> Result<(), StoreError> {
        // PostgreSQL keeps no text with a zero byte
        let reason = reason.replace('\0', "\u{fffd}");
        self.write("quarantine an outbox entry", move |write| {
            Box::pin(async move {
                write
                    .session
                    .execute(
                        "UPDATE outbox SET due_at = NULL, quarantined = $2 WHERE id = $1",
                        &[&uuid(id.as_bytes()), &reason],
                    )
                    .await?;
                Ok(())
            })
        })
        .await
    }

    async fn clear(&self, tenant: TenantId, tasks: Option<&[TaskId]>) -> Result<usize, StoreError> {
        let tasks: Option<Vec<_>> =
            tasks.map(|tasks| tasks.iter().map(|task| uuid(task.as_bytes())).collect());
        self.write("clear outbox entries", move |write| {
            Box::pin(async move {
                let cleared = write
                    .session
                    .execute(
                        "DELETE FROM outbox WHERE id IN (
                           SELECT id FROM outbox
                           WHERE tenant = $1 AND ($2::uuid[] IS NULL OR task = ANY($2)) ORDER BY id FOR UPDATE)",
                        &[&uuid(tenant.as_bytes()), &tasks],
                    )
                    .await?;
                Ok(usize::try_from(cleared).unwrap_or(usize::MAX))
            })
        })
        .await
    }
}

async fn take(
    write: &Write<'_>,
    topic: String,
    limit: usize,
    lease: Duration,
) -> Result<Vec<OutboxEntry>, Fault> {
    let now = write.session.now;
    let until = now.plus(lease).as_micros();
    let rows = write
        .session
        .query(TAKE, &[&topic, &now.as_micros(), &whole(limit), &until])
        .await?;
    let mut taken = Vec::with_capacity(rows.len());
    for row in &rows {
        let entry = OutboxEntry {
            id: OutboxId::from_bytes(id_bytes(row, 0)?),
            topic: topic.clone(),
            tries: u16::try_from(get::<i32>(row, 1)?).unwrap_or(u16::MAX),
            body: Json::parse(get::<String>(row, 2)?)?,
        };
        taken.push((get::<i64>(row, 3)?, entry));
    }
    taken.sort_by_key(|(due_at, entry)| (*due_at, entry.id));
    Ok(taken.into_iter().map(|(_, entry)| entry).collect())
}

/// New entries, of which those that are there already stay as they are.
pub(crate) const PUT: &str = "INSERT INTO outbox (id, topic, body, tenant, task, due_at)
     SELECT id, topic, body, tenant, task, $6
     FROM unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::uuid[])
       AS new (id, topic, body, tenant, task)
     ON CONFLICT DO NOTHING";

/// Writes entries for outside; one that is there already stays.
pub(crate) async fn put_outbox(write: &Write<'_>, entries: &[NewOutboxEntry]) -> Result<(), Fault> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by_key(|entry| entry.id);
    let ids: Vec<_> = entries.iter().map(|entry| uuid(entry.id.as_bytes())).collect();
    let topics: Vec<_> = entries.iter().map(|entry| entry.topic.as_str()).collect();
    let bodies: Vec<_> = entries.iter().map(|entry| entry.body.as_str()).collect();
    let about = entries.iter().map(|entry| entry.about);
    let tenants: Vec<_> = (about.clone())
        .map(|about| about.map(|(tenant, _)| uuid(tenant.as_bytes())))
        .collect();
    let tasks: Vec<_> = about
        .map(|about| about.and_then(|(_, task)| task).map(|task| uuid(task.as_bytes())))
        .collect();
    write
        .session
        .execute(
            PUT,
            &[
                &ids,
                &topics,
                &bodies,
                &tenants,
                &tasks,
                &write.session.now.as_micros(),
            ],
        )
        .await?;
    Ok(())
}
