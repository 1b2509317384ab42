//! One operation on many tasks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which tasks, and why.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BulkForm {
    /// Of which tenant; the caller's own, unless an admin names another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Only those of this kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only those with this label: `name=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Only those that were submitted before (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_before: Option<String>,
    /// Where to go on: the `next` of the call before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub cursor: Option<String>,
    /// At most so many tasks in this call; 1000.
    #[serde(default = "thousand")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: usize,
    /// Only tells how many tasks there are and some of them.
    #[serde(default)]
    pub dry_run: bool,
    /// Why; it is kept in the audit log.
    #[schemars(length(min = 1))]
    pub reason: String,
}

const fn thousand() -> usize {
    1_000
}

/// What became of the tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BulkView {
    /// Whether nothing was done.
    pub dry_run: bool,
    /// How many tasks the filter found that the operation fits.
    pub matched: usize,
    /// For how many it was done.
    pub done: usize,
    /// How many were refused, by code.
    pub refused: BTreeMap<String, usize>,
    /// The ids of the first 20 that were found.
    pub sample: Vec<String>,
    /// Where to go on, if there may be more; a call may find nothing and still have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
