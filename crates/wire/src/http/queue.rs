//! What is paused, and how many tasks stand where.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What to pause or to resume, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseForm {
    /// What.
    pub what: PauseWord,
    /// Which tenant, or the kind of which tenant; the caller's own if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Which kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The kind in every tenant; not together with `tenant`.
    #[serde(default)]
    pub everywhere: bool,
    /// Which agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// 1–2000 characters; kept in the audit log.
    pub reason: String,
}

/// What can be paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PauseWord {
    /// Everything.
    Queue,
    /// The tasks of a tenant.
    Tenant,
    /// The tasks of a kind.
    Kind,
    /// What is assigned to an agent.
    Agent,
}

/// Something that is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PauseView {
    /// What.
    pub what: PauseWord,
    /// Which tenant, or the kind of which tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Which kind; of every tenant when none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Which agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Why; absent for what concerns other tenants too, unless the caller is an admin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// By which principal; absent likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Since when.
    pub since: String,
}

/// How the queue stands for a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueStatusView {
    /// For which tenant.
    pub tenant: String,
    /// Whether it is suspended.
    pub suspended: bool,
    /// What is paused of it or of all; for an admin that names no tenant, of every tenant.
    pub pauses: Vec<PauseView>,
    /// How many of its tasks stand where.
    pub tasks: TallyView,
}

/// How many tasks stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TallyView {
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
    /// Dead-lettered.
    pub dead: u64,
}
