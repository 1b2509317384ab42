//! What control planes tell each other about agents when one is the other's registry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AgentView, BeatView};

/// The most ids, heartbeats or outcomes of one call.
pub const MAX_AGENT_ITEMS: usize = 1_000;

/// What changed in a registry after a revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentChangesView {
    /// Agents as they are now, each once.
    pub agents: Vec<AgentView>,
    /// The ids of agents that are gone.
    pub removed: Vec<String>,
    /// Where to go on.
    pub revision: u64,
    /// Whether there is more.
    pub more: bool,
}

/// Agents that were heard of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentsHeardView {
    /// The agents, by when they were heard of, then by id.
    pub agents: Vec<AgentHeardView>,
    /// Whether there is more: go on with `since` and `after` of the last one.
    pub more: bool,
}

/// When an agent was heard of last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentHeardView {
    /// The agent.
    pub agent: String,
    /// When, by the registry's clock (RFC 3339).
    pub at: String,
    /// What it told with its latest heartbeat; absent before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beat: Option<BeatView>,
}

/// Agents to read together.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentIdsForm {
    /// Their ids, at most 1000.
    #[schemars(length(max = 1000))]
    pub ids: Vec<String>,
}

/// Agents that were asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AgentsView {
    /// Those that are there, each once, by id.
    pub agents: Vec<AgentView>,
}

/// Heartbeats of many agents.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentBeatsForm {
    /// The heartbeats, at most 1000.
    #[serde(deserialize_with = "crate::object::many")]
    #[schemars(length(max = 1000))]
    pub beats: Vec<AgentBeatForm>,
}

/// A heartbeat of an agent.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentBeatForm {
    /// The agent.
    pub agent: String,
    /// Whether it says that it can work.
    pub able: bool,
    /// Share of its processor in use, 0–1, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub cpu: Option<f64>,
    /// Share of its memory in use, 0–1, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub memory: Option<f64>,
}

/// Agents that a registry does not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnknownAgentsView {
    /// Their ids, in the order in which they were named.
    pub unknown: Vec<String>,
}

/// How attempts of agents ended.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomesForm {
    /// The outcomes, at most 1000. One of an agent that is not known is ignored.
    #[serde(deserialize_with = "crate::object::many")]
    #[schemars(length(max = 1000))]
    pub outcomes: Vec<OutcomeForm>,
}

/// How an attempt ended. It is counted once per attempt, however often it is told.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeForm {
    /// The agent.
    pub agent: String,
    /// The kind of the task.
    pub kind: String,
    /// The task.
    pub task: String,
    /// The fencing token of the attempt.
    pub fence: u64,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// How good the output was, 0–1, when it was judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub quality: Option<f64>,
    /// From acknowledgement to end, in millionths of a second.
    pub latency_micros: u64,
    /// What it cost, in millionths of the deployment's currency, when told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
}

/// Since when agents must have been heard of to stay.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SilentAgentsForm {
    /// The moment, by the registry's clock (RFC 3339).
    pub since: String,
}

/// Agents that were removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RemovedAgentsView {
    /// Their ids.
    pub removed: Vec<String>,
}
