//! Heartbeats, which are no change of the registry.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{AgentBeat, AgentId, AgentSeen, Timestamp};
use arbiter_core::ports::{AgentsHeard, HeardFrom};

use super::row;
use crate::error::Fault;
use crate::number::whole;
use crate::session::{Session, get, id_bytes, uuid};
use crate::write::Write;

/// Locks the agents in one order for all callers, so that none waits for another in a circle, and names those that are
/// there.
const LOCK: &str = "SELECT id FROM agent WHERE id = ANY($1) AND body IS NOT NULL ORDER BY id FOR UPDATE";

const NOTE: &str = "UPDATE agent AS a SET seen_at = $5, able = b.able, cpu = b.cpu, memory = b.memory
     FROM unnest($1::uuid[], $2::boolean[], $3::integer[], $4::integer[]) AS b (id, able, cpu, memory)
     WHERE a.id = b.id AND a.body IS NOT NULL";

/// Notes heartbeats; gives the agents that are unknown.
pub(super) async fn beat(write: &Write<'_>, beats: &[AgentBeat]) -> Result<Vec<AgentId>, Fault> {
    // of two of one agent the last one counts
    let latest: BTreeMap<AgentId, &AgentBeat> = beats.iter().map(|beat| (beat.agent, beat)).collect();
    let ids: Vec<_> = latest.keys().map(|id| uuid(id.as_bytes())).collect();
    let able: Vec<_> = latest.values().map(|beat| beat.able).collect();
    let cpu: Vec<_> = latest.values().map(|beat| row::share(beat.cpu)).collect();
    let memory: Vec<_> = latest.values().map(|beat| row::share(beat.memory)).collect();
    let mut known = BTreeSet::new();
    for row in write.session.query(LOCK, &[&ids]).await? {
        known.insert(AgentId::from_bytes(id_bytes(&row, 0)?));
    }
    let now = write.session.now.as_micros();
    write
        .session
        .execute(NOTE, &[&ids, &able, &cpu, &memory, &now])
        .await?;
    let unknown = beats.iter().map(|beat| beat.agent);
    Ok(unknown.filter(|agent| !known.contains(agent)).collect())
}

/// Who was heard of, in the order of the index.
const HEARD: &str = "SELECT id, seen_at, able, cpu, memory FROM agent
     WHERE body IS NOT NULL AND seen_at >= $1 AND (seen_at > $1 OR $2::uuid IS NULL OR id > $2)
     ORDER BY seen_at, id LIMIT $3";

/// A page of who was heard of, by when that was, then by id.
pub(super) async fn heard(
    session: &Session<'_>,
    from: HeardFrom,
    limit: usize,
) -> Result<AgentsHeard, Fault> {
    let after = from.after.map(|after| uuid(after.as_bytes()));
    let most = whole(limit.saturating_add(1));
    let rows = session
        .query(HEARD, &[&from.since.as_micros(), &after, &most])
        .await?;
    let mut heard = AgentsHeard {
        agents: Vec::with_capacity(rows.len()),
        more: rows.len() > limit,
    };
    for row in rows.iter().take(limit) {
        let agent = AgentId::from_bytes(id_bytes(row, 0)?);
        heard.agents.push(AgentSeen {
            agent,
            at: Timestamp::from_micros(get(row, 1)?),
            beat: row::beat(row, agent, 2)?,
        });
    }
    Ok(heard)
}
