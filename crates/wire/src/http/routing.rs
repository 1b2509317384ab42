//! Decisions of allocation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who could do a task now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteView {
    /// The strategy that would choose among the agents.
    pub strategy: String,
    /// Agents that fulfil every hard constraint and have a free slot, best match first, at most 100.
    pub agents: Vec<MatchView>,
    /// Why there is none: no_capable_agent, none_healthy, none_free, over_budget, deadline_impossible or
    /// registry_unavailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// An agent that could do a task now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MatchView {
    /// The agent.
    pub agent: String,
    /// How well it fits, 0–1.
    pub score: f64,
    /// What the score is made of.
    pub parts: Vec<ScorePartView>,
}

/// Why an agent got a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionView {
    /// The decision's id.
    pub id: String,
    /// The task.
    pub task: String,
    /// The agent that was chosen.
    pub agent: String,
    /// The strategy's name.
    pub strategy: String,
    /// The version of the strategy's settings.
    pub policy_version: u64,
    /// The score of the chosen agent, 0–1.
    pub score: f64,
    /// What the score is made of.
    pub parts: Vec<ScorePartView>,
    /// How many agents fulfilled every hard constraint.
    pub candidates: u32,
    /// Up to three others, best first.
    pub alternatives: Vec<AlternativeView>,
    /// The probability with which this agent was chosen among the candidates, 0–1.
    pub propensity: f64,
    /// Whether the choice explored instead of taking the best known.
    pub explore: bool,
    /// The random draw that the choice used, if it used one: a number of up to 64 bits, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<String>,
    /// States exactly what happened.
    pub rationale: String,
}

/// A part of a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScorePartView {
    /// What it measures.
    pub name: String,
    /// Its weight in the mean.
    pub weight: f64,
    /// Its value, 0–1.
    pub value: f64,
}

/// An agent that was not chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlternativeView {
    /// The agent.
    pub agent: String,
    /// Its score, 0–1.
    pub score: f64,
    /// The probability with which it would have been chosen, 0–1.
    pub propensity: f64,
    /// Why it was not chosen.
    pub reason: String,
}

/// A decision with where it stands in the audit log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecidedView {
    /// The index of its entry, for a proof.
    pub index: u64,
    /// When the task was assigned.
    pub at: String,
    /// The decision; absent when it was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionView>,
}

/// Decisions, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DecisionPageView {
    /// The decisions.
    pub decisions: Vec<DecidedView>,
    /// Where to go on, if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}
