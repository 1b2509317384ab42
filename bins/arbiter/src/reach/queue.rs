//! The queue as a whole, here or there.

use arbiter_api::view;
use arbiter_core::model::{AgentId, TaskKind, TenantId};
use arbiter_queue::traffic::PauseTarget;
use arbiter_wire::http::{PauseForm, PauseView, PauseWord, QueueStatusView};

use super::Reach;
use crate::exit::Failure;
use crate::traffic;

/// What to pause or to resume. A tenant that is not named is the caller's own.
#[derive(Debug, Clone)]
pub(crate) enum PauseChoice {
    /// Everything.
    Queue,
    /// The tasks of a tenant.
    Tenant(Option<TenantId>),
    /// The tasks of a kind in a tenant.
    Kind(TaskKind, Option<TenantId>),
    /// The tasks of a kind in every tenant.
    KindEverywhere(TaskKind),
    /// What is assigned to an agent.
    Agent(AgentId),
}

impl PauseChoice {
    /// What a server is told.
    pub(crate) fn form(&self, reason: String) -> PauseForm {
        let (what, tenant, kind, agent) = match self {
            Self::Queue => (PauseWord::Queue, None, None, None),
            Self::Tenant(tenant) => (PauseWord::Tenant, *tenant, None, None),
            Self::Kind(kind, tenant) => (PauseWord::Kind, *tenant, Some(kind), None),
            Self::KindEverywhere(kind) => (PauseWord::Kind, None, Some(kind), None),
            Self::Agent(agent) => (PauseWord::Agent, None, None, Some(agent)),
        };
        PauseForm {
            what,
            tenant: tenant.map(|tenant| tenant.to_string()),
            kind: kind.map(ToString::to_string),
            everywhere: matches!(self, Self::KindEverywhere(_)),
            agent: agent.map(ToString::to_string),
            reason,
        }
    }

    /// What it means to somebody of the tenant `own`.
    fn target(self, own: TenantId) -> PauseTarget {
        match self {
            Self::Queue => PauseTarget::Queue,
            Self::Tenant(tenant) => PauseTarget::Tenant(tenant.unwrap_or(own)),
            Self::Kind(kind, tenant) => PauseTarget::Kind {
                kind,
                tenant: Some(tenant.unwrap_or(own)),
            },
            Self::KindEverywhere(kind) => PauseTarget::Kind { kind, tenant: None },
            Self::Agent(agent) => PauseTarget::Agent(agent),
        }
    }
}

impl Reach {
    /// What is paused, and how many tasks of a tenant stand where; of the caller's own unless one is named.
    pub(crate) async fn queue_status(&self, tenant: Option<TenantId>) -> Result<QueueStatusView, Failure> {
        match self {
            Self::Store(app) => {
                let status = traffic::pauses(app).status(&app.operator, tenant).await?;
                Ok(view::queue_status(&status))
            }
            Self::Server(client) => Ok(client.queue_status(tenant).await?),
        }
    }

    /// Pauses something.
    pub(crate) async fn pause(&self, what: PauseChoice, reason: String) -> Result<PauseView, Failure> {
        match self {
            Self::Store(app) => {
                let (pauses, who) = (traffic::pauses(app), &app.operator);
                let made = pauses.pause(who, what.target(who.tenant), reason).await?;
                Ok(view::pause(&made))
            }
            Self::Server(client) => Ok(client.queue_pause(&what.form(reason)).await?),
        }
    }

    /// Resumes what was paused.
    pub(crate) async fn resume(&self, what: PauseChoice, reason: String) -> Result<(), Failure> {
        match self {
            Self::Store(app) => {
                let (pauses, who) = (traffic::pauses(app), &app.operator);
                Ok(pauses.resume(who, what.target(who.tenant), reason).await?)
            }
            Self::Server(client) => Ok(client.queue_resume(&what.form(reason)).await?),
        }
    }
}
