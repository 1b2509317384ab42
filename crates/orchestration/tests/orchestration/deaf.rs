//! A registry elsewhere that notes nothing for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arbiter_adapter_inmem::InMemoryStore;
use arbiter_core::model::{
    AgentBeat, AgentId, AgentMode, AgentProfile, OutcomeDelta, RecordDraft, RegisteredAgent, TenantScope,
    Timestamp,
};
use arbiter_core::ports::{
    AgentChanges, AgentPage, AgentQuery, AgentRegistry, AgentsHeard, HeardFrom, Registered, RegistryError,
    Revision,
};
use async_trait::async_trait;

/// Tells what it knows, but takes no heartbeats while it is deaf.
pub(crate) struct Deaf {
    pub(crate) inner: Arc<InMemoryStore>,
    pub(crate) hears_nothing: AtomicBool,
    /// How many calls told it heartbeats.
    pub(crate) told: AtomicUsize,
}

#[async_trait]
impl AgentRegistry for Deaf {
    async fn register(&self, profile: AgentProfile, draft: RecordDraft) -> Result<Registered, RegistryError> {
        self.inner.register(profile, draft).await
    }

    async fn set_mode(
        &self,
        agent: AgentId,
        mode: AgentMode,
        draft: RecordDraft,
    ) -> Result<bool, RegistryError> {
        self.inner.set_mode(agent, mode, draft).await
    }

    async fn beat(&self, beats: Vec<AgentBeat>) -> Result<Vec<AgentId>, RegistryError> {
        self.told.fetch_add(1, Ordering::SeqCst);
        if self.hears_nothing.load(Ordering::SeqCst) {
            return Err(RegistryError::Unavailable {
                operation: "note heartbeats",
                retry_after: None,
                source: "nobody answers".into(),
            });
        }
        self.inner.beat(beats).await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<AgentChanges, RegistryError> {
        self.inner.changes(after, limit).await
    }

    async fn heard(&self, from: HeardFrom, limit: usize) -> Result<AgentsHeard, RegistryError> {
        self.inner.heard(from, limit).await
    }

    async fn learn(&self, outcomes: Vec<OutcomeDelta>) -> Result<(), RegistryError> {
        AgentRegistry::learn(self.inner.as_ref(), outcomes).await
    }

    async fn remove_silent(
        &self,
        since: Timestamp,
        draft: RecordDraft,
    ) -> Result<Vec<AgentId>, RegistryError> {
        self.inner.remove_silent(since, draft).await
    }

    async fn remove(&self, agent: AgentId, draft: RecordDraft) -> Result<bool, RegistryError> {
        AgentRegistry::remove(self.inner.as_ref(), agent, draft).await
    }

    async fn get(&self, ids: &[AgentId]) -> Result<Vec<Option<RegisteredAgent>>, RegistryError> {
        AgentRegistry::get(self.inner.as_ref(), ids).await
    }

    async fn list(&self, scope: TenantScope, query: AgentQuery) -> Result<AgentPage, RegistryError> {
        AgentRegistry::list(self.inner.as_ref(), scope, query).await
    }
}
