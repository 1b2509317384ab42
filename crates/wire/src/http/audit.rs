//! The audit log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An entry of the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEntryView {
    /// Its place in the log, from 0.
    pub index: u64,
    /// The leaf that is hashed into the tree.
    pub leaf: Value,
    /// Its detail, unless there is none or it was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// What became of the detail of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRedactionView {
    /// The entry's place in the log.
    pub index: u64,
    /// Whether it had a detail, which was removed now.
    pub removed: bool,
}

/// A page of entries, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditPageView {
    /// The entries. A page may be short, or empty, and still have a cursor.
    pub entries: Vec<AuditEntryView>,
    /// Where to go on, if there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The newest signed head of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditHeadView {
    /// How many entries it covers.
    pub size: u64,
    /// The root of the tree (RFC 6962 §2.1), in hexadecimal.
    pub root: String,
    /// The head as a signed note (C2SP tlog-checkpoint).
    pub checkpoint: String,
}

/// Proves that an entry stands in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InclusionProofView {
    /// The entry's place.
    pub index: u64,
    /// The size of the tree.
    pub size: u64,
    /// The entry's leaf.
    pub leaf: Value,
    /// The leaf's canonical bytes, which are hashed, in base64.
    pub leaf_bytes: String,
    /// Its hash.
    pub leaf_hash: String,
    /// The audit path (RFC 6962 §2.1.1), in hexadecimal.
    pub path: Vec<String>,
    /// The root of the tree.
    pub root: String,
    /// The head as a signed note (C2SP tlog-checkpoint).
    pub checkpoint: String,
}

/// Proves that the log only grew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConsistencyProofView {
    /// The size of the earlier tree.
    pub from: u64,
    /// The size of the later one.
    pub to: u64,
    /// The proof (RFC 6962 §2.1.2), in hexadecimal.
    pub path: Vec<String>,
    /// The root of the later tree.
    pub root: String,
    /// Its head as a signed note (C2SP tlog-checkpoint).
    pub checkpoint: String,
}
