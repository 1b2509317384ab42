//! Allocation decisions: which agent, why, and with what probability.

use serde_json::json;

use super::{AgentId, DecisionId, Json, TaskId};

/// A kept allocation decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Its id.
    pub id: DecisionId,
    /// The task.
    pub task: TaskId,
    /// The agent that was chosen.
    pub agent: AgentId,
    /// The strategy's name.
    pub strategy: &'static str,
    /// The version of the strategy's settings.
    pub policy_version: u64,
    /// The score of the chosen agent, 0–1.
    pub score: f64,
    /// What the score is made of.
    pub parts: Vec<ScorePart>,
    /// How many agents fulfilled every hard constraint.
    pub candidates: u32,
    /// Up to three others, best first.
    pub alternatives: Vec<Alternative>,
    /// The probability with which this agent was chosen among the candidates, 0–1.
    pub propensity: f64,
    /// Whether the choice explored instead of taking the best known.
    pub explore: bool,
    /// The random draw that the choice used, if it used one, so that it can be replayed.
    pub seed: Option<u64>,
    /// States exactly what happened.
    pub rationale: String,
}

/// A part of a score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScorePart {
    /// What it measures.
    pub name: &'static str,
    /// Its weight in the mean.
    pub weight: f64,
    /// Its value, 0–1.
    pub value: f64,
}

/// An agent that was not chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Alternative {
    /// The agent.
    pub agent: AgentId,
    /// Its score, 0–1.
    pub score: f64,
    /// The probability with which it would have been chosen.
    pub propensity: f64,
    /// Why it was not chosen.
    pub reason: &'static str,
}

impl Decision {
    /// The decision as the detail of an `assigned` record (schema `decision/1`).
    pub fn to_json(&self) -> Json {
        let parts: Vec<_> = self
            .parts
            .iter()
            .map(|part| json!({"name": part.name, "weight": part.weight, "value": part.value}))
            .collect();
        let alternatives: Vec<_> = self
            .alternatives
            .iter()
            .map(|other| {
                json!({
                    "agent": other.agent.to_string(),
                    "score": other.score,
                    "propensity": other.propensity,
                    "reason": other.reason,
                })
            })
            .collect();
        Json::of(&json!({
            "schema": "decision/1",
            "id": self.id.to_string(),
            "task": self.task.to_string(),
            "agent": self.agent.to_string(),
            "strategy": self.strategy,
            "policy_version": self.policy_version,
            "score": self.score,
            "parts": parts,
            "candidates": self.candidates,
            "alternatives": alternatives,
            "propensity": self.propensity,
            "explore": self.explore,
            "seed": self.seed.map(|seed| seed.to_string()),
            "rationale": self.rationale,
        }))
    }
}
