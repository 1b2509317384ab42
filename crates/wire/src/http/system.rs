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
