//! Whether an answer is one to what was asked: it tells of nothing else, and whoever goes on from its end comes to one.

use std::collections::BTreeSet;

use arbiter_core::model::{AgentId, AgentSeen, TenantScope};
use arbiter_core::ports::{AgentChanges, AgentPage, AgentQuery, BoxError, HeardFrom, Revision};

/// Changes lie behind the revision that was asked for, and their own lies behind it as well.
pub(crate) fn changes(after: Revision, limit: usize, told: &AgentChanges) -> Result<(), BoxError> {
    let count = told.agents.len() + told.removed.len();
    at_most(limit, count)?;
    if told.revision < after {
        return Err("its revision went back".into());
    }
    if told.revision == after && (told.more || count > 0) {
        return Err("its revision does not go on, although there are changes".into());
    }
    Ok(())
}

/// Listed agents are those of the tenants that were asked for and those that serve every tenant, each behind the one before,
/// and the next page lies behind them.
pub(crate) fn list(scope: TenantScope, query: AgentQuery, told: &AgentPage) -> Result<(), BoxError> {
    at_most(query.limit, told.agents.len())?;
    let mut last = query.after;
    for agent in &told.agents {
        let profile = &agent.profile;
        if profile.tenant.is_some_and(|tenant| !scope.covers(tenant)) {
            return Err(format!("the agent `{}` is of a tenant that was not asked for", profile.id).into());
        }
        if last >= Some(profile.id) {
            return Err(format!("the agent `{}` stands out of its place", profile.id).into());
        }
        last = Some(profile.id);
    }
    match told.next {
        Some(next) if Some(next) < last || Some(next) == query.after => {
            Err("it says to go on at a place that was told already".into())
        }
        _ => Ok(()),
    }
}

/// Agents that are named are among those that were asked about, each once at most for each time that it was.
pub(crate) fn among(asked: impl Iterator<Item = AgentId>, told: &[AgentId]) -> Result<(), BoxError> {
    let asked: Vec<AgentId> = asked.collect();
    at_most(asked.len(), told.len())?;
    let asked: BTreeSet<AgentId> = asked.into_iter().collect();
    match told.iter().find(|agent| !asked.contains(*agent)) {
        Some(agent) => Err(format!("nobody asked about the agent `{agent}`").into()),
        None => Ok(()),
    }
}

/// A page of who was heard of lies behind the place that was asked for, each agent behind the one before.
pub(crate) fn heard(from: HeardFrom, limit: usize, told: &[AgentSeen], more: bool) -> Result<(), BoxError> {
    at_most(limit, told.len())?;
    let mut last = from;
    for seen in told {
        if !last.precedes(seen) {
            return Err(format!("the agent `{}` stands out of its place", seen.agent).into());
        }
        last = HeardFrom::after(seen);
    }
    if more && told.is_empty() {
        return Err("it says that there is more, and tells nothing of it".into());
    }
    Ok(())
}

fn at_most(limit: usize, told: usize) -> Result<(), BoxError> {
    if told > limit {
        return Err(format!("it tells {told} where {limit} were asked for").into());
    }
    Ok(())
}
