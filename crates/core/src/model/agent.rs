//! Agents: what they say of themselves, and what is known of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::task::words;
use super::{AgentId, SecurityLevel, TaskKind, TenantId, Timestamp};

/// What an agent says of itself when it registers.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentProfile {
    /// Its id, the same over restarts.
    pub id: AgentId,
    /// The tenant that it serves; none means every tenant.
    pub tenant: Option<TenantId>,
    /// A name for people, 1–100 characters.
    pub name: String,
    /// The family of the model inside, such as `claude`, `gpt`, `none`; 1–100 characters.
    pub model_family: String,
    /// The version of the model, if known.
    pub model_version: Option<String>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// How work reaches it.
    pub transport: Transport,
    /// How many tasks it takes at once, 1–10 000.
    pub slots: u32,
    /// The highest security level that it is cleared for.
    pub clearance: SecurityLevel,
    /// What it costs.
    pub cost: AgentCost,
    /// Words for finding it again.
    pub labels: BTreeMap<String, String>,
}

/// What an agent can do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// The kinds of tasks, at least one.
    pub kinds: BTreeSet<TaskKind>,
    /// Programming or natural languages.
    pub languages: BTreeSet<String>,
    /// Specialisations.
    pub specialisations: BTreeSet<String>,
    /// Tools.
    pub tools: BTreeSet<String>,
}

words! {
    /// How work reaches an agent.
    Transport {
        /// It asks for work.
        Pull = "pull",
        /// A node runs a command for each task.
        Exec = "exec",
        /// A node calls it over HTTP.
        Webhook = "webhook",
        /// A node prompts a model.
        Model = "model",
    }
}

/// What an agent costs, in millionths of the deployment's currency. Absent means unknown, which is not free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AgentCost {
    /// Per task.
    pub per_task_micros: Option<u64>,
    /// Per thousand model tokens.
    pub per_1k_tokens_micros: Option<u64>,
}

/// A profile that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("agent profile: {field} {problem}")]
#[non_exhaustive]
pub struct InvalidProfile {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl AgentProfile {
    /// Checks the rules that every registry enforces.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), InvalidProfile> {
        let broken = |field, problem| Err(InvalidProfile { field, problem });
        let is_text = |text: &str| (1..=100).contains(&text.chars().count());
        if !is_text(&self.name) {
            return broken("name", "must have 1–100 characters");
        }
        if !is_text(&self.model_family) {
            return broken("model_family", "must have 1–100 characters");
        }
        if self.capabilities.kinds.is_empty() {
            return broken("kinds", "must name at least one kind of task");
        }
        if !(1..=10_000).contains(&self.slots) {
            return broken("slots", "must lie in 1..=10000");
        }
        let sets = [
            &self.capabilities.languages,
            &self.capabilities.specialisations,
            &self.capabilities.tools,
        ];
        if sets.iter().any(|set| set.len() > 256) || self.capabilities.kinds.len() > 256 {
            return broken("capabilities", "must not name more than 256 words of one sort");
        }
        Ok(())
    }
}

words! {
    /// What an operator lets an agent do.
    AgentMode {
        /// It takes work.
        Active = "active",
        /// It finishes what it has and takes nothing new.
        Draining = "draining",
        /// It takes nothing new, and its leases are fenced at once.
        Quarantined = "quarantined",
    }
}

words! {
    /// How well an agent does, as a function of what was last heard of it and of the time now.
    Health {
        /// It is heard of in time.
        Healthy = "healthy",
        /// It has been silent for three heartbeats, or its resources are near their limit.
        Degraded = "degraded",
        /// It says itself that it cannot work.
        Unhealthy = "unhealthy",
        /// It is draining or quarantined.
        Draining = "draining",
        /// It has been silent for ten heartbeats.
        Offline = "offline",
    }
}

/// What an agent tells with a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AgentBeat {
    /// The agent.
    pub agent: AgentId,
    /// Whether it says that it can work.
    pub able: bool,
    /// Share of its processor in use, 0–1, when known.
    pub cpu: Option<super::Ratio>,
    /// Share of its memory in use, 0–1, when known.
    pub memory: Option<super::Ratio>,
}

/// When an agent was heard of last, and what it told.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AgentSeen {
    /// The agent.
    pub agent: AgentId,
    /// When, by the store's clock.
    pub at: Timestamp,
    /// The latest heartbeat, if there was one.
    pub beat: Option<AgentBeat>,
}

/// An agent as a registry keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct RegisteredAgent {
    /// What it says of itself.
    pub profile: AgentProfile,
    /// What an operator lets it do.
    pub mode: AgentMode,
    /// When it registered first.
    pub registered_at: Timestamp,
    /// When it was heard of last.
    pub seen_at: Timestamp,
    /// The latest heartbeat.
    pub beat: Option<AgentBeat>,
    /// What its work so far has shown, by kind of task.
    pub records: BTreeMap<TaskKind, AgentRecord>,
}

impl RegisteredAgent {
    /// The agent's health at `now`, given how often it should be heard of.
    ///
    /// Agents that a node hosts itself ([`Transport::Exec`], [`Transport::Model`]) are heard of through that node.
    pub fn health(&self, now: Timestamp, heartbeat: Duration) -> Health {
        let silent = now.since(self.seen_at);
        if self.mode != AgentMode::Active {
            Health::Draining
        } else if silent >= heartbeat * 10 {
            Health::Offline
        } else if self.beat.is_some_and(|beat| !beat.able) {
            Health::Unhealthy
        } else if silent >= heartbeat * 3 {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }
}

/// What an agent's work on one kind of task has shown. Starts from an explicit prior, not from a fake history: the
/// prior counts as [`AgentRecord::PRIOR_WEIGHT`] observations in every mean.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct AgentRecord {
    /// Finished attempts.
    pub count: u64,
    /// Attempts that succeeded.
    pub successes: u64,
    /// Sum of the qualities that were measured (each 0–1), and how many were.
    pub quality: (f64, u64),
    /// Sum of the latencies in seconds, over all finished attempts.
    pub latency_seconds: f64,
    /// Sum of the costs that were told, in millionths, and how many were.
    pub cost_micros: (u64, u64),
}

impl AgentRecord {
    /// How many observations the prior stands for.
    pub const PRIOR_WEIGHT: f64 = 4.0;
    /// The success rate of an agent of which nothing is known.
    pub const PRIOR_SUCCESS: f64 = 0.8;
    /// The quality of an agent of which nothing is known.
    pub const PRIOR_QUALITY: f64 = 0.7;
    /// The latency, in seconds, of an agent of which nothing is known.
    pub const PRIOR_LATENCY_SECONDS: f64 = 5.0;

    /// The success rate, 0–1.
    pub fn success_rate(&self) -> f64 {
        Self::mean(self.successes as f64, self.count, Self::PRIOR_SUCCESS)
    }

    /// The mean quality, 0–1.
    pub fn mean_quality(&self) -> f64 {
        Self::mean(self.quality.0, self.quality.1, Self::PRIOR_QUALITY)
    }

    /// The mean latency in seconds.
    pub fn mean_latency_seconds(&self) -> f64 {
        Self::mean(self.latency_seconds, self.count, Self::PRIOR_LATENCY_SECONDS)
    }

    /// The record after one more outcome.
    pub fn with(mut self, outcome: &OutcomeDelta) -> Self {
        self.count += 1;
        self.successes += u64::from(outcome.succeeded);
        self.latency_seconds += outcome.latency.as_secs_f64();
        if let Some(quality) = outcome.quality {
            self.quality = (self.quality.0 + quality.get(), self.quality.1 + 1);
        }
        if let Some(cost) = outcome.cost_micros {
            self.cost_micros = (self.cost_micros.0.saturating_add(cost), self.cost_micros.1 + 1);
        }
        self
    }

    fn mean(sum: f64, count: u64, prior: f64) -> f64 {
        (sum + prior * Self::PRIOR_WEIGHT) / (count as f64 + Self::PRIOR_WEIGHT)
    }
}

/// What one finished attempt adds to an agent's record.
#[derive(Debug, Clone, PartialEq)]
pub struct OutcomeDelta {
    /// The agent.
    pub agent: AgentId,
    /// The kind of the task.
    pub kind: TaskKind,
    /// The task and the attempt: an outcome counts once.
    pub attempt: (super::TaskId, super::Fence),
    /// Whether it succeeded.
    pub succeeded: bool,
    /// How good the output was, when it was judged.
    pub quality: Option<super::Ratio>,
    /// From acknowledgement to end.
    pub latency: Duration,
    /// What it cost, in millionths, when told.
    pub cost_micros: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(succeeded: bool) -> OutcomeDelta {
        OutcomeDelta {
            agent: AgentId::from_bytes([1; 16]),
            kind: TaskKind::new("analysis").expect("kind"),
            attempt: (super::super::TaskId::from_bytes([2; 16]), super::super::Fence(1)),
            succeeded,
            quality: None,
            latency: Duration::from_secs(1),
            cost_micros: None,
        }
    }

    #[test]
    fn an_unknown_agent_has_the_prior_and_moves_with_what_it_does() {
        let new = AgentRecord::default();
        assert_eq!(
            (new.success_rate(), new.mean_quality(), new.mean_latency_seconds()),
            (0.8, 0.7, 5.0)
        );
        let after = new.with(&outcome(false));
        assert!((after.success_rate() - 3.2 / 5.0).abs() < 1e-12);
        assert!(
            (after.mean_quality() - 0.7).abs() < 1e-12,
            "what was not measured does not move"
        );
        assert!((after.mean_latency_seconds() - 21.0 / 5.0).abs() < 1e-12);
    }

    #[test]
    fn health_follows_silence_and_mode() {
        let beat = Duration::from_secs(15);
        let mut agent = RegisteredAgent {
            profile: AgentProfile {
                id: AgentId::from_bytes([1; 16]),
                tenant: None,
                name: "a".into(),
                model_family: "none".into(),
                model_version: None,
                capabilities: Capabilities::default(),
                transport: Transport::Pull,
                slots: 1,
                clearance: SecurityLevel::Internal,
                cost: AgentCost::default(),
                labels: BTreeMap::new(),
            },
            mode: AgentMode::Active,
            registered_at: Timestamp::default(),
            seen_at: Timestamp::default(),
            beat: None,
            records: BTreeMap::new(),
        };
        let at = |seconds| Timestamp::default().plus(Duration::from_secs(seconds));
        assert_eq!(agent.health(at(44), beat), Health::Healthy);
        assert_eq!(agent.health(at(45), beat), Health::Degraded);
        assert_eq!(agent.health(at(150), beat), Health::Offline);
        agent.mode = AgentMode::Draining;
        assert_eq!(agent.health(at(0), beat), Health::Draining);
        assert_eq!(
            agent.profile.validate().map_err(|error| error.field),
            Err("kinds")
        );
    }
}
