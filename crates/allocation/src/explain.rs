//! Explaining, without assigning anything, who could do a task or why nobody can.

use arbiter_core::model::{AgentId, Budget, Priority, Shape, TenantId, Timestamp};
use arbiter_core::services::Offer;

use crate::constraints::{Unfit, fit};
use crate::index::Snapshot;
use crate::score::match_score;
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
    /// Agents that fulfil every hard constraint, with their match scores, best first; or why there is none.
    pub agents: Result<Vec<(AgentId, f64)>, NoAgent>,
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
    let none = |reason| Explanation { agents: Err(reason) };
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
    let strategy = settings
        .by_kind
        .get(&question.shape.kind)
        .copied()
        .unwrap_or(settings.strategy);
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
            found.push((agent.profile.id, match_score(agent, question.shape)));
        }
    }
    found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    match (healthy, free, found.is_empty()) {
        (_, _, false) => Explanation { agents: Ok(found) },
        (false, ..) => none(NoAgent::NoneHealthy),
        (true, false, _) => none(NoAgent::NoneFree),
        (true, true, true) => none(NoAgent::OverBudget),
    }
}
