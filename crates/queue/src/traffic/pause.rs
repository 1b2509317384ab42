//! What is kept of a pause.

use arbiter_core::model::{AgentId, PrincipalId, TaskKind, TenantId, Timestamp};
use arbiter_core::ports::StoreError;
use serde::{Deserialize, Serialize};

use crate::records::{Kept, VERSION, corrupt};

/// What the record's kind is called in the store.
pub(super) const KIND: &str = "pause";

/// What can be paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PauseTarget {
    /// Everything.
    Queue,
    /// The tasks of a tenant.
    Tenant(TenantId),
    /// The tasks of a kind, in one tenant or, where none is named, in any.
    Kind {
        /// The kind.
        kind: TaskKind,
        /// In which tenant.
        tenant: Option<TenantId>,
    },
    /// What is assigned to an agent.
    Agent(AgentId),
}

impl PauseTarget {
    /// The stable word of its sort.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Tenant(_) => "tenant",
            Self::Kind { .. } => "kind",
            Self::Agent(_) => "agent",
        }
    }

    /// The id of its record inside the tenant that it is kept in.
    pub(super) fn id(&self) -> String {
        match self {
            Self::Queue => "queue".to_owned(),
            Self::Tenant(_) => "tenant".to_owned(),
            Self::Kind { kind, .. } => format!("kind/{kind}"),
            Self::Agent(agent) => format!("agent/{agent}"),
        }
    }
}

/// Something that is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// What.
    pub target: PauseTarget,
    /// Why; hidden from those who may not pause it.
    pub reason: Option<String>,
    /// By whom; hidden likewise.
    pub by: Option<PrincipalId>,
    /// Since when.
    pub since: Timestamp,
}

/// The stored form, version 1. What it stops stands in its id and tenant.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Body {
    version: u32,
    pub(super) reason: String,
    by: String,
    since: i64,
}

impl Body {
    pub(super) fn new(reason: String, by: PrincipalId, since: Timestamp) -> Self {
        Self {
            version: VERSION,
            reason,
            by: by.to_string(),
            since: since.as_micros(),
        }
    }

    /// The pause that goes on for another reason.
    pub(super) fn since(self, former: &Self) -> Self {
        Self {
            since: former.since,
            ..self
        }
    }
}

/// What a stored pause stops.
pub(super) fn target(kept: &Kept<Body>) -> Result<PauseTarget, StoreError> {
    let tenant = Some(kept.tenant).filter(|tenant| *tenant != TenantId::SYSTEM);
    let target = match (kept.id.split_once('/'), kept.id.as_str(), tenant) {
        (None, "queue", None) => PauseTarget::Queue,
        (None, "tenant", Some(tenant)) => PauseTarget::Tenant(tenant),
        (Some(("kind", word)), ..) => PauseTarget::Kind {
            kind: TaskKind::new(word).map_err(|error| corrupt(KIND, error))?,
            tenant,
        },
        (Some(("agent", id)), ..) => PauseTarget::Agent(id.parse().map_err(|error| corrupt(KIND, error))?),
        _ => {
            return Err(corrupt(
                KIND,
                format!("`{}` names nothing that can be paused", kept.id),
            ));
        }
    };
    Ok(target)
}

/// The pause that is stored.
pub(super) fn pause(kept: &Kept<Body>) -> Result<Pause, StoreError> {
    Ok(Pause {
        target: target(kept)?,
        reason: Some(kept.body.reason.clone()),
        by: Some(kept.body.by.parse().map_err(|error| corrupt(KIND, error))?),
        since: Timestamp::from_micros(kept.body.since),
    })
}
