//! A registry of agents that fails on purpose.

use std::sync::Arc;

use arbiter_core::model::{
    AgentBeat, AgentId, AgentMode, AgentProfile, OutcomeDelta, RecordDraft, RegisteredAgent, TenantScope,
    Timestamp,
};
use arbiter_core::ports::{
    AgentChanges, AgentPage, AgentQuery, AgentRegistry, AgentsHeard, HeardFrom, Registered, RegistryError,
    Revision,
};
use async_trait::async_trait;

/// Why a call fails, by its name and the agent that it is about, if it is about one; none when it does not.
pub type RegistryPlan = dyn Fn(&'static str, Option<AgentId>) -> Option<RegistryError> + Send + Sync;

/// Asks a registry, but for the calls that fail.
pub struct FaultyRegistry {
    inner: Arc<dyn AgentRegistry>,
    plan: Box<RegistryPlan>,
}

impl std::fmt::Debug for FaultyRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyRegistry").finish_non_exhaustive()
    }
}

impl FaultyRegistry {
    /// A registry whose calls fail as planned; those do nothing.
    pub fn new(
        inner: Arc<dyn AgentRegistry>,
        plan: impl Fn(&'static str, Option<AgentId>) -> Option<RegistryError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            inner,
            plan: Box::new(plan),
        }
    }

    /// The error of a registry that is away.
    pub fn away(operation: &'static str) -> RegistryError {
        RegistryError::Unavailable {
            operation,
            retry_after: None,
            source: "nobody answers".into(),
        }
    }

    fn check(&self, name: &'static str, agent: Option<AgentId>) -> Result<(), RegistryError> {
        (self.plan)(name, agent).map_or(Ok(()), Err)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl AgentRegistry for FaultyRegistry {
    async fn register(&self, profile: AgentProfile, draft: RecordDraft) -> Result<Registered, RegistryError> {
        self.check("register", Some(profile.id))?;
        self.inner.register(profile, draft).await
    }

    async fn set_mode(
        &self,
        agent: AgentId,
        mode: AgentMode,
        draft: RecordDraft,
    ) -> Result<bool, RegistryError> {
        self.check("set_mode", Some(agent))?;
        self.inner.set_mode(agent, mode, draft).await
    }

    async fn beat(&self, beats: Vec<AgentBeat>) -> Result<Vec<AgentId>, RegistryError> {
        self.check("beat", None)?;
        self.inner.beat(beats).await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<AgentChanges, RegistryError> {
        self.check("changes", None)?;
        self.inner.changes(after, limit).await
    }

    async fn heard(&self, from: HeardFrom, limit: usize) -> Result<AgentsHeard, RegistryError> {
        self.check("heard", None)?;
        self.inner.heard(from, limit).await
    }

    async fn learn(&self, outcomes: Vec<OutcomeDelta>) -> Result<(), RegistryError> {
        self.check("learn", None)?;
        self.inner.learn(outcomes).await
    }

    async fn remove_silent(
        &self,
        since: Timestamp,
        draft: RecordDraft,
    ) -> Result<Vec<AgentId>, RegistryError> {
        self.check("remove_silent", None)?;
        self.inner.remove_silent(since, draft).await
    }

    async fn remove(&self, agent: AgentId, draft: RecordDraft) -> Result<bool, RegistryError> {
        self.check("remove", Some(agent))?;
        self.inner.remove(agent, draft).await
    }

    async fn get(&self, ids: &[AgentId]) -> Result<Vec<Option<RegisteredAgent>>, RegistryError> {
        self.check("get", None)?;
        self.inner.get(ids).await
    }

    async fn list(&self, scope: TenantScope, query: AgentQuery) -> Result<AgentPage, RegistryError> {
        self.check("list", None)?;
        self.inner.list(scope, query).await
    }
}
