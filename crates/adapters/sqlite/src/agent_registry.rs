//! The port `AgentRegistry`.

use std::collections::BTreeMap;

use arbiter_core::model::{
    AgentBeat, AgentId, AgentMode, AgentProfile, AgentSeen, AuditAction, OutcomeDelta, Ratio, Record,
    RecordDraft, RecordOutcome, RegisteredAgent, Resource, TenantId, TenantScope, Timestamp,
};
use arbiter_core::ports::{
    AgentChanges, AgentPage, AgentQuery, AgentRegistry, AgentsHeard, HeardFrom, OUTCOMES_KEPT, Registered,
    RegistryError, Revision,
};
use arbiter_wire::stored::{decode_agent, encode_agent};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use crate::error::Fault;
use crate::group::Group;
use crate::number::{natural, whole};
use crate::store::SqliteStore;

#[async_trait]
impl AgentRegistry for SqliteStore {
    async fn register(&self, profile: AgentProfile, draft: RecordDraft) -> Result<Registered, RegistryError> {
        profile.validate()?;
        let limit = self.max_agents;
        self.write("register an agent", 2048, move |group| {
            register(group, &profile, &draft, limit)
        })
        .await?
    }

    async fn set_mode(
        &self,
        agent: AgentId,
        mode: AgentMode,
        draft: RecordDraft,
    ) -> Result<bool, RegistryError> {
        let set = self.write("set the mode of an agent", 2048, move |group| {
            let Some(mut found) = find(group.connection, agent)? else {
                return Ok(false);
            };
            if found.mode != mode {
                found.mode = mode;
                save(group, &found)?;
                leaf(group, &found.profile, AuditAction::AgentModeSet, &draft)?;
            }
            Ok(true)
        });
        Ok(set.await?)
    }

    async fn beat(&self, beats: Vec<AgentBeat>) -> Result<Vec<AgentId>, RegistryError> {
        let unknown = self.write("note heartbeats", beats.len() * 128, move |group| {
            let mut unknown = Vec::new();
            for beat in &beats {
                if !note(group, beat)? {
                    unknown.push(beat.agent);
                }
            }
            Ok(unknown)
        });
        Ok(unknown.await?)
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<AgentChanges, RegistryError> {
        let changes = self.read("read changes of agents", move |connection| {
            changes(connection, after, limit)
        });
        Ok(changes.await?)
    }

    async fn heard(&self, from: HeardFrom, limit: usize) -> Result<AgentsHeard, RegistryError> {
        let heard = self.read("read which agents were heard of", move |connection| {
            heard(connection, from, limit)
        });
        Ok(heard.await?)
    }

    async fn learn(&self, outcomes: Vec<OutcomeDelta>) -> Result<(), RegistryError> {
        let bytes = outcomes.len() * 128;
        Ok(self
            .write("count outcomes", bytes, move |group| learn(group, &outcomes))
            .await?)
    }

    async fn remove_silent(
        &self,
        since: Timestamp,
        draft: RecordDraft,
    ) -> Result<Vec<AgentId>, RegistryError> {
        let removed = self.write("remove silent agents", 4096, move |group| {
            remove_silent(group, since, &draft)
        });
        Ok(removed.await?)
    }

    async fn remove(&self, agent: AgentId, draft: RecordDraft) -> Result<bool, RegistryError> {
        let removed = self.write("remove an agent", 2048, move |group| {
            let found = find(group.connection, agent)?;
            let known = found.is_some();
            found
                .into_iter()
                .try_for_each(|found| gone(group, &found, &draft))?;
            Ok(known)
        });
        Ok(removed.await?)
    }

    async fn get(&self, ids: &[AgentId]) -> Result<Vec<Option<RegisteredAgent>>, RegistryError> {
        let ids = ids.to_vec();
        let found = self.read("read agents", move |connection| {
            ids.iter().map(|id| find(connection, *id)).collect()
        });
        Ok(found.await?)
    }

    async fn list(&self, scope: TenantScope, query: AgentQuery) -> Result<AgentPage, RegistryError> {
        let page = self.read("list agents", move |connection| list(connection, scope, query));
        Ok(page.await?)
    }
}

/// A page looks at so many rows, at most, for each agent that it may hold.
const SCAN_FACTOR: usize = 20;

const COLUMNS: &str = "SELECT body, seen_at, able, cpu, memory, id, revision FROM agent";

fn agent(row: &Row<'_>) -> Result<Option<RegisteredAgent>, Fault> {
    let Some(body) = row.get_ref(0)?.as_str_or_null().map_err(rusqlite::Error::from)? else {
        return Ok(None);
    };
    let mut agent = decode_agent(body)?;
    agent.seen_at = Timestamp::from_micros(row.get(1)?);
    agent.beat = beat(row, agent.profile.id, 2)?;
    Ok(Some(agent))
}

/// The latest heartbeat of an agent, in three columns from `first` on.
fn beat(row: &Row<'_>, agent: AgentId, first: usize) -> Result<Option<AgentBeat>, Fault> {
    let share = |column: usize| -> Result<Option<Ratio>, Fault> {
        let millionths: Option<u32> = row.get(column)?;
        let ratio = millionths.map(|millionths| Ratio::new(f64::from(millionths) / 1e6));
        ratio.transpose().map_err(|_| Fault::Damaged("heartbeat"))
    };
    let able: Option<bool> = row.get(first)?;
    let Some(able) = able else { return Ok(None) };
    Ok(Some(AgentBeat {
        agent,
        able,
        cpu: share(first + 1)?,
        memory: share(first + 2)?,
    }))
}

/// Who was heard of, in the order of the index.
pub(crate) const HEARD: &str = "SELECT id, seen_at, able, cpu, memory FROM agent
     WHERE body IS NOT NULL AND seen_at >= ?1 AND (seen_at > ?1 OR id > coalesce(?2, x'')) ORDER BY seen_at, id LIMIT ?3";

fn heard(connection: &Connection, from: HeardFrom, limit: usize) -> Result<AgentsHeard, Fault> {
    let mut statement = connection.prepare_cached(HEARD)?;
    let after = from.after.as_ref().map(AgentId::as_bytes);
    let mut rows = statement.query(params![
        from.since.as_micros(),
        after,
        whole(limit.saturating_add(1))
    ])?;
    let mut heard = AgentsHeard::default();
    while let Some(row) = rows.next()? {
        if heard.agents.len() == limit {
            heard.more = true;
            break;
        }
        let agent = AgentId::from_bytes(row.get(0)?);
        heard.agents.push(AgentSeen {
            agent,
            at: Timestamp::from_micros(row.get(1)?),
            beat: beat(row, agent, 2)?,
        });
    }
    Ok(heard)
}

fn find(connection: &Connection, id: AgentId) -> Result<Option<RegisteredAgent>, Fault> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?;
    let mut rows = statement.query([id.as_bytes()])?;
    rows.next()?.map(agent).transpose().map(Option::flatten)
}

/// Writes an agent under the next revision.
fn save(group: &Group<'_>, agent: &RegisteredAgent) -> Result<(), Fault> {
    let beat = agent.beat;
    put(
        group,
        agent.profile.id,
        agent.seen_at,
        beat,
        Some(encode_agent(agent)?),
    )
}

fn put(
    group: &Group<'_>,
    id: AgentId,
    seen_at: Timestamp,
    beat: Option<AgentBeat>,
    body: Option<String>,
) -> Result<(), Fault> {
    group
        .statement(
            "INSERT INTO agent (id, revision, seen_at, able, cpu, memory, body)
             VALUES (?1, (SELECT coalesce(max(revision), 0) + 1 FROM agent), ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (id) DO UPDATE SET revision = excluded.revision, seen_at = excluded.seen_at,
               able = excluded.able, cpu = excluded.cpu, memory = excluded.memory, body = excluded.body",
        )?
        .execute(params![
            id.as_bytes(),
            seen_at.as_micros(),
            beat.map(|beat| beat.able),
            beat.and_then(|beat| beat.cpu).map(Ratio::millionths),
            beat.and_then(|beat| beat.memory).map(Ratio::millionths),
            body,
        ])?;
    Ok(())
}

fn leaf(
    group: &mut Group<'_>,
    profile: &AgentProfile,
    action: AuditAction,
    draft: &RecordDraft,
) -> Result<(), Fault> {
    let mut actions = draft.actions.clone();
    actions.push(action);
    group.leaf(Record {
        at: group.now,
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

fn register(
    group: &mut Group<'_>,
    profile: &AgentProfile,
    draft: &RecordDraft,
    limit: usize,
) -> Result<Result<Registered, RegistryError>, Fault> {
    let (agent, registered) = match find(group.connection, profile.id)? {
        Some(found) if found.profile.tenant != profile.tenant => {
            return Ok(Err(RegistryError::OtherTenant {
                agent: profile.id,
                tenant: found.profile.tenant,
            }));
        }
        Some(found) if found.profile == *profile => {
            // to register is to be heard of
            touch(group, profile.id)?;
            return Ok(Ok(Registered::Unchanged));
        }
        Some(found) => {
            let replaced = RegisteredAgent {
                profile: profile.clone(),
                seen_at: group.now,
                ..found
            };
            (replaced, Registered::Replaced)
        }
        None => {
            let count: i64 = group
                .statement("SELECT count(*) FROM agent WHERE body IS NOT NULL")?
                .query_row([], |row| row.get(0))?;
            if count >= whole(limit) {
                return Ok(Err(RegistryError::Full { limit }));
            }
            let new = RegisteredAgent {
                profile: profile.clone(),
                mode: AgentMode::Active,
                registered_at: group.now,
                seen_at: group.now,
                beat: None,
                records: BTreeMap::new(),
            };
            (new, Registered::New)
        }
    };
    save(group, &agent)?;
    leaf(group, profile, AuditAction::AgentRegistered, draft)?;
    Ok(Ok(registered))
}

fn touch(group: &Group<'_>, agent: AgentId) -> Result<(), Fault> {
    group
        .statement("UPDATE agent SET seen_at = ?2 WHERE id = ?1")?
        .execute(params![agent.as_bytes(), group.now.as_micros()])?;
    Ok(())
}

/// Notes a heartbeat, which raises no revision; false when the agent is unknown.
fn note(group: &Group<'_>, beat: &AgentBeat) -> Result<bool, Fault> {
    let known = group
        .statement(
            "UPDATE agent SET seen_at = ?2, able = ?3, cpu = ?4, memory = ?5 WHERE id = ?1 AND body IS NOT NULL",
        )?
        .execute(params![
            beat.agent.as_bytes(),
            group.now.as_micros(),
            beat.able,
            beat.cpu.map(Ratio::millionths),
            beat.memory.map(Ratio::millionths),
        ])?;
    Ok(known == 1)
}

fn changes(connection: &Connection, after: Revision, limit: usize) -> Result<AgentChanges, Fault> {
    let mut changes = AgentChanges {
        revision: after,
        ..AgentChanges::default()
    };
    let mut statement = connection.prepare_cached(&format!(
        "{COLUMNS} WHERE revision > ?1 ORDER BY revision LIMIT ?2"
    ))?;
    let mut rows = statement.query(params![whole(after.0), whole(limit.saturating_add(1))])?;
    while let Some(row) = rows.next()? {
        if changes.agents.len() + changes.removed.len() == limit {
            changes.more = true;
            break;
        }
        match agent(row)? {
            Some(agent) => changes.agents.push(agent),
            None => changes.removed.push(AgentId::from_bytes(row.get(5)?)),
        }
        changes.revision = Revision(natural(row.get(6)?));
    }
    Ok(changes)
}

/// Notes that an outcome was counted: until its task goes or, when that is not here, for a while from now on. Changes nothing
/// when that is known.
const COUNT: &str = "INSERT INTO agent_outcome (task, fence, at)
     VALUES (?1, ?2, CASE WHEN EXISTS (SELECT 1 FROM task WHERE id = ?1) THEN NULL ELSE ?3 END)
     ON CONFLICT (task, fence) DO UPDATE SET at = excluded.at WHERE agent_outcome.at < ?4";

/// The outcomes that need not be known any more, the oldest first.
pub(crate) const OLD_OUTCOMES: &str =
    "SELECT task, fence FROM agent_outcome WHERE at < ?1 ORDER BY at LIMIT ?2";

/// At most so many of them are forgotten at a time, which is more than are counted.
const FORGET: usize = 2_000;

fn learn(group: &mut Group<'_>, outcomes: &[OutcomeDelta]) -> Result<(), Fault> {
    let before = group.now.minus(OUTCOMES_KEPT).as_micros();
    group
        .statement(&format!(
            "DELETE FROM agent_outcome WHERE (task, fence) IN ({OLD_OUTCOMES})"
        ))?
        .execute(params![before, whole(FORGET)])?;
    for outcome in outcomes {
        // of a removed agent there is no record to keep
        let Some(mut agent) = find(group.connection, outcome.agent)? else {
            continue;
        };
        let (task, fence) = outcome.attempt;
        let new = group.statement(COUNT)?.execute(params![
            task.as_bytes(),
            whole(fence.0),
            group.now.as_micros(),
            before
        ])?;
        if new == 1 {
            let record = agent.records.entry(outcome.kind.clone()).or_default();
            *record = record.with(outcome);
            save(group, &agent)?;
        }
    }
    Ok(())
}

fn remove_silent(
    group: &mut Group<'_>,
    since: Timestamp,
    draft: &RecordDraft,
) -> Result<Vec<AgentId>, Fault> {
    let mut silent = Vec::new();
    {
        let sql = format!("{COLUMNS} WHERE body IS NOT NULL AND seen_at < ?1 ORDER BY id");
        let mut statement = group.statement(&sql)?;
        let mut rows = statement.query([since.as_micros()])?;
        while let Some(row) = rows.next()? {
            silent.extend(agent(row)?.filter(|agent| agent.mode == AgentMode::Active));
        }
    }
    silent.iter().try_for_each(|agent| gone(group, agent, draft))?;
    Ok(silent.into_iter().map(|agent| agent.profile.id).collect())
}

/// Leaves the place of an agent that is removed.
fn gone(group: &mut Group<'_>, agent: &RegisteredAgent, draft: &RecordDraft) -> Result<(), Fault> {
    put(group, agent.profile.id, agent.seen_at, None, None)?;
    leaf(group, &agent.profile, AuditAction::AgentRemoved, draft)
}

fn list(connection: &Connection, scope: TenantScope, query: AgentQuery) -> Result<AgentPage, Fault> {
    let limit = query.limit.clamp(1, 1_000);
    let scan = limit * SCAN_FACTOR;
    let mut page = AgentPage::default();
    let mut last = None;
    let after = query.after.as_ref().map(AgentId::as_bytes);
    let mut statement = connection.prepare_cached(&format!(
        "{COLUMNS} WHERE id > coalesce(?1, x'') ORDER BY id LIMIT ?2"
    ))?;
    let mut rows = statement.query(params![after, whole(scan + 1)])?;
    let mut scanned = 0;
    while let Some(row) = rows.next()? {
        if page.agents.len() == limit || scanned == scan {
            page.next = last;
            break;
        }
        scanned += 1;
        last = Some(AgentId::from_bytes(row.get(5)?));
        let seen = |agent: &RegisteredAgent| agent.profile.tenant.is_none_or(|tenant| scope.covers(tenant));
        page.agents.extend(agent(row)?.filter(seen));
    }
    Ok(page)
}
