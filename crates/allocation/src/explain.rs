//! Explaining, without assigning anything, who could do a task or why nobody can.

use std::collections::HashMap;

use arbiter_core::model::{AgentId, Budget, Priority, ScorePart, Shape, TenantId, Timestamp};
use arbiter_core::ports::Scope;
use arbiter_core::services::Offer;

use crate::constraints::{Unfit, fit};
use crate::index::Snapshot;
use crate::score::{mean, parts, record};
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
    /// The tenant runs as many tasks, or as many of the kind, as it may.
    RateLimited,
    /// The deadline has passed.
    DeadlineImpossible,
    /// The registry has not answered for too long.
    RegistryUnavailable,
}

impl NoAgent {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::NoCapableAgent,
        Self::NoneHealthy,
        Self::NoneFree,
        Self::OverBudget,
        Self::RateLimited,
        Self::DeadlineImpossible,
        Self::RegistryUnavailable,
    ];

    /// The reason's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::NoCapableAgent => "no_capable_agent",
            Self::NoneHealthy => "none_healthy",
            Self::NoneFree => "none_free",
            Self::OverBudget => "over_budget",
            Self::RateLimited => "rate_limited",
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

/// A question: who could do such a task now?
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// Whose task it is.
    pub tenant: TenantId,
    /// What it requires.
    pub shape: &'a Shape,
    /// How urgent it is.
    pub priority: Priority,
    /// What it may use.
    pub budget: Budget,
    /// When it must be done.
    pub deadline: Option<Timestamp>,
    /// The agents that could take work now.
    pub offers: &'a [Offer],
    /// How much is taken up of what has a limit; a scope that is not named is free.
    pub running: &'a [(Scope, u32)],
    /// Whether only offered agents are looked at, because no other will ever ask for work.
    pub only_offered: bool,
}

pub(crate) fn explain(
    settings: &Settings,
    snapshot: &Snapshot,
    question: &Question<'_>,
    now: Timestamp,
) -> Explanation {
    let strategy = settings.strategy_of(&question.shape.kind);
    let told = |agents| Explanation {
        strategy: strategy.word(),
        agents,
    };
    let none = |reason| told(Err(reason));
    if now.since(snapshot.fresh_at) > settings.stale_after {
        return none(NoAgent::RegistryUnavailable);
    }
    if question.deadline.is_some_and(|deadline| deadline <= now) {
        return none(NoAgent::DeadlineImpossible);
    }
    let offers: HashMap<AgentId, &Offer> = question.offers.iter().map(|offer| (offer.agent, offer)).collect();
    let all = snapshot.agents.keys().copied();
    let looked_at = all.filter(|agent| !question.only_offered || offers.contains_key(agent));
    let capable = snapshot.capable(question.tenant, question.shape, looked_at);
    if capable.is_empty() {
        return none(NoAgent::NoCapableAgent);
    }
    let (mut healthy, mut free, mut found) = (false, false, Vec::new());
    for agent in capable {
        let offer = offers.get(&agent.profile.id);
        let hosted = offer.is_some_and(|offer| offer.acknowledges);
        let health = agent.health(now, settings.heartbeat);
        let fits = fit(
            agent,
            health,
            hosted,
            strategy,
            question.priority,
            &question.budget,
        );
        let kept_away = offer.is_some_and(|offer| offer.without.contains(&question.shape.kind));
        if fits == Err(Unfit::Unhealthy) || kept_away {
            continue;
        }
        healthy = true;
        if offer.is_none_or(|offer| offer.free == 0) {
            continue;
        }
        free = true;
        if fits.is_ok() {
            let parts = parts(agent, record(agent, question.shape), question.shape);
            found.push(Match {
                agent: agent.profile.id,
                score: mean(parts.clone()),
                parts: parts.collect(),
            });
        }
    }
    found.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.agent.cmp(&b.agent)));
    match (healthy, free, found.is_empty()) {
        (_, _, false) if limited(settings, question) => none(NoAgent::RateLimited),
        (_, _, false) => told(Ok(found)),
        (false, ..) => none(NoAgent::NoneHealthy),
        (true, false, _) => none(NoAgent::NoneFree),
        (true, true, true) => none(NoAgent::OverBudget),
    }
}

/// Whether a limit on running tasks is reached.
fn limited(settings: &Settings, question: &Question<'_>) -> bool {
    let limits = settings.running_limits(question.tenant, &question.shape.kind);
    limits.into_iter().any(|(scope, limit)| {
        let used = question.running.iter().find(|(taken, _)| *taken == scope);
        used.map_or(0, |(_, used)| *used) >= limit
    })
}
