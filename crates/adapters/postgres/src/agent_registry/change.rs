//! Changes of the registry. They are made one after the other, under the lock of the row that counts them.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{
    AgentId, AgentMode, AgentProfile, AuditAction, OutcomeDelta, Record, RecordDraft, RecordOutcome,
    RegisteredAgent, Resource, TenantId, Timestamp,
};
use arbiter_core::ports::{OUTCOMES_KEPT, Registered, RegistryError};
use arbiter_wire::stored::encode_agent;

use super::row::{agent, columns, share};
use crate::error::Fault;
use crate::number::whole;
use crate::session::{get, id_bytes, uuid};
use crate::write::Write;

/// Agents that are there, locked against heartbeats.
const FIND: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM agent WHERE id = ANY($1) AND body IS NOT NULL ORDER BY id FOR UPDATE"
);

const SILENT: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM agent WHERE seen_at < $1 AND body IS NOT NULL ORDER BY id FOR UPDATE"
);

const PUT: &str = "INSERT INTO agent (id, tenant, revision, seen_at, able, cpu, memory, body)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
     ON CONFLICT (id) DO UPDATE SET tenant = excluded.tenant, revision = excluded.revision,
       seen_at = excluded.seen_at, able = excluded.able, cpu = excluded.cpu, memory = excluded.memory,
       body = excluded.body";

/// The lock of the registry.
struct Registry {
    revision: i64,
}

impl Registry {
    /// Waits for the lock, which is held until the commit: so revisions become visible in their order, and `changes`
    /// passes none by.
    async fn lock(write: &Write<'_>) -> Result<Self, Fault> {
        let row = write
            .session
            .query_opt("SELECT revision FROM registry FOR UPDATE", &[])
            .await?
            .ok_or(Fault::Damaged("registry"))?;
        Ok(Self {
            revision: get(&row, 0)?,
        })
    }

    /// Writes an agent under the next revision; without a body it leaves the place of one that is removed.
    async fn put(
        &mut self,
        write: &Write<'_>,
        agent: &RegisteredAgent,
        body: Option<String>,
    ) -> Result<(), Fault> {
        self.revision += 1;
        let profile = &agent.profile;
        let beat = agent.beat.filter(|_| body.is_some());
        let tenant = profile.tenant.map(|tenant| uuid(tenant.as_bytes()));
        write
            .session
            .execute(
                PUT,
                &[
                    &uuid(profile.id.as_bytes()),
                    &tenant,
                    &self.revision,
                    &agent.seen_at.as_micros(),
                    &beat.map(|beat| beat.able),
                    &share(beat.and_then(|beat| beat.cpu)),
                    &share(beat.and_then(|beat| beat.memory)),
                    &body,
                ],
            )
            .await?;
        Ok(())
    }

    async fn save(&mut self, write: &Write<'_>, agent: &RegisteredAgent) -> Result<(), Fault> {
        self.put(write, agent, Some(encode_agent(agent)?)).await
    }

    /// Leaves the place of an agent that is removed.
    async fn remove(
        &mut self,
        write: &mut Write<'_>,
        agent: &RegisteredAgent,
        draft: &RecordDraft,
    ) -> Result<(), Fault> {
        self.put(write, agent, None).await?;
        leaf(write, &agent.profile, AuditAction::AgentRemoved, draft)
    }

    /// Keeps the latest revision.
    async fn unlock(self, write: &Write<'_>) -> Result<(), Fault> {
        write
            .session
            .execute("UPDATE registry SET revision = $1", &[&self.revision])
            .await?;
        Ok(())
    }
}

async fn find(
    write: &Write<'_>,
    ids: impl Iterator<Item = AgentId>,
) -> Result<BTreeMap<AgentId, RegisteredAgent>, Fault> {
    let ids: Vec<_> = ids.map(|id| uuid(id.as_bytes())).collect();
    let rows = write.session.query(FIND, &[&ids]).await?;
    let mut found = BTreeMap::new();
    for row in &rows {
        found.extend(agent(row)?.map(|agent| (agent.profile.id, agent)));
    }
    Ok(found)
}

async fn find_one(write: &Write<'_>, id: AgentId) -> Result<Option<RegisteredAgent>, Fault> {
    Ok(find(write, [id].into_iter()).await?.remove(&id))
}

fn leaf(
    write: &mut Write<'_>,
    profile: &AgentProfile,
    action: AuditAction,
    draft: &RecordDraft,
) -> Result<(), Fault> {
    let mut actions = draft.actions.clone();
    actions.push(action);
    let record = Record {
        at: write.session.now,
        tenant: profile.tenant.unwrap_or(TenantId::SYSTEM),
        principal: draft.principal,
        operation: draft.operation,
        actions,
        resource: Resource::new("agent", profile.id.to_string()),
        outcome: RecordOutcome::Done,
        reason: None,
        count: None,
        detail: draft.detail.clone(),
    };
    write.leaf(&record)
}

pub(super) async fn register(
    write: &mut Write<'_>,
    profile: &AgentProfile,
    draft: &RecordDraft,
    limit: usize,
) -> Result<Result<Registered, RegistryError>, Fault> {
    let mut registry = Registry::lock(write).await?;
    let now = write.session.now;
    let (agent, registered) = match find_one(write, profile.id).await? {
        Some(found) if found.profile.tenant != profile.tenant => {
            return Ok(Err(RegistryError::OtherTenant {
                agent: profile.id,
                tenant: found.profile.tenant,
            }));
        }
        Some(found) if found.profile == *profile => {
            // to register is to be heard of
            let id = uuid(profile.id.as_bytes());
            write
                .session
                .execute(
                    "UPDATE agent SET seen_at = $2 WHERE id = $1",
                    &[&id, &now.as_micros()],
                )
                .await?;
            return Ok(Ok(Registered::Unchanged));
        }
        Some(found) => {
            let replaced = RegisteredAgent {
                profile: profile.clone(),
                seen_at: now,
                ..found
            };
            (replaced, Registered::Replaced)
        }
        None => {
            let row = write
                .session
                .query_opt("SELECT count(*) FROM agent WHERE body IS NOT NULL", &[])
                .await?
                .ok_or(Fault::Damaged("registry"))?;
            if get::<i64>(&row, 0)? >= whole(limit) {
                return Ok(Err(RegistryError::Full { limit }));
            }
            let new = RegisteredAgent {
                profile: profile.clone(),
                mode: AgentMode::Active,
                registered_at: now,
                seen_at: now,
                beat: None,
                records: BTreeMap::new(),
            };
            (new, Registered::New)
        }
    };
    registry.save(write, &agent).await?;
    registry.unlock(write).await?;
    leaf(write, profile, AuditAction::AgentRegistered, draft)?;
    Ok(Ok(registered))
}

pub(super) async fn set_mode(
    write: &mut Write<'_>,
    id: AgentId,
    mode: AgentMode,
    draft: &RecordDraft,
) -> Result<bool, Fault> {
    let mut registry = Registry::lock(write).await?;
    let Some(mut found) = find_one(write, id).await? else {
        return Ok(false);
    };
    if found.mode != mode {
        found.mode = mode;
        registry.save(write, &found).await?;
        registry.unlock(write).await?;
        leaf(write, &found.profile, AuditAction::AgentModeSet, draft)?;
    }
    Ok(true)
}

/// Notes which outcomes are counted: until their tasks go or, when those are not here, for a while from now on. Gives those of
/// which that was not known.
const COUNT: &str = "INSERT INTO agent_outcome AS known (task, fence, at)
     SELECT u.task, u.fence, CASE WHEN EXISTS (SELECT FROM task AS t WHERE t.id = u.task) THEN NULL ELSE $3::bigint END
     FROM unnest($1::uuid[], $2::bigint[]) AS u (task, fence)
     ON CONFLICT (task, fence) DO UPDATE SET at = excluded.at WHERE known.at < $4
     RETURNING task, fence";

/// Forgets outcomes that need not be known any more, the oldest first.
const FORGET: &str = "DELETE FROM agent_outcome WHERE (task, fence) IN
     (SELECT task, fence FROM agent_outcome WHERE at < $1 ORDER BY at LIMIT $2)";

/// At most so many of them are forgotten at a time, which is more than are counted.
const FORGOTTEN: usize = 2_000;

/// Counts outcomes, each attempt once. Of a removed agent there is no record to keep.
pub(super) async fn learn(write: &Write<'_>, outcomes: &[OutcomeDelta]) -> Result<(), Fault> {
    let mut registry = Registry::lock(write).await?;
    let mut agents = find(write, outcomes.iter().map(|outcome| outcome.agent)).await?;
    let attempt = |outcome: &OutcomeDelta| (*outcome.attempt.0.as_bytes(), whole(outcome.attempt.1.0));
    let known = outcomes
        .iter()
        .filter(|outcome| agents.contains_key(&outcome.agent));
    let attempts: BTreeSet<_> = known.map(attempt).collect();
    let tasks: Vec<_> = attempts.iter().map(|(task, _)| uuid(task)).collect();
    let fences: Vec<_> = attempts.iter().map(|(_, fence)| *fence).collect();
    let now = write.session.now;
    let before = now.minus(OUTCOMES_KEPT).as_micros();
    write
        .session
        .execute(FORGET, &[&before, &whole(FORGOTTEN)])
        .await?;
    let rows = write
        .session
        .query(COUNT, &[&tasks, &fences, &now.as_micros(), &before])
        .await?;
    let mut new = BTreeSet::new();
    for row in &rows {
        new.insert((id_bytes(row, 0)?, get::<i64>(row, 1)?));
    }
    let mut changed = BTreeSet::new();
    for outcome in outcomes {
        let Some(agent) = agents.get_mut(&outcome.agent) else {
            continue;
        };
        if new.remove(&attempt(outcome)) {
            let record = agent.records.entry(outcome.kind.clone()).or_default();
            *record = record.with(outcome);
            changed.insert(outcome.agent);
        }
    }
    for agent in changed.iter().filter_map(|id| agents.get(id)) {
        registry.save(write, agent).await?;
    }
    registry.unlock(write).await
}

pub(super) async fn remove_silent(
    write: &mut Write<'_>,
    since: Timestamp,
    draft: &RecordDraft,
) -> Result<Vec<AgentId>, Fault> {
    let mut registry = Registry::lock(write).await?;
    let mut removed = Vec::new();
    for row in write.session.query(SILENT, &[&since.as_micros()]).await? {
        let silent = agent(&row)?.filter(|agent| agent.mode == AgentMode::Active);
        if let Some(silent) = silent {
            registry.remove(write, &silent, draft).await?;
            removed.push(silent.profile.id);
        }
    }
    registry.unlock(write).await?;
    Ok(removed)
}

pub(super) async fn remove(write: &mut Write<'_>, id: AgentId, draft: &RecordDraft) -> Result<bool, Fault> {
    let mut registry = Registry::lock(write).await?;
    let Some(found) = find_one(write, id).await? else {
        return Ok(false);
    };
    registry.remove(write, &found, draft).await?;
    registry.unlock(write).await?;
    Ok(true)
}
