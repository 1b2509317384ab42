//! The agents' side: claiming work and handing it in.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::UsageForm;
use crate::task::ArtifactForm;

/// Asks for work, and waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimForm {
    /// How many tasks the agent could start now, 1–100.
    #[schemars(range(min = 1, max = 100))]
    pub slots: u32,
    /// What it holds already: whatever else the server says that it holds is given to it again.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::object::many"
    )]
    #[schemars(length(max = 10_000))]
    pub holding: Vec<HeldForm>,
    /// How long the answer may wait for work, 0–60; 30.
    #[serde(default = "thirty")]
    #[schemars(range(min = 0, max = 60))]
    pub wait_seconds: u32,
}

const fn thirty() -> u32 {
    30
}

/// An attempt that an agent holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeldForm {
    /// The task.
    pub task: String,
    /// The attempt's fencing token.
    pub fence: u64,
}

/// Work, perhaps none.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ClaimedView {
    /// What to work on.
    pub work: Vec<WorkView>,
}

/// A task as its agent sees it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WorkView {
    /// The task's id.
    pub task: String,
    /// Its tenant.
    pub tenant: String,
    /// The fencing token: every later call about this attempt carries it.
    pub fence: u64,
    /// The number of the attempt, from 1.
    pub attempt: u16,
    /// Its kind.
    pub kind: String,
    /// A line for people.
    pub title: String,
    /// What is to be done.
    pub instructions: String,
    /// The input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Box<RawValue>>,
    /// Input files.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        default,
        deserialize_with = "crate::object::many"
    )]
    pub artifacts: Vec<ArtifactForm>,
    /// How secret it is.
    pub security: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When the attempt is ended.
    pub ends_at: String,
    /// Until when the lease lasts unless it is extended by a heartbeat.
    pub lease_until: String,
    /// Why earlier attempts did not succeed.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub context: Vec<String>,
    /// The submitter's trace (W3C Trace Context).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Names an attempt, and the call about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttemptForm {
    /// The task.
    pub task: String,
    /// The task's tenant; the agent's own, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The attempt's fencing token.
    pub fence: u64,
    /// Names this call, so that it can be sent again: a UUID of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
}

/// An output.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportForm {
    /// The attempt.
    #[serde(deserialize_with = "crate::object::one")]
    pub attempt: AttemptForm,
    /// The output, at most 1 MiB of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Box<RawValue>>,
    /// Files, stored before.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "crate::object::many"
    )]
    pub artifacts: Vec<ArtifactForm>,
    /// What the agent claims about them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Box<RawValue>>,
    /// What supports the claims.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Box<RawValue>>,
    /// What the attempt used.
    #[serde(default, deserialize_with = "crate::object::one")]
    pub usage: UsageForm,
}

/// A failed attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FailForm {
    /// The attempt.
    #[serde(deserialize_with = "crate::object::one")]
    pub attempt: AttemptForm,
    /// The agent's own word for the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// What went wrong, for people and for the next attempt.
    pub message: String,
    /// What the attempt used.
    #[serde(default, deserialize_with = "crate::object::one")]
    pub usage: UsageForm,
}

/// An assignment that is given back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclineForm {
    /// The attempt.
    #[serde(deserialize_with = "crate::object::one")]
    pub attempt: AttemptForm,
    /// Why.
    pub reason: String,
}

/// Heartbeats of the attempts that an agent holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatForm {
    /// At most 10 000 attempts.
    #[serde(deserialize_with = "crate::object::many")]
    #[schemars(length(max = 10_000))]
    pub attempts: Vec<BeatForm>,
}

/// A heartbeat of one attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BeatForm {
    /// The task.
    pub task: String,
    /// The task's tenant; the agent's own, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The attempt's fencing token.
    pub fence: u64,
    /// What is told.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::object::optional"
    )]
    pub progress: Option<ProgressForm>,
    /// What the attempt has used so far.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::object::optional"
    )]
    pub usage: Option<UsageForm>,
}

/// Progress of one attempt; its lease is kept as by a heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToldForm {
    /// The task.
    pub task: String,
    /// The task's tenant; the agent's own, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The attempt's fencing token.
    pub fence: u64,
    /// What is told.
    #[serde(deserialize_with = "crate::object::one")]
    pub progress: ProgressForm,
    /// What the attempt has used so far.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::object::optional"
    )]
    pub usage: Option<UsageForm>,
}

/// What an agent tells while it works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProgressForm {
    /// How much is done, 0–1, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// A line for people.
    pub message: String,
}

/// What became of leases, in the order of the heartbeats.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatView {
    /// One status for each.
    pub leases: Vec<LeaseView>,
}

/// What became of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseView {
    /// held: go on; cancelled: stop, nobody wants the output; lost: stop, somebody else has it.
    pub status: LeaseWord,
    /// Until when it lasts, when it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// What became of a lease, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeaseWord {
    /// Go on.
    Held,
    /// Stop: nobody wants the output.
    Cancelled,
    /// Stop: somebody else has the task, or it has ended.
    Lost,
}
