//! The audit log: appending records that belong to no transition, and reading leaves.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{
    BatchId, Digest, Json, PrincipalId, Record, RecordDraft, TaskId, TenantId, TenantScope, Timestamp,
};

/// Appends and reads audit leaves. Transitions append theirs through the store that makes them.
///
/// # Contract
/// - `append` is durable when it returns, and idempotent by batch id.
/// - Entries are read in log order; an entry's index never changes.
/// - `redact` removes detail and salt of an entry, keeps the leaf and every proof valid, and appends its own record
///   in the same transaction; `seal` does so for every entry that a rule finds, with one record that counts them. What
///   they remove cannot be read from the store's files afterwards.
#[async_trait]
pub trait AuditLog: Send + Sync + 'static {
    /// Appends records as one batch.
    async fn append(&self, batch: BatchId, records: Vec<Record>) -> Result<(), StoreError>;

    /// Entries from index `from` on, at most `limit`, in order; only placed ones.
    async fn read(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError>;

    /// Entries that match, newest first, by a bounded scan.
    async fn search(&self, scope: TenantScope, query: AuditQuery) -> Result<AuditPage, StoreError>;

    /// Removes the detail of an entry. Gives false when the entry does not exist or has no detail.
    async fn redact(&self, index: u64, tenant: TenantId, draft: RecordDraft) -> Result<bool, StoreError>;

    /// Removes the details of every entry that the rule finds, by a bounded scan: a call looks at least at one entry,
    /// and says where the next one goes on. Nothing removed, no record. A repeat finds nothing more to remove.
    async fn seal(&self, rule: Seal, draft: RecordDraft) -> Result<Sealed, StoreError>;
}

/// Which entries lose their details.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Of whom.
    pub scope: TenantScope,
    /// Only those before this moment.
    pub before: Option<Timestamp>,
    /// Only those about one of these, or by it.
    pub about: Option<Vec<SealSubject>>,
    /// And those about a task that this principal submitted, as far as the entry that says so was looked at by the same
    /// call; the call gives the tasks, for the calls after it.
    pub submitted_by: Option<PrincipalId>,
    /// Whose record it is, if anything is removed.
    pub told: TenantId,
    /// From this index on.
    pub from: u64,
    /// At most so many entries are looked at, or a few more: a store may end at the bounds of a batch.
    pub limit: usize,
}

/// What an entry is about, or by whom it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SealSubject {
    /// About this task.
    Task(TaskId),
    /// By this principal, or about it.
    Principal(PrincipalId),
}

/// What a seal did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sealed {
    /// How many details were removed.
    pub removed: u64,
    /// The tasks that were found to be submitted by the principal that the rule names.
    pub submitted: Vec<TaskId>,
    /// Where to go on; none when the end of the log, or the first entry that is too young, was reached.
    pub next: Option<u64>,
}

/// A leaf with its place and what stands beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its place in the log, from 0.
    pub index: u64,
    /// The canonical bytes that are hashed into the tree.
    pub leaf: Vec<u8>,
    /// The salt and bytes of the detail, unless there is none or it was redacted.
    pub detail: Option<AuditDetail>,
}

/// The removable detail of a leaf.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditDetail {
    /// The random salt.
    pub salt: [u8; 16],
    /// The bytes.
    pub body: Json,
}

/// Which entries to find.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// By this principal.
    pub principal: Option<PrincipalId>,
    /// With this action.
    pub action: Option<String>,
    /// About this resource, by id.
    pub resource: Option<String>,
    /// With this outcome.
    pub outcome: Option<String>,
    /// Only those before this index (a cursor).
    pub before: Option<u64>,
    /// At most so many, 1–1000.
    pub limit: usize,
}

/// A page of entries.
#[derive(Debug, Clone, Default)]
pub struct AuditPage {
    /// The entries, newest first.
    pub entries: Vec<AuditEntry>,
    /// Where to go on, if there may be more.
    pub next: Option<u64>,
}

/// The Merkle tree over the leaves.
///
/// # Contract
/// - `sequence` gives unplaced batches their place, in the order in which they were committed, and is correct with
///   any number of callers; stores that place leaves in the commit itself have nothing left to do.
/// - `tile` gives complete tiles and the right edge of the tree as it was at `size`.
/// - `publish` keeps a signed head; a head of a smaller tree never replaces one of a larger.
#[async_trait]
pub trait AuditTree: Send + Sync + 'static {
    /// Places what is not placed yet, at most `limit` batches.
    async fn sequence(&self, limit: usize) -> Result<TreeHead, StoreError>;

    /// The size and root of the tree now.
    async fn head(&self) -> Result<TreeHead, StoreError>;

    /// The first `width` hashes (1–256) of tile `index` on `level`; `None` when the tree does not have them.
    async fn tile(&self, level: u8, index: u64, width: u16) -> Result<Option<Vec<Digest>>, StoreError>;

    /// Keeps a signed head (a C2SP checkpoint).
    async fn publish(&self, head: TreeHead, note: &str) -> Result<(), StoreError>;

    /// The signed head of the largest tree that was published.
    async fn published(&self) -> Result<Option<(TreeHead, String)>, StoreError>;
}

/// The size and root of a tree (RFC 6962 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeHead {
    /// How many leaves it has.
    pub size: u64,
    /// Its root hash.
    pub root: Digest,
}
