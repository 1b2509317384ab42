//! The port `Outbox`.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_core::model::{OutboxId, TaskId, TenantId, Timestamp};
use arbiter_core::ports::{Outbox, OutboxEntry, StoreError};
use async_trait::async_trait;

use crate::store::{InMemoryStore, Transaction};
use crate::tables::{OutboxRow, OutboxState};

#[async_trait]
impl Outbox for InMemoryStore {
    async fn take(&self, topic: &str, limit: usize, lease: Duration) -> Result<Vec<OutboxEntry>, StoreError> {
        self.write("take outbox entries", |transaction| {
            let lowest = (
                topic.to_owned(),
                Timestamp::from_micros(i64::MIN),
                OutboxId::from_bytes([0; 16]),
            );
            let highest = (
                topic.to_owned(),
                transaction.now,
                OutboxId::from_bytes([u8::MAX; 16]),
            );
            let due = transaction.tables.outbox_due.range(lowest..=highest);
            let due: Vec<OutboxId> = due.take(limit).map(|((_, _, id), ())| *id).collect();
            let until = transaction.now.plus(lease);
            let taken = due.into_iter().filter_map(|id| {
                let row = transaction.tables.outbox.get(&id).cloned()?;
                let entry = OutboxEntry {
                    id,
                    topic: row.topic.clone(),
                    tries: row.tries,
                    body: row.body.clone(),
                };
                let state = OutboxState::Due(until);
                transaction.put_outbox(id, OutboxRow { state, ..row });
                Some(entry)
            });
            Ok(taken.collect())
        })
    }

    async fn done(&self, ids: &[OutboxId]) -> Result<(), StoreError> {
        self.write("settle outbox entries", |transaction| {
            for id in ids {
                transaction.unplace_outbox(*id);
                transaction.tables.outbox.remove(id);
            }
            Ok(())
        })
    }

    async fn later(&self, id: OutboxId, at: Timestamp) -> Result<(), StoreError> {
        self.write("put off an outbox entry", |transaction| {
            let row = transaction.tables.outbox.get(&id).cloned();
            if let Some(row) = row.filter(|row| matches!(row.state, OutboxState::Due(_))) {
                let tries = row.tries.saturating_add(1);
                let state = OutboxState::Due(at);
                transaction.put_outbox(id, OutboxRow { tries, state, ..row });
            }
            Ok(())
        })
    }

    async fn quarantine(&self, id: OutboxId, reason: &str) -> Result<(), StoreError> {
        self.write("quarantine an outbox entry", |transaction| {
            if let Some(row) = transaction.tables.outbox.get(&id).cloned() {
                let state = OutboxState::Quarantined(reason.to_owned());
                transaction.put_outbox(id, OutboxRow { state, ..row });
            }
            Ok(())
        })
    }

    async fn clear(&self, tenant: TenantId, tasks: Option<&[TaskId]>) -> Result<usize, StoreError> {
        let tasks = tasks.map(|tasks| tasks.iter().copied().collect::<BTreeSet<_>>());
        self.write("clear outbox entries", |transaction| {
            let is_about = |row: &OutboxRow| match (row.about, &tasks) {
                (Some((of, _)), None) => of == tenant,
                (Some((of, Some(task))), Some(tasks)) => of == tenant && tasks.contains(&task),
                _ => false,
            };
            let found: Vec<OutboxId> = (transaction.tables.outbox.range(..))
                .filter(|(_, row)| is_about(row))
                .map(|(id, _)| *id)
                .collect();
            for id in &found {
                transaction.unplace_outbox(*id);
                transaction.tables.outbox.remove(id);
            }
            Ok(found.len())
        })
    }
}

impl Transaction<'_> {
    fn put_outbox(&mut self, id: OutboxId, row: OutboxRow) {
        self.unplace_outbox(id);
        if let OutboxState::Due(at) = row.state {
            self.tables.outbox_due.put((row.topic.clone(), at, id), ());
        }
        self.tables.outbox.put(id, row);
    }

    fn unplace_outbox(&mut self, id: OutboxId) {
        if let Some(OutboxRow {
            topic,
            state: OutboxState::Due(at),
            ..
        }) = self.tables.outbox.get(&id)
        {
            let place = (topic.clone(), *at, id);
            self.tables.outbox_due.remove(&place);
        }
    }
}
