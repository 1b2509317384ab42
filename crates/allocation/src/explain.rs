//! Explaining, without assigning anything, who could do a task or why nobody can.

use arbiter_core::model::{AgentId, Budget, Priority, ScorePart, Shape, TenantId, Timestamp};
use arbiter_core::services::Offer;

use crate::constraints::{Unfit, fit};
use crate::index::Snapshot;
use crate::score::{mean, parts};
use crate::settings::Settings;

/// Why no agent gets the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAgent {
    /// None has what the task requires.
    NoCapableAgent,
    /// Those that have are not healthy, or draining.
    NoneHealthy,
    /// Those that are healthy have no free slot.
    NoneFree,
    /// Those that are free cost more than the budget.
    OverBudget,
    /// The deadline has passed.
    DeadlineImpossible,
    /// The registry has not answered for too long.
    RegistryUnavailable,
}

impl NoAgent {
    /// The reason's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoCapableAgent => "no_capable_agent",
            Self::NoneHealthy => "none_healthy",
            Self::NoneFree => "none_free",
            Self::OverBudget => "over_budget",
            Self::DeadlineImpossible => "deadline_impossible",
            Self::RegistryUnavailable => "registry_unavailable",
        }
    }
}

/// Who could do a task now.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The strategy that would choose among them.
    pub strategy: &'static str,
    /// Agents that fulfil every hard constraint, best match first; or why there is none.
    pub agents: Result<Vec<Match>, NoAgent>,
}

/// An agent that could do a task now.
#[derive(Debug, Clone, PartialEq)]
pub struct Match {
    /// The agent.
    pub agent: AgentId,
    /// How well it fits, 0–1.
    pub score: f64,
    /// What the score is made of.
    pub parts: Vec<ScorePart>,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Question<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) shape: &'a Shape,
    pub(crate) priority: Priority,
    pub(crate) budget: Budget,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) now: Timestamp,
}

pub(crate) fn explain(
    settings: &Settings,
    snapshot: &Snapshot,
    question: &Question<'_>,
    offers: &[Offer],
) -> Explanation {
    let strategy = settings
        .by_kind
        .get(&question.shape.kind)
        .copied()
        .unwrap_or(settings.strategy);
    let told = |agents| Explanation {
        strategy: strategy.word(),
        agents,
    };
    let none = |reason| told(Err(reason));
    if question.now.since(snapshot.fresh_at) > settings.stale_after {
        return none(NoAgent::RegistryUnavailable);
    }
    if question.deadline.is_some_and(|deadline| deadline <= question.now) {
        return none(NoAgent::DeadlineImpossible);
    }
    let all = snapshot.agents.keys().copied();
    let capable = snapshot.capable(question.tenant, question.shape, all);
    if capable.is_empty() {
        return none(NoAgent::NoCapableAgent);
    }
    let (mut healthy, mut free, mut found) = (false, false, Vec::new());
    for agent in capable {
        let offer = offers.iter().find(|offer| offer.agent == agent.profile.id);
        let hosted = offer.is_some_and(|offer| offer.acknowledges);
        let health = agent.health(question.now, settings.heartbeat);
        let fits = fit(
            agent,
            health,
            hosted,
            strategy,
            question.priority,
            &question.budget,
        );
        if fits == Err(Unfit::Unhealthy) {
            continue;
        }
        healthy = true;
        if offer.is_none_or(|offer| offer.free == 0) {
            continue;
        }
        free = true;
        if fits.is_ok() {
            let parts = parts(agent, question.shape);
            found.push(Match {
                agent: agent.profile.id,
                score: mean(&parts),
                parts,
            });
        }
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.agent.cmp(&b.agent)));
    match (healthy, free, found.is_empty()) {
        (_, _, false) => told(Ok(found)),
        (false, ..) => none(NoAgent::NoneHealthy),
        (true, false, _) => none(NoAgent::NoneFree),
        (true, true, true) => none(NoAgent::OverBudget),
    }
}
