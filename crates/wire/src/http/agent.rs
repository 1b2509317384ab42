//! Agents.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::task::SecurityForm;

/// What an agent says of itself.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentForm {
    /// Its id, the same over restarts; the caller's own, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A name for people, 1–100 characters.
    pub name: String,
    /// The family of the model inside, such as `claude`, `gpt`, `none`.
    pub model_family: String,
    /// The version of the model, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// The kinds of tasks that it takes, at least one.
    #[schemars(with = "Vec<String>")]
    pub kinds: BTreeSet<String>,
    /// Languages that it knows.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub languages: BTreeSet<String>,
    /// Its specialisations.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub specialisations: BTreeSet<String>,
    /// Its tools.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub tools: BTreeSet<String>,
    /// How many tasks it takes at once, 1–10 000; 1.
    #[serde(default = "one")]
    pub slots: u32,
    /// The highest security level that it is cleared for; internal. Only operators may give more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clearance: Option<SecurityForm>,
    /// What it costs per task, in millionths of the deployment's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_task_micros: Option<u64>,
    /// What it costs per thousand model tokens, in the same unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_1k_tokens_micros: Option<u64>,
    /// Words for finding it again.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The tenant that it serves; absent means the caller's, and for a peer every one. Only peers may name one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// How work reaches it; pull. Only peers may name another way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<TransportWord>,
}

/// How work reaches an agent, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransportWord {
    /// It asks for work.
    Pull,
    /// A node runs a command for each task.
    Exec,
    /// A node calls it over HTTP.
    Webhook,
    /// A node prompts a model.
    Model,
}

const fn one() -> u32 {
    1
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegisteredView {
    /// The agent's id.
    pub id: String,
    /// new, replaced or unchanged.
    pub outcome: String,
}

/// A registered agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentView {
    /// Its id.
    pub id: String,
    /// The tenant that it serves; absent means every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Its name.
    pub name: String,
    /// The family of the model inside.
    pub model_family: String,
    /// The version of the model, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_version: Option<String>,
    /// The kinds of tasks that it takes.
    #[schemars(with = "Vec<String>")]
    pub kinds: BTreeSet<String>,
    /// Languages that it knows.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub languages: BTreeSet<String>,
    /// Its specialisations.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub specialisations: BTreeSet<String>,
    /// Its tools.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub tools: BTreeSet<String>,
    /// How many tasks it takes at once.
    pub slots: u32,
    /// How work reaches it: pull, exec, webhook or model.
    pub transport: String,
    /// What it may do: active, draining or quarantined.
    pub mode: String,
    /// The highest security level that it is cleared for.
    pub clearance: String,
    /// What it costs per task, in millionths of the deployment's currency; absent means unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_task_micros: Option<u64>,
    /// What it costs per thousand model tokens, in the same unit; absent means unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_per_1k_tokens_micros: Option<u64>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was first registered.
    pub registered_at: String,
    /// When it was last heard of.
    pub seen_at: String,
    /// What it told with its latest heartbeat; absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beat: Option<BeatView>,
    /// healthy, degraded, unhealthy, draining or offline.
    pub health: String,
    /// Its record by kind of task.
    pub records: Vec<AgentRecordView>,
}

/// An agent's record with one kind of task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentRecordView {
    /// The kind.
    pub kind: String,
    /// Finished attempts.
    pub attempts: u64,
    /// Attempts that succeeded.
    pub succeeded: u64,
    /// The success rate that allocation reckons with, 0–1: it starts from a prior.
    pub success_rate: f64,
    /// The mean latency that allocation reckons with: it starts from a prior.
    pub latency_seconds: f64,
    /// What the means are made of, without the prior; absent from servers that do not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sums: Option<RecordSumsView>,
}

/// What an agent's record is made of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordSumsView {
    /// Outputs whose quality was measured.
    pub judged: u64,
    /// The sum of their qualities, each 0–1.
    pub quality: f64,
    /// The sum of the latencies of all finished attempts.
    pub latency_seconds: f64,
    /// Attempts that told their cost.
    pub costed: u64,
    /// The sum of these costs, in millionths of the deployment's currency.
    pub cost_micros: u64,
}

/// What an agent told with a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct BeatView {
    /// Whether it says that it can work.
    pub able: bool,
    /// Share of its processor in use, 0–1, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    /// Share of its memory in use, 0–1, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
}

/// A page of agents, by id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentPageView {
    /// The agents.
    pub agents: Vec<AgentView>,
    /// Where to go on, if there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The same place as the id of an agent, for callers that keep ids: `after` of the next call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<String>,
}

/// What an agent may do from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentModeForm {
    /// The mode.
    pub mode: AgentModeWord,
    /// Why; it is kept in the audit log.
    pub reason: String,
}

/// What an agent may do, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AgentModeWord {
    /// It takes work.
    Active,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// It takes nothing, and what it holds is taken from it.
    Quarantined,
}

/// What an agent's work so far has shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PerformanceView {
    /// The agent.
    pub agent: String,
    /// By kind of task; kinds that it has not worked on are absent.
    pub kinds: Vec<KindPerformanceView>,
    /// What a span of time has shown, when one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<PeriodView>,
}

/// What an agent's work has shown in a span of time, from the history of measurements.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeriodView {
    /// The beginning (RFC 3339).
    pub from: String,
    /// The end, which is not part of it (RFC 3339).
    pub to: String,
    /// By kind of task; kinds that it did not work on are absent.
    pub kinds: Vec<KindPeriodView>,
}

/// What an agent's work on one kind of task has shown in a span of time. Nothing in it starts from a prior.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KindPeriodView {
    /// The kind.
    pub kind: String,
    /// Finished attempts.
    pub attempts: u64,
    /// Attempts that succeeded.
    pub succeeded: u64,
    /// The share that succeeded, 0–1.
    pub success_rate: f64,
    /// How long an attempt took in the mean, in seconds.
    pub latency_seconds: f64,
    /// Outputs whose quality was measured.
    pub judged: u64,
    /// Their mean quality, 0–1; absent when there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<f64>,
    /// The mean cost of the attempts that told theirs, in millionths of the deployment's currency; absent when none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_cost_micros: Option<f64>,
}

/// What an agent's work on one kind of task has shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KindPerformanceView {
    /// The kind.
    pub kind: String,
    /// Finished attempts.
    pub attempts: u64,
    /// Attempts that succeeded.
    pub succeeded: u64,
    /// The success rate that allocation reckons with, 0–1: it starts from a prior.
    pub success_rate: f64,
    /// Outputs whose quality was measured.
    pub judged: u64,
    /// The mean quality that allocation reckons with, 0–1: it starts from a prior.
    pub quality: f64,
    /// The mean latency that allocation reckons with: it starts from a prior.
    pub latency_seconds: f64,
    /// The mean cost of the attempts that told theirs, in millionths of the deployment's currency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_cost_micros: Option<u64>,
}
