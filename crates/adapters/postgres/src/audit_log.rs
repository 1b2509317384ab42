//! The port `AuditLog`.

mod entries;
mod redact;
mod search;

use arbiter_core::model::{BatchId, Record, RecordDraft, TenantId, TenantScope};
use arbiter_core::ports::{AuditEntry, AuditLog, AuditPage, AuditQuery, Seal, Sealed, StoreError};
use async_trait::async_trait;

use crate::session::uuid;
use crate::store::PostgresStore;

#[async_trait]
impl AuditLog for PostgresStore {
    async fn append(&self, batch: BatchId, records: Vec<Record>) -> Result<(), StoreError> {
        self.write("append audit records", move |write| {
            Box::pin(async move {
                let new = write
                    .session
                    .execute(
                        "INSERT INTO audit_append (batch) VALUES ($1) ON CONFLICT DO NOTHING",
                        &[&uuid(batch.as_bytes())],
                    )
                    .await?;
                if new == 1 {
                    records.iter().try_for_each(|record| write.leaf(record))?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.read("read the audit log", TenantScope::All, move |session| {
            Box::pin(async move { search::read(session, from, limit).await })
        })
        .await
    }

    /// Entries of all tenants share batches, so row-level security cannot part them: the engine reads, and what is of
    /// another tenant is left out here.
    async fn search(&self, scope: TenantScope, query: AuditQuery) -> Result<AuditPage, StoreError> {
        self.read("search the audit log", TenantScope::All, move |session| {
            Box::pin(async move { search::search(session, scope, &query).await })
        })
        .await
    }

    async fn redact(&self, index: u64, tenant: TenantId, draft: RecordDraft) -> Result<bool, StoreError> {
        self.write("redact an audit entry", move |write| {
            Box::pin(async move { redact::redact(write, index, tenant, draft).await })
        })
        .await
    }

    async fn seal(&self, rule: Seal, draft: RecordDraft) -> Result<Sealed, StoreError> {
        self.write("seal audit entries", move |write| {
            Box::pin(async move { redact::seal(write, &rule, draft).await })
        })
        .await
    }
}
