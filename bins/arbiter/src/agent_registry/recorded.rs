//! What is done to agents elsewhere stands in the audit log here as well: the one there names this arbiter only.

use std::sync::Arc;

use arbiter_core::model::{
    AgentBeat, AgentId, AgentMode, AgentProfile, AuditAction, OutcomeDelta, Record, RecordDraft,
    RecordOutcome, RegisteredAgent, Resource, TenantId, TenantScope, Timestamp,
};
use arbiter_core::ports::{
    AgentChanges, AgentPage, AgentQuery, AgentRegistry, AgentsHeard, AuditLog, Clock, HeardFrom, IdSource,
    Registered, RegistryError, Revision,
};
use async_trait::async_trait;

/// A registry elsewhere, with records here of what was done to it. A record that cannot be written is an error, although
/// it was done: the same call again is recorded then.
pub(super) struct Recorded {
    pub(super) inner: Arc<dyn AgentRegistry>,
    pub(super) audit: Arc<dyn AuditLog>,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) clock: Arc<dyn Clock>,
}

impl Recorded {
    async fn record(
        &self,
        action: AuditAction,
        agents: &[(AgentId, Option<TenantId>)],
        draft: &RecordDraft,
    ) -> Result<(), RegistryError> {
        let record = |(agent, tenant): &(AgentId, Option<TenantId>)| {
            let mut actions = draft.actions.clone();
            actions.push(action);
            Record {
                at: self.clock.now(),
                tenant: tenant.unwrap_or(TenantId::SYSTEM),
                principal: draft.principal,
                operation: draft.operation,
                actions,
                resource: Resource::new("agent", agent.to_string()),
                outcome: RecordOutcome::Done,
                reason: None,
                count: None,
                detail: draft.detail.clone(),
            }
        };
        let records: Vec<Record> = agents.iter().map(record).collect();
        if records.is_empty() {
            return Ok(());
        }
        self.audit.append(self.ids.batch(), records).await?;
        Ok(())
    }

    /// Whose agent it is.
    async fn tenant(&self, agent: AgentId) -> Result<Option<TenantId>, RegistryError> {
        let found = self.inner.get(&[agent]).await?;
        Ok(found
            .into_iter()
            .flatten()
            .next()
            .and_then(|found| found.profile.tenant))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl AgentRegistry for Recorded {
    async fn register(&self, profile: AgentProfile, draft: RecordDraft) -> Result<Registered, RegistryError> {
        let agent = (profile.id, profile.tenant);
        let registered = self.inner.register(profile, draft.clone()).await?;
        if registered != Registered::Unchanged {
            self.record(AuditAction::AgentRegistered, &[agent], &draft)
                .await?;
        }
        Ok(registered)
    }

    async fn set_mode(
        &self,
        agent: AgentId,
        mode: AgentMode,
        draft: RecordDraft,
    ) -> Result<bool, RegistryError> {
        let tenant = self.tenant(agent).await?;
        let found = self.inner.set_mode(agent, mode, draft.clone()).await?;
        if found {
            self.record(AuditAction::AgentModeSet, &[(agent, tenant)], &draft)
                .await?;
        }
        Ok(found)
    }

    async fn beat(&self, beats: Vec<AgentBeat>) -> Result<Vec<AgentId>, RegistryError> {
        self.inner.beat(beats).await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<AgentChanges, RegistryError> {
        self.inner.changes(after, limit).await
    }

    async fn heard(&self, from: HeardFrom, limit: usize) -> Result<AgentsHeard, RegistryError> {
        self.inner.heard(from, limit).await
    }

    async fn learn(&self, outcomes: Vec<OutcomeDelta>) -> Result<(), RegistryError> {
        self.inner.learn(outcomes).await
    }

    async fn remove_silent(
        &self,
        since: Timestamp,
        draft: RecordDraft,
    ) -> Result<Vec<AgentId>, RegistryError> {
        let removed = self.inner.remove_silent(since, draft.clone()).await?;
        let agents: Vec<_> = removed.iter().map(|agent| (*agent, None)).collect();
        self.record(AuditAction::AgentRemoved, &agents, &draft).await?;
        Ok(removed)
    }

    async fn remove(&self, agent: AgentId, draft: RecordDraft) -> Result<bool, RegistryError> {
        let tenant = self.tenant(agent).await?;
        let found = self.inner.remove(agent, draft.clone()).await?;
        if found {
            self.record(AuditAction::AgentRemoved, &[(agent, tenant)], &draft)
                .await?;
        }
        Ok(found)
    }

    async fn get(&self, ids: &[AgentId]) -> Result<Vec<Option<RegisteredAgent>>, RegistryError> {
        self.inner.get(ids).await
    }

    async fn list(&self, scope: TenantScope, query: AgentQuery) -> Result<AgentPage, RegistryError> {
        self.inner.list(scope, query).await
    }
}
