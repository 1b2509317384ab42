//! What is done to agents elsewhere stands in the audit log here as well: the one there names this arbiter only.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arbiter_core::model::{
    AgentBeat, AgentId, AgentMode, AgentProfile, AuditAction, Json, OutcomeDelta, Record, RecordDraft,
    RecordOutcome, RegisteredAgent, Resource, TenantId, TenantScope, Timestamp,
};
use arbiter_core::ports::{
    AgentChanges, AgentPage, AgentQuery, AgentRegistry, AgentsHeard, AuditLog, Clock, HeardFrom, IdSource,
    Registered, RegistryError, Revision,
};
use async_trait::async_trait;
use serde_json::json;

/// A registry elsewhere, with records here of what was asked of it and how that ended.
///
/// That it is asked is recorded before: without that record nothing is asked. How it ended is recorded after. When that
/// cannot be written, or the process ends meanwhile, the first record stands alone: something was asked, and the registry's
/// own log says what came of it.
pub(super) struct Recorded {
    pub(super) inner: Arc<dyn AgentRegistry>,
    pub(super) audit: Arc<dyn AuditLog>,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) clock: Arc<dyn Clock>,
}

/// Something that is asked of the registry.
struct Change {
    /// Names it in all its records.
    id: String,
    /// What will have happened when it is done.
    action: AuditAction,
    /// The agent; none for all that are found.
    agent: Option<AgentId>,
    tenant: Option<TenantId>,
    draft: RecordDraft,
}

/// How it ended, for its record.
struct End {
    action: AuditAction,
    outcome: RecordOutcome,
    reason: Option<&'static str>,
}

impl End {
    const fn done(action: AuditAction) -> Self {
        Self {
            action,
            outcome: RecordOutcome::Done,
            reason: None,
        }
    }

    /// Nothing was to be changed.
    const fn void(reason: &'static str) -> Self {
        Self {
            reason: Some(reason),
            ..Self::done(AuditAction::AgentChangeVoid)
        }
    }

    fn failed(error: &RegistryError) -> Self {
        let refused = |reason| Self {
            action: AuditAction::Rejected,
            outcome: RecordOutcome::Refused,
            reason: Some(reason),
        };
        match error {
            RegistryError::Full { .. } => refused("registry_full"),
            RegistryError::OtherTenant { .. } => refused("forbidden"),
            RegistryError::Invalid(_) | RegistryError::Refused { .. } => refused("invalid_value"),
            _ => Self {
                reason: Some("registry_unavailable"),
                ..Self::done(AuditAction::AgentChangeUnknown)
            },
        }
    }
}

impl Recorded {
    /// Records that something is about to be asked.
    async fn ask(
        &self,
        action: AuditAction,
        agent: Option<AgentId>,
        tenant: Option<TenantId>,
        draft: &RecordDraft,
    ) -> Result<Change, RegistryError> {
        let batch = self.ids.batch();
        let change = Change {
            id: batch.to_string(),
            action,
            agent,
            tenant,
            draft: draft.clone(),
        };
        let mut detail = json!({"schema": "agent_change/1", "change": change.id, "asked": action.word()});
        if let Some(given) = &draft.detail {
            detail["detail"] = given.value();
        }
        let end = End::done(AuditAction::AgentChangeAsked);
        let record = self.record(&change, (agent, tenant), &end, detail);
        self.audit.append(batch, vec![record]).await?;
        Ok(change)
    }

    /// Records how it ended, and passes on what the registry said. What cannot be recorded is an error, although it may
    /// have been done.
    async fn end<T>(
        &self,
        change: Change,
        answer: Result<T, RegistryError>,
        end: impl FnOnce(&T) -> (End, Vec<(AgentId, Option<TenantId>)>),
    ) -> Result<T, RegistryError> {
        let (end, agents) = match &answer {
            Ok(done) => end(done),
            Err(error) => (End::failed(error), Vec::new()),
        };
        let mut about: Vec<_> = agents
            .into_iter()
            .map(|(agent, tenant)| (Some(agent), tenant))
            .collect();
        if about.is_empty() {
            about.push((change.agent, change.tenant));
        }
        let given = change.draft.detail.as_ref().map(Json::value);
        let mut detail = given
            .filter(serde_json::Value::is_object)
            .unwrap_or_else(|| json!({"schema": "agent_change/1"}));
        detail["change"] = json!(change.id);
        let records = about
            .into_iter()
            .map(|about| self.record(&change, about, &end, detail.clone()))
            .collect();
        if let Err(error) = self.audit.append(self.ids.batch(), records).await {
            tracing::error!(event = "agent_change_unrecorded", change = change.id, asked = change.action.word(), error = %error, "how a change of an agent elsewhere ended was not recorded");
            // What the registry refused it refused.
            return answer.and(Err(error.into()));
        }
        answer
    }

    fn record(
        &self,
        change: &Change,
        (agent, tenant): (Option<AgentId>, Option<TenantId>),
        end: &End,
        detail: serde_json::Value,
    ) -> Record {
        let mut actions = change.draft.actions.clone();
        actions.push(end.action);
        let agent = agent.map(|agent| agent.to_string());
        Record {
            at: self.clock.now(),
            tenant: tenant.unwrap_or(TenantId::SYSTEM),
            principal: change.draft.principal,
            operation: change.draft.operation,
            actions,
            resource: Resource::new("agent", agent.unwrap_or_default()),
            outcome: end.outcome,
            reason: end.reason,
            count: None,
            detail: Some(Json::of(&detail)),
        }
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

/// The end of a change of an agent that may be absent.
fn found(action: AuditAction) -> impl FnOnce(&bool) -> (End, Vec<(AgentId, Option<TenantId>)>) {
    move |found| {
        let end = if *found {
            End::done(action)
        } else {
            End::void("not_found")
        };
        (end, Vec::new())
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl AgentRegistry for Recorded {
    async fn register(&self, profile: AgentProfile, draft: RecordDraft) -> Result<Registered, RegistryError> {
        profile.validate()?;
        let (agent, tenant) = (Some(profile.id), profile.tenant);
        let change = self
            .ask(AuditAction::AgentRegistered, agent, tenant, &draft)
            .await?;
        let registered = self.inner.register(profile, draft).await;
        self.end(change, registered, |registered| {
            let end = match registered {
                Registered::Unchanged => End::void("unchanged"),
                _ => End::done(AuditAction::AgentRegistered),
            };
            (end, Vec::new())
        })
        .await
    }

    async fn set_mode(
        &self,
        agent: AgentId,
        mode: AgentMode,
        draft: RecordDraft,
    ) -> Result<bool, RegistryError> {
        let action = AuditAction::AgentModeSet;
        let tenant = self.tenant(agent).await?;
        let change = self.ask(action, Some(agent), tenant, &draft).await?;
        let set = self.inner.set_mode(agent, mode, draft).await;
        self.end(change, set, found(action)).await
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
        let change = self.ask(AuditAction::AgentRemoved, None, None, &draft).await?;
        let removed = self.inner.remove_silent(since, draft).await;
        self.end(change, removed, |removed| {
            let end = if removed.is_empty() {
                End::void("not_found")
            } else {
                End::done(AuditAction::AgentRemoved)
            };
            (end, removed.iter().map(|agent| (*agent, None)).collect())
        })
        .await
    }

    async fn remove(&self, agent: AgentId, draft: RecordDraft) -> Result<bool, RegistryError> {
        let action = AuditAction::AgentRemoved;
        let tenant = self.tenant(agent).await?;
        let change = self.ask(action, Some(agent), tenant, &draft).await?;
        let removed = self.inner.remove(agent, draft).await;
        self.end(change, removed, found(action)).await
    }

    async fn get(&self, ids: &[AgentId]) -> Result<Vec<Option<RegisteredAgent>>, RegistryError> {
        self.inner.get(ids).await
    }

    async fn list(&self, scope: TenantScope, query: AgentQuery) -> Result<AgentPage, RegistryError> {
        self.inner.list(scope, query).await
    }
}
