//! The port `AgentRegistry`.

use std::ops::Bound;

use arbiter_core::model::{
    AgentBeat, AgentId, AgentMode, AgentProfile, AgentSeen, AuditAction, OutcomeDelta, Record, RecordDraft,
    RecordOutcome, RegisteredAgent, Resource, TenantId, TenantScope, Timestamp,
};
use arbiter_core::ports::{
    AgentChanges, AgentPage, AgentQuery, AgentRegistry, AgentsHeard, HeardFrom, OUTCOMES_KEPT, Registered,
    RegistryError, Revision, StoreError,
};
use async_trait::async_trait;

use crate::store::{InMemoryStore, Transaction};
use crate::tables::{AgentRow, Tables};

/// A page looks at so many places, at most, for each agent that it may hold.
const SCAN_FACTOR: usize = 20;

#[async_trait]
impl AgentRegistry for InMemoryStore {
    async fn register(&self, profile: AgentProfile, draft: RecordDraft) -> Result<Registered, RegistryError> {
        profile.validate()?;
        self.write("register an agent", |transaction| {
            let id = profile.id;
            let now = transaction.now;
            let Some(known) = agent(transaction.tables, id).cloned() else {
                let agents = transaction
                    .tables
                    .agents
                    .iter()
                    .filter(|(_, row)| row.agent.is_some())
                    .count();
                if agents >= self.max_agents {
                    return Err(RegistryError::Full {
                        limit: self.max_agents,
                    });
                }
                let new = RegisteredAgent {
                    profile,
                    mode: AgentMode::Active,
                    registered_at: now,
                    seen_at: now,
                    beat: None,
                    records: std::collections::BTreeMap::new(),
                };
                transaction.change(id, Some(new.clone()));
                transaction.agent_leaf(&new.profile, AuditAction::AgentRegistered, &draft)?;
                return Ok(Registered::New);
            };
            if known.profile.tenant != profile.tenant {
                return Err(RegistryError::OtherTenant {
                    agent: id,
                    tenant: known.profile.tenant,
                });
            }
            // whoever registers was heard of
            let seen = RegisteredAgent {
                seen_at: now,
                ..known
            };
            if seen.profile == profile {
                transaction.keep(id, seen);
                return Ok(Registered::Unchanged);
            }
            transaction.agent_leaf(&profile, AuditAction::AgentRegistered, &draft)?;
            transaction.change(id, Some(RegisteredAgent { profile, ..seen }));
            Ok(Registered::Replaced)
        })
    }

    async fn set_mode(
        &self,
        agent: AgentId,
        mode: AgentMode,
        draft: RecordDraft,
    ) -> Result<bool, RegistryError> {
        self.write("set the mode of an agent", |transaction| {
            let Some(known) = self::agent(transaction.tables, agent).cloned() else {
                return Ok(false);
            };
            if known.mode != mode {
                transaction.agent_leaf(&known.profile, AuditAction::AgentModeSet, &draft)?;
                transaction.change(agent, Some(RegisteredAgent { mode, ..known }));
            }
            Ok(true)
        })
    }

    async fn beat(&self, beats: Vec<AgentBeat>) -> Result<Vec<AgentId>, RegistryError> {
        self.write("note heartbeats", |transaction| {
            let mut unknown = Vec::new();
            for beat in beats {
                match agent(transaction.tables, beat.agent).cloned() {
                    None => unknown.push(beat.agent),
                    Some(known) => {
                        let seen = RegisteredAgent {
                            seen_at: transaction.now,
                            beat: Some(beat),
                            ..known
                        };
                        transaction.keep(beat.agent, seen);
                    }
                }
            }
            Ok(unknown)
        })
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<AgentChanges, RegistryError> {
        Ok(self.read(|tables, _| {
            let mut changes = AgentChanges {
                revision: after,
                ..AgentChanges::default()
            };
            let from = (Bound::Excluded(after.0), Bound::Unbounded);
            for (number, (revision, id)) in tables.agents_by_revision.range(from).enumerate() {
                if number == limit {
                    changes.more = true;
                    break;
                }
                changes.revision = Revision(*revision);
                match agent(tables, *id) {
                    Some(agent) => changes.agents.push(agent.clone()),
                    None => changes.removed.push(*id),
                }
            }
            changes
        }))
    }

    async fn heard(&self, from: HeardFrom, limit: usize) -> Result<AgentsHeard, RegistryError> {
        Ok(self.read(|tables, _| {
            let agents = tables.agents.iter().filter_map(|(_, row)| row.agent.as_ref());
            let seen = agents.map(|agent| AgentSeen {
                agent: agent.profile.id,
                at: agent.seen_at,
                beat: agent.beat,
            });
            let mut agents: Vec<_> = seen.filter(|seen| from.precedes(seen)).collect();
            agents.sort_unstable_by_key(|seen| (seen.at, seen.agent));
            let more = agents.len() > limit;
            agents.truncate(limit);
            AgentsHeard { agents, more }
        }))
    }

    async fn learn(&self, outcomes: Vec<OutcomeDelta>) -> Result<(), RegistryError> {
        self.write("count outcomes", |transaction| {
            transaction.forget_outcomes();
            for outcome in &outcomes {
                let Some(mut known) = agent(transaction.tables, outcome.agent).cloned() else {
                    continue;
                };
                if transaction.tables.outcomes.contains(&outcome.attempt) {
                    continue;
                }
                transaction.keep_outcome(outcome);
                let record = known.records.entry(outcome.kind.clone()).or_default();
                *record = record.with(outcome);
                transaction.change(outcome.agent, Some(known));
            }
            Ok(())
        })
    }

    async fn remove_silent(
        &self,
        since: Timestamp,
        draft: RecordDraft,
    ) -> Result<Vec<AgentId>, RegistryError> {
        self.write("remove silent agents", |transaction| {
            let agents = transaction.tables.agents.iter();
            let silent: Vec<AgentProfile> = agents
                .filter_map(|(_, row)| row.agent.as_ref())
                .filter(|agent| agent.seen_at < since && agent.mode == AgentMode::Active)
                .map(|agent| agent.profile.clone())
                .collect();
            for profile in &silent {
                transaction.change(profile.id, None);
                transaction.agent_leaf(profile, AuditAction::AgentRemoved, &draft)?;
            }
            Ok(silent.into_iter().map(|profile| profile.id).collect())
        })
    }

    async fn remove(&self, agent: AgentId, draft: RecordDraft) -> Result<bool, RegistryError> {
        self.write("remove an agent", |transaction| {
            let Some(known) = self::agent(transaction.tables, agent).cloned() else {
                return Ok(false);
            };
            transaction.change(agent, None);
            transaction.agent_leaf(&known.profile, AuditAction::AgentRemoved, &draft)?;
            Ok(true)
        })
    }

    async fn get(&self, ids: &[AgentId]) -> Result<Vec<Option<RegisteredAgent>>, RegistryError> {
        Ok(self.read(|tables, _| ids.iter().map(|id| agent(tables, *id).cloned()).collect()))
    }

    async fn list(&self, scope: TenantScope, query: AgentQuery) -> Result<AgentPage, RegistryError> {
        let limit = query.limit.clamp(1, 1_000);
        Ok(self.read(|tables, _| {
            let mut page = AgentPage::default();
            let from = query.after.map_or(Bound::Unbounded, Bound::Excluded);
            let mut last = None;
            for (scanned, (id, row)) in tables.agents.range((from, Bound::Unbounded)).enumerate() {
                if page.agents.len() == limit || scanned == limit * SCAN_FACTOR {
                    page.next = last;
                    break;
                }
                last = Some(*id);
                let seen =
                    |agent: &&RegisteredAgent| agent.profile.tenant.is_none_or(|tenant| scope.covers(tenant));
                page.agents.extend(row.agent.as_ref().filter(seen).cloned());
            }
            page
        }))
    }
}

fn agent(tables: &Tables, id: AgentId) -> Option<&RegisteredAgent> {
    tables.agents.get(&id)?.agent.as_ref()
}

impl Transaction<'_> {
    /// Keeps an agent whose profile, mode and records are what they were.
    fn keep(&mut self, id: AgentId, agent: RegisteredAgent) {
        if let Some(AgentRow { revision, .. }) = self.tables.agents.get(&id) {
            let revision = *revision;
            let agent = Some(agent);
            self.tables.agents.put(id, AgentRow { revision, agent });
        }
    }

    /// Keeps a changed agent, or the place of a removed one, under the next revision.
    fn change(&mut self, id: AgentId, agent: Option<RegisteredAgent>) {
        // Read before the agent's old place is taken away, which may be the last.
        let last = self.tables.agents_by_revision.iter().next_back();
        let revision = last.map_or(0, |(revision, _)| *revision) + 1;
        if let Some(old) = self.tables.agents.get(&id).map(|row| row.revision) {
            self.tables.agents_by_revision.remove(&old);
        }
        self.tables.agents_by_revision.put(revision, id);
        self.tables.agents.put(id, AgentRow { revision, agent });
    }

    /// Notes that an outcome was counted: with its task, or for a while when the task is not here.
    fn keep_outcome(&mut self, outcome: &OutcomeDelta) {
        let is_here = self.tables.tasks.contains(&outcome.attempt.0);
        let counted = (!is_here).then_some(self.now);
        self.tables.outcomes.put(outcome.attempt, counted);
        if let Some(at) = counted {
            self.tables.outcomes_elsewhere.put((at, outcome.attempt), ());
        }
    }

    /// Forgets which outcomes of tasks that are not here were counted long ago.
    fn forget_outcomes(&mut self) {
        let before = self.now.minus(OUTCOMES_KEPT);
        let kept = self.tables.outcomes_elsewhere.iter().map(|(key, ())| *key);
        let old: Vec<_> = kept.take_while(|(at, _)| *at < before).collect();
        for key in old {
            self.tables.outcomes_elsewhere.remove(&key);
            self.tables.outcomes.remove(&key.1);
        }
    }

    fn agent_leaf(
        &mut self,
        profile: &AgentProfile,
        action: AuditAction,
        draft: &RecordDraft,
    ) -> Result<(), StoreError> {
        let mut actions = draft.actions.clone();
        actions.push(action);
        self.leaf(&Record {
            at: self.now,
            tenant: profile.tenant.unwrap_or(TenantId::SYSTEM),
            principal: draft.principal,
            operation: draft.operation,
            actions,
            resource: Resource::new("agent", profile.id.to_string()),
            outcome: RecordOutcome::Done,
            reason: None,
            count: None,
            detail: draft.detail.clone(),
        })
    }
}
