//! The port `Documents`.

mod clear;
mod read;
mod write;

use arbiter_core::model::TenantScope;
use arbiter_core::ports::{
    Clearance, Document, DocumentError, DocumentKey, DocumentQuery, DocumentWrite, Documents, Effects,
    StoreError,
};
use async_trait::async_trait;
use uuid::Uuid;

use crate::session::uuid;
use crate::store::PostgresStore;

#[async_trait]
impl Documents for PostgresStore {
    async fn get(
        &self,
        scope: TenantScope,
        keys: &[DocumentKey],
    ) -> Result<Vec<Option<Document>>, StoreError> {
        let (keys, names) = (keys.to_vec(), self.names.clone());
        self.read("get documents", scope, move |session| {
            Box::pin(async move { read::get_all(session, &keys, &names).await })
        })
        .await
    }

    async fn write(&self, writes: Vec<DocumentWrite>, effects: Effects) -> Result<Vec<u64>, DocumentError> {
        self.write("write documents", move |write| {
            Box::pin(async move { write::write_all(write, &writes, &effects).await })
        })
        .await?
    }

    async fn clear(&self, clearance: Clearance) -> Result<usize, StoreError> {
        self.write("clear documents", move |write| {
            Box::pin(async move { clear::clear(write, &clearance).await })
        })
        .await
    }

    async fn list(&self, scope: TenantScope, query: DocumentQuery) -> Result<Vec<Document>, StoreError> {
        let names = self.names.clone();
        self.read("list documents", scope, move |session| {
            Box::pin(async move { read::list(session, scope, &query, &names).await })
        })
        .await
    }
}

/// Keys as the columns that statements take.
#[derive(Debug, Default)]
struct Keys<'a> {
    kinds: Vec<&'a str>,
    tenants: Vec<Uuid>,
    ids: Vec<&'a str>,
}

impl<'a> Keys<'a> {
    fn push(&mut self, kind: &'a str, tenant: &[u8; 16], id: &'a str) {
        self.kinds.push(kind);
        self.tenants.push(uuid(tenant));
        self.ids.push(id);
    }

    fn of(keys: impl IntoIterator<Item = &'a DocumentKey>) -> Self {
        let mut columns = Self::default();
        for key in keys {
            columns.push(key.kind, key.tenant.as_bytes(), &key.id);
        }
        columns
    }

    fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}
