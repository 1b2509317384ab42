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
