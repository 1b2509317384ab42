//! Hard constraints: whether an agent may get a task at all.

use arbiter_core::model::{AgentMode, Budget, Health, Priority, RegisteredAgent, Shape, TenantId};

use crate::settings::Strategy;

/// Why an agent may not get a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unfit {
    /// Not healthy enough, draining or quarantined.
    Unhealthy,
    /// It costs more than the budget.
    Expensive,
}

/// What lasts: tenant, capabilities, clearance, success rate.
pub(crate) fn capable(agent: &RegisteredAgent, tenant: TenantId, shape: &Shape) -> bool {
    let has = &agent.profile.capabilities;
    let requires = &shape.requires;
    agent.profile.tenant.is_none_or(|own| own == tenant)
        && has.kinds.contains(&shape.kind)
        && requires.languages.is_subset(&has.languages)
        && requires.specialisations.is_subset(&has.specialisations)
        && requires.tools.is_subset(&has.tools)
        && agent.profile.clearance >= shape.security
        && requires.minimum_success_rate.is_none_or(|minimum| {
            agent
                .records
                .get(&shape.kind)
                .copied()
                .unwrap_or_default()
                .success_rate()
                >= minimum.get()
        })
}

/// What changes with time and task: health, mode, cost. `hosted` agents are alive because the node that offers them runs
/// them itself.
pub(crate) fn fit(
    agent: &RegisteredAgent,
    health: Health,
    hosted: bool,
    strategy: Strategy,
    priority: Priority,
    budget: &Budget,
) -> Result<(), Unfit> {
    if agent.mode != AgentMode::Active {
        return Err(Unfit::Unhealthy);
    }
    let alive = match health {
        Health::Healthy => true,
        Health::Degraded => strategy != Strategy::Priority || priority < Priority::HIGH || hosted,
        Health::Offline => hosted,
        Health::Unhealthy | Health::Draining => false,
    };
    if !alive {
        return Err(Unfit::Unhealthy);
    }
    // A cost that is not known cannot be held against a budget before the attempt; usage is, while it runs.
    match (budget.cost_micros, agent.profile.cost.per_task_micros) {
        (Some(limit), Some(cost)) if cost > limit => Err(Unfit::Expensive),
        _ => Ok(()),
    }
}
