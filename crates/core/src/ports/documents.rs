//! Small aggregates: keys, principals, tenants, settings, cursors.

use async_trait::async_trait;

use super::{Effects, StoreError};
use crate::model::{Json, TenantId, TenantScope, Timestamp};

/// Keeps small versioned documents. A new aggregate is a typed struct over this port in its domain crate.
///
/// # Contract
/// - `write` applies all writes and their effects, or none; a broken precondition fails the whole call and writes
///   nothing, not even a leaf.
/// - Revisions start at 1 and rise by one with each write of the document; a deleted document that is written again
///   starts at 1.
/// - An expired document is absent for reads and preconditions from the store's clock reading on.
/// - `list` is ordered by id and bounded by its limit.
///
/// # Cancel safety
/// As for [`TaskStore`](super::TaskStore): a write may commit although its future is dropped; preconditions make a
/// repeat safe.
#[async_trait]
pub trait Documents: Send + Sync + 'static {
    /// Documents by key; absent ones are `None`, in the order of the keys.
    async fn get(
        &self,
        scope: TenantScope,
        keys: &[DocumentKey],
    ) -> Result<Vec<Option<Document>>, StoreError>;

    /// Writes and deletes documents. Gives the new revision of each, 0 for a deleted one.
    async fn write(&self, writes: Vec<DocumentWrite>, effects: Effects) -> Result<Vec<u64>, DocumentError>;

    /// Deletes documents whatever their revision, at most `limit`; gives how many. One audit leaf counts them;
    /// nothing deleted, no leaf. What was deleted cannot be read from the store's files afterwards.
    async fn clear(&self, clearance: Clearance) -> Result<usize, StoreError>;

    /// A page of the documents of a kind.
    async fn list(&self, scope: TenantScope, query: DocumentQuery) -> Result<Vec<Document>, StoreError>;
}

/// Which documents to clear away.
#[derive(Debug, Clone)]
pub struct Clearance {
    /// Which.
    pub which: Cleared,
    /// Whose record it is.
    pub told: TenantId,
    /// At most so many.
    pub limit: usize,
    /// Who and what for the audit log.
    pub effects: Effects,
}

/// Which documents may be cleared away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cleared {
    /// All of a tenant but those of the kept kinds.
    Tenant {
        /// The tenant.
        tenant: TenantId,
        /// What stays.
        keep: Vec<&'static str>,
    },
    /// These; absent ones are passed over.
    Keys(Vec<DocumentKey>),
}

/// Names a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    /// The sort of aggregate, such as `api_key`.
    pub kind: &'static str,
    /// The tenant.
    pub tenant: TenantId,
    /// The id inside kind and tenant, 1–200 bytes.
    pub id: String,
}

/// A stored document.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its name.
    pub key: DocumentKey,
    /// Counts its writes.
    pub revision: u64,
    /// Its versioned body.
    pub body: Json,
    /// Declared values by which it can be listed, at most four.
    pub index: Vec<(&'static str, String)>,
    /// When it disappears by itself.
    pub expires_at: Option<Timestamp>,
}

/// A write of one document.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentWrite {
    /// Its name.
    pub key: DocumentKey,
    /// What must hold.
    pub precondition: Precondition,
    /// The new content; none deletes it.
    pub content: Option<DocumentContent>,
}

/// The content of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentContent {
    /// Its versioned body.
    pub body: Json,
    /// Declared values by which it can be listed, at most four.
    pub index: Vec<(&'static str, String)>,
    /// When it disappears by itself.
    pub expires_at: Option<Timestamp>,
}

/// What must hold for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// The document does not exist.
    Absent,
    /// It has this revision.
    Revision(u64),
    /// Nothing.
    Any,
}

/// Which documents to list.
#[derive(Debug, Clone)]
pub struct DocumentQuery {
    /// The sort of aggregate.
    pub kind: &'static str,
    /// Only those whose declared value of this name is this.
    pub index: Option<(&'static str, String)>,
    /// Only those after this tenant and id.
    pub after: Option<(TenantId, String)>,
    /// At most so many, 1–1000.
    pub limit: usize,
}

/// Why a write was not done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// A precondition does not hold.
    #[error("the document `{}` of kind `{}` has revision {found}, which the write did not expect", key.id, key.kind)]
    Precondition {
        /// The document.
        key: DocumentKey,
        /// Its revision, 0 when it is absent.
        found: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
