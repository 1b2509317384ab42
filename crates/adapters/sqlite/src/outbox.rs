//! The port `Outbox`.

use std::time::Duration;

use arbiter_core::model::{Json, OutboxId, TaskId, TenantId, Timestamp};
use arbiter_core::ports::{Outbox, OutboxEntry, StoreError};
use async_trait::async_trait;
use rusqlite::params;

use crate::error::Fault;
use crate::group::Group;
use crate::number::whole;
use crate::store::SqliteStore;

/// Due entries of a topic, in the order in which they are offered.
pub(crate) const DUE: &str = "SELECT id, tries, body FROM outbox INDEXED BY outbox_due
     WHERE topic = ?1 AND due_at IS NOT NULL AND due_at <= ?2 ORDER BY due_at, id LIMIT ?3";

#[async_trait]
impl Outbox for SqliteStore {
    async fn take(&self, topic: &str, limit: usize, lease: Duration) -> Result<Vec<OutboxEntry>, StoreError> {
        let topic = topic.to_owned();
        self.write("take outbox entries", 128, move |group| {
            take(group, &topic, limit, lease)
        })
        .await
    }

    async fn done(&self, ids: &[OutboxId]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        self.write("remove outbox entries", 128, move |group| {
            for id in &ids {
                group
                    .statement("DELETE FROM outbox WHERE id = ?1")?
                    .execute([id.as_bytes()])?;
            }
            Ok(())
        })
        .await
    }

    async fn later(&self, id: OutboxId, at: Timestamp) -> Result<(), StoreError> {
        self.write("put an outbox entry off", 128, move |group| {
            group
                .statement(
                    "UPDATE outbox SET due_at = ?2, tries = tries + 1 WHERE id = ?1 AND due_at IS NOT NULL",
                )?
                .execute(params![id.as_bytes(), at.as_micros()])?;
            Ok(())
        })
        .await
    }

    async fn quarantine(&self, id: OutboxId, reason: &str) -> Result<(), StoreError> {
        let reason = reason.to_owned();
        self.write("quarantine an outbox entry", 128, move |group| {
            group
                .statement("UPDATE outbox SET due_at = NULL, quarantined = ?2 WHERE id = ?1")?
                .execute(params![id.as_bytes(), reason])?;
            Ok(())
        })
        .await
    }

    async fn clear(&self, tenant: TenantId, tasks: Option<&[TaskId]>) -> Result<usize, StoreError> {
        let tasks = tasks.map(<[TaskId]>::to_vec);
        self.write("clear outbox entries", 128, move |group| {
            let cleared = clear(group, tenant, tasks.as_deref())?;
            if cleared > 0 {
                group.scrub();
            }
            Ok(cleared)
        })
        .await
    }
}

fn clear(group: &Group<'_>, tenant: TenantId, tasks: Option<&[TaskId]>) -> Result<usize, Fault> {
    let Some(tasks) = tasks else {
        let mut all = group.statement("DELETE FROM outbox WHERE tenant = ?1")?;
        return Ok(all.execute([tenant.as_bytes()])?);
    };
    let mut cleared = 0;
    for task in tasks {
        let mut one = group.statement("DELETE FROM outbox WHERE tenant = ?1 AND task = ?2")?;
        cleared += one.execute(params![tenant.as_bytes(), task.as_bytes()])?;
    }
    Ok(cleared)
}

fn take(group: &Group<'_>, topic: &str, limit: usize, lease: Duration) -> Result<Vec<OutboxEntry>, Fault> {
    let mut entries = Vec::new();
    {
        let mut statement = group.statement(DUE)?;
        let mut rows = statement.query(params![topic, group.now.as_micros(), whole(limit)])?;
        while let Some(row) = rows.next()? {
            entries.push(OutboxEntry {
                id: OutboxId::from_bytes(row.get(0)?),
                topic: topic.to_owned(),
                tries: row.get(1)?,
                body: Json::parse(row.get::<_, String>(2)?)?,
            });
        }
    }
    let until = group.now.plus(lease);
    for entry in &entries {
        group
            .statement("UPDATE outbox SET due_at = ?2 WHERE id = ?1")?
            .execute(params![entry.id.as_bytes(), until.as_micros()])?;
    }
    Ok(entries)
}
