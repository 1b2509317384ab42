//! Agents, here or there.

use arbiter_core::model::{
    AgentId, AgentMode, Operation, RegisteredAgent, Role, Target, TaskKind, Timestamp,
};
use arbiter_core::ports::Revision;
use arbiter_orchestration::{PerformedError, performed};
use arbiter_queue::{ModeChange, QueueError};
use arbiter_wire::http::{AgentModeForm, AgentModeWord, AgentView, PerformanceView};

use super::Reach;
use crate::app::App;
use crate::exit::Failure;

/// How many agents are read at once.
const PAGE: usize = 1_000;

impl Reach {
    /// Every agent that the caller may see, by id.
    pub(crate) async fn agents(&self) -> Result<Vec<AgentView>, Failure> {
        match self {
            Self::Store(app) => {
                app.queue.permit(&app.operator, Operation::AgentList).await?;
                let seen = everybody(app).await?;
                let now = app.clock.now();
                Ok(seen
                    .iter()
                    .map(|agent| arbiter_api::view::agent(agent, now))
                    .collect())
            }
            Self::Server(client) => {
                let (mut agents, mut cursor) = (Vec::new(), None);
                loop {
                    let page = client.agent_list(cursor, Some(PAGE)).await?;
                    agents.extend(page.agents);
                    cursor = page.next;
                    if cursor.is_none() {
                        return Ok(agents);
                    }
                }
            }
        }
    }

    /// An agent with its record.
    pub(crate) async fn agent(&self, id: AgentId) -> Result<AgentView, Failure> {
        match self {
            Self::Store(app) => {
                let found = visible(app, id, Operation::AgentList).await?;
                Ok(arbiter_api::view::agent(&found, app.clock.now()))
            }
            Self::Server(client) => Ok(client.agent_get(id).await?),
        }
    }

    /// What an agent's work came to, in all and, when one is given, in a span of time.
    pub(crate) async fn agent_performance(
        &self,
        id: AgentId,
        kind: Option<&str>,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<PerformanceView, Failure> {
        match self {
            Self::Store(app) => {
                let found = visible(app, id, Operation::AgentList).await?;
                let kind = kind.map(TaskKind::new).transpose();
                let kind = kind.map_err(|error| Failure::usage(error.to_string()))?;
                let mut told = arbiter_api::view::performance(&found);
                if let Some(kind) = &kind {
                    told.kinds.retain(|told| told.kind == kind.as_str());
                }
                if from.is_some() || to.is_some() {
                    if found.profile.tenant.is_none() && !is_admin(app) {
                        return Err(QueueError::Forbidden.into());
                    }
                    let range = (
                        from.unwrap_or(Timestamp::from_micros(0)),
                        to.unwrap_or_else(|| app.clock.now()),
                    );
                    let done = performed(app.store.as_ref(), &found, kind.as_ref(), range).await;
                    let done = done.map_err(|error| match error {
                        PerformedError::Telemetry(error) => {
                            Failure::unavailable("the history could not be read", error)
                        }
                        error => Failure::usage(error.to_string()),
                    })?;
                    told.period = Some(arbiter_api::view::period(range, done));
                }
                Ok(told)
            }
            Self::Server(client) => Ok(client.agent_performance(id, kind, (from, to)).await?),
        }
    }

    /// Says what an agent may do from now on.
    pub(crate) async fn set_mode(
        &self,
        id: AgentId,
        mode: AgentModeWord,
        reason: String,
    ) -> Result<(), Failure> {
        match self {
            Self::Store(app) => {
                let found = visible(app, id, Operation::AgentMode).await?;
                // An agent that serves every tenant is nobody's to stop but an admin's.
                if found.profile.tenant.is_none() && !is_admin(app) {
                    return Err(QueueError::Forbidden.into());
                }
                let mode = match mode {
                    AgentModeWord::Active => AgentMode::Active,
                    AgentModeWord::Draining => AgentMode::Draining,
                    AgentModeWord::Quarantined => AgentMode::Quarantined,
                };
                let change = ModeChange {
                    agent: id,
                    mode,
                    why: reason,
                    on_behalf_of: None,
                };
                let set = app
                    .queue
                    .set_agent_mode(&app.operator, app.agents.registry.as_ref(), change);
                Ok(set.await?)
            }
            Self::Server(client) => Ok(client.agent_mode(id, &AgentModeForm { mode, reason }).await?),
        }
    }
}

fn is_admin(app: &App) -> bool {
    app.operator.roles.contains(&Role::Admin)
}

/// The agents of the operator's tenant, of all for an admin, and those that serve every tenant, by id.
async fn everybody(app: &App) -> Result<Vec<RegisteredAgent>, Failure> {
    let (mut seen, mut after) = (Vec::new(), Revision::default());
    loop {
        let page = app
            .agents
            .registry
            .changes(after, PAGE)
            .await
            .map_err(|error| Failure::unavailable("the registry of agents could not be read", error))?;
        let (all, own) = (is_admin(app), app.operator.tenant);
        let mine = |agent: &RegisteredAgent| all || agent.profile.tenant.is_none_or(|tenant| tenant == own);
        seen.extend(page.agents.into_iter().filter(mine));
        after = page.revision;
        if !page.more {
            break;
        }
    }
    seen.sort_by_key(|agent| agent.profile.id);
    seen.dedup_by_key(|agent| agent.profile.id);
    Ok(seen)
}

/// An agent that the operator may do something with. Denied looks like absent.
async fn visible(app: &App, id: AgentId, operation: Operation) -> Result<RegisteredAgent, Failure> {
    let target = Target {
        agent: Some(id),
        ..Target::of(app.operator.tenant)
    };
    app.queue.permit_on(&app.operator, operation, &target).await?;
    let found = everybody(app)
        .await?
        .into_iter()
        .find(|agent| agent.profile.id == id);
    found.ok_or_else(|| QueueError::NotFound.into())
}
