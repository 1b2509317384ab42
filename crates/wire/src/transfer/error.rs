//! Why rows are not moved.

use arbiter_audit::report::Fault;
use arbiter_core::model::{Digest, TenantId};
use arbiter_core::ports::StoreError;

use crate::stored::CodecError;

/// Why rows were not moved. Nothing was kept of them, unless the store says that it does not know.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The store has something already.
    #[error("the store is not empty, there are rows in `{table}`; rows are moved only into an empty one")]
    NotEmpty {
        /// A table that has rows.
        table: &'static str,
    },
    /// What came does not add up.
    #[error("what was to be moved does not add up")]
    Damaged(#[from] Damage),
    /// The rows stopped before their end.
    #[error("the rows stopped before their end")]
    Cut,
    /// Nobody takes the rows any more.
    #[error("nobody takes the rows any more")]
    Unwanted,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What does not add up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A body cannot be read.
    #[error("a body in `{table}` cannot be read")]
    Body {
        /// The table.
        table: &'static str,
        /// Why.
        source: CodecError,
    },
    /// A row contradicts itself or another one.
    #[error("a row of `{table}` does not hold what it must: {what}")]
    Row {
        /// The table.
        table: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// An entry of the audit log is not what was written.
    #[error("the audit log is damaged at {0}")]
    Log(Fault),
    /// The audit log has another root than its store says.
    #[error("the audit log has {found} entries with the root {root}; its store says otherwise")]
    Head {
        /// How many entries came.
        found: u64,
        /// Their root.
        root: Digest,
    },
    /// The audit log does not continue what was signed.
    #[error("the first {size} entries of the audit log are not those that were signed")]
    Signed {
        /// How many entries were signed.
        size: u64,
    },
    /// A tally is not what the tasks of its tenant say.
    #[error("the tasks of tenant {tenant} do not stand where they were counted")]
    Tally {
        /// The tenant.
        tenant: TenantId,
    },
    /// A load is not what open leases take up.
    #[error("open leases do not take up of `{scope}` what was counted")]
    Load {
        /// The scope.
        scope: String,
    },
    /// Rows were lost or came twice.
    #[error("`{table}` has {told} rows, but {found} were moved")]
    Count {
        /// The table.
        table: &'static str,
        /// How many rows there are.
        told: u64,
        /// How many were kept.
        found: u64,
    },
    /// The content of an artifact is not whole.
    #[error("the content of the artifact {tenant}/{digest} is not whole")]
    Artifact {
        /// Whose it is.
        tenant: TenantId,
        /// The digest that it must have.
        digest: Digest,
    },
}
