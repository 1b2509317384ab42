//! Which agents there are.

use std::time::Duration;

use async_trait::async_trait;

use super::{BoxError, StoreError};
use crate::model::{
    AgentBeat, AgentId, AgentMode, AgentProfile, AgentSeen, InvalidProfile, OutcomeDelta, RecordDraft,
    RegisteredAgent, TenantId, TenantScope, Timestamp,
};

/// For how long it is known that the outcome of another control plane's task was counted: 30 days. An outcome is told when its
/// attempt ends, and repeated within minutes.
pub const OUTCOMES_KEPT: Duration = Duration::from_hours(30 * 24);

/// Knows profiles, modes, heartbeats and records of agents. It never counts slots: leases do, in
/// [`TaskStore`](super::TaskStore).
///
/// # Contract
/// - `register` is idempotent by id and content; another content under the same id replaces the profile and keeps
///   mode, records and time of registration.
/// - Every change of an agent but a heartbeat raises the registry's revision and leaves an audit record.
/// - A heartbeat is no change: `heard` tells of it.
/// - `changes` gives each agent that changed after a revision once, with its latest content; removed ones are named.
/// - An outcome is counted once, whatever is repeated: for as long as its task is in the same store, and of a task that is
///   not, for [`OUTCOMES_KEPT`] after it was counted. What is kept for that goes then.
/// - A registry that is down says so; it never invents an agent.
/// - `remove` forgets mode and records: whoever comes again under the id is new. Leases are not its business; an agent
///   that still holds one may end it.
#[async_trait]
pub trait AgentRegistry: Send + Sync + 'static {
    /// Registers an agent.
    async fn register(&self, profile: AgentProfile, draft: RecordDraft) -> Result<Registered, RegistryError>;

    /// Sets what an agent may do. Gives false when it does not exist.
    async fn set_mode(
        &self,
        agent: AgentId,
        mode: AgentMode,
        draft: RecordDraft,
    ) -> Result<bool, RegistryError>;

    /// Notes that agents are alive; unknown ones are named in the answer.
    async fn beat(&self, beats: Vec<AgentBeat>) -> Result<Vec<AgentId>, RegistryError>;

    /// What changed after `after`, at most `limit` agents.
    async fn changes(&self, after: Revision, limit: usize) -> Result<AgentChanges, RegistryError>;

    /// Agents that were heard of at or after a moment of the store's clock, with their latest heartbeat, at most `limit`:
    /// in the order of when that was, then by id. Removed ones are left out. To register is to be heard of. One that is
    /// heard of while pages are read comes again at its new place; none is left out for it.
    async fn heard(&self, from: HeardFrom, limit: usize) -> Result<AgentsHeard, RegistryError>;

    /// Counts outcomes.
    async fn learn(&self, outcomes: Vec<OutcomeDelta>) -> Result<(), RegistryError>;

    /// Removes active agents that were last heard of before `since`. What an operator drains or put into quarantine stays:
    /// it would come back as a new one, and active.
    async fn remove_silent(
        &self,
        since: Timestamp,
        draft: RecordDraft,
    ) -> Result<Vec<AgentId>, RegistryError>;

    /// Removes an agent. Gives false when it does not exist.
    async fn remove(&self, agent: AgentId, draft: RecordDraft) -> Result<bool, RegistryError>;

    /// Agents by id; absent ones are `None`, in the order of the ids.
    async fn get(&self, ids: &[AgentId]) -> Result<Vec<Option<RegisteredAgent>>, RegistryError>;

    /// A page of agents by id: those of the tenants that may be seen, and those that serve every tenant.
    ///
    /// The scan is bounded: a page may be short, or empty, and still carry a cursor.
    async fn list(&self, scope: TenantScope, query: AgentQuery) -> Result<AgentPage, RegistryError>;
}

/// Which agents to list.
#[derive(Debug, Clone, Copy, Default)]
pub struct AgentQuery {
    /// Only those after this one.
    pub after: Option<AgentId>,
    /// At most so many, 1–1000.
    pub limit: usize,
}

/// A page of agents.
#[derive(Debug, Clone, Default)]
pub struct AgentPage {
    /// The agents, by id.
    pub agents: Vec<RegisteredAgent>,
    /// Where to go on, if there may be more.
    pub next: Option<AgentId>,
}

/// Counts the changes of a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Revision(pub u64);

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registered {
    /// The agent is new.
    New,
    /// Its profile was replaced.
    Replaced,
    /// Nothing changed.
    Unchanged,
}

/// What changed.
#[derive(Debug, Clone, Default)]
pub struct AgentChanges {
    /// Agents as they are now.
    pub agents: Vec<RegisteredAgent>,
    /// Agents that are gone.
    pub removed: Vec<AgentId>,
    /// Where to go on.
    pub revision: Revision,
    /// Whether there is more.
    pub more: bool,
}

/// From where on to tell who was heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeardFrom {
    /// Those that were heard of at this moment, or later.
    pub since: Timestamp,
    /// Of those that were heard of at that very moment, only the ones after this one.
    pub after: Option<AgentId>,
}

impl HeardFrom {
    /// From before everything that was ever heard.
    pub const START: Self = Self::since(Timestamp::from_micros(i64::MIN));

    /// From a moment on.
    pub const fn since(since: Timestamp) -> Self {
        Self { since, after: None }
    }

    /// From behind what was told last.
    pub const fn after(told: &AgentSeen) -> Self {
        Self {
            since: told.at,
            after: Some(told.agent),
        }
    }

    /// Whether something lies behind it.
    pub fn precedes(&self, told: &AgentSeen) -> bool {
        told.at > self.since || (told.at == self.since && self.after < Some(told.agent))
    }
}

/// Who was heard of.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AgentsHeard {
    /// The agents, by when they were heard of, then by id.
    pub agents: Vec<AgentSeen>,
    /// Whether there is more, from behind the last one on.
    pub more: bool,
}

/// Why a registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// The profile breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidProfile),
    /// The registry has as many agents as it takes.
    #[error("the registry is full: it takes {limit} agents")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The id is registered for another tenant.
    #[error("the agent `{agent}` belongs to another tenant")]
    OtherTenant {
        /// The agent.
        agent: AgentId,
        /// The tenant that it belongs to, for the log.
        tenant: Option<TenantId>,
    },
    /// The registry cannot be reached, does not do what it is asked, or answers what nobody can read. A mutation may have
    /// taken effect.
    #[error("the agent registry is unavailable during {operation}")]
    Unavailable {
        /// What was being done.
        operation: &'static str,
        /// After how long it may be asked again, if it said so.
        retry_after: Option<Duration>,
        /// Why.
        source: BoxError,
    },
    /// The registry is there, and does not take this one call for what it says. Its repeat is of no use; others are.
    #[error("the agent registry refuses to {operation}")]
    Refused {
        /// What was being done.
        operation: &'static str,
        /// Why.
        source: BoxError,
    },
    /// The store of the registry failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
