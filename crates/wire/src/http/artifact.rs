//! Artifacts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A stored artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactView {
    /// Its SHA-256, as 64 hexadecimal digits.
    pub digest: String,
    /// Its size.
    pub size_bytes: u64,
}

/// A page of artifacts, by digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactPageView {
    /// The artifacts.
    pub artifacts: Vec<ArtifactView>,
    /// Where to go on, if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How much of its quota a tenant uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactQuotaView {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that may be used.
    pub quota_bytes: u64,
}
