//! The node itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a node can do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadinessView {
    /// Whether every part that it needs is up.
    pub ready: bool,
    /// The version of the server.
    pub version: String,
    /// Each part.
    pub parts: Vec<ReadinessPartView>,
}

/// One part of a node, or something that it depends on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadinessPartView {
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub ready: bool,
    /// Why not, or what is degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How a node stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusView {
    /// The version of the server.
    pub version: String,
    /// When it began to serve.
    pub started_at: String,
    /// Its time.
    pub now: String,
    /// Whether every part that it needs is up.
    pub ready: bool,
    /// Each part.
    pub parts: Vec<ReadinessPartView>,
    /// The tasks of the caller's tenant.
    pub tasks: TaskCountsView,
    /// The audit log.
    pub audit: AuditSizeView,
    /// Calls under way.
    pub calls: PlacesView,
    /// Long polls and streams under way.
    pub waiting: PlacesView,
}

/// How many tasks of a tenant stand where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskCountsView {
    /// Not closed.
    pub open: u64,
    /// Queued.
    pub queued: u64,
    /// Assigned or running.
    pub running: u64,
    /// In review.
    pub reviewing: u64,
    /// Held.
    pub held: u64,
    /// Dead letters.
    pub dead: u64,
}

/// How large the audit log is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditSizeView {
    /// Entries.
    pub entries: u64,
    /// Entries that the newest signed head covers.
    pub signed: u64,
}

/// Places that are taken of those that there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlacesView {
    /// Taken.
    pub taken: u64,
    /// There are so many.
    pub limit: u64,
}

/// A backup that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BackupView {
    /// Its name in the folder of backups.
    pub name: String,
    /// Entries of the audit log that are in it.
    pub entries: u64,
    /// The root of the log's tree, in hexadecimal.
    pub root: String,
    /// Files.
    pub files: u64,
    /// Bytes.
    pub bytes: u64,
}
