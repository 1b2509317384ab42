//! Heartbeats, which are no change of the registry.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{AgentBeat, AgentId, AgentSeen, Timestamp};

use super::row;
use crate::error::Fault;
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

/// Who was heard of since a moment, by id.
pub(super) async fn heard(session: &Session<'_>, since: Timestamp) -> Result<Vec<AgentSeen>, Fault> {
    let rows = session
        .query(
            "SELECT id, seen_at, able, cpu, memory FROM agent WHERE seen_at >= $1 AND body IS NOT NULL",
            &[&since.as_micros()],
        )
        .await?;
    let mut heard = Vec::with_capacity(rows.len());
    for row in &rows {
        let agent = AgentId::from_bytes(id_bytes(row, 0)?);
        heard.push(AgentSeen {
            agent,
            at: Timestamp::from_micros(get(row, 1)?),
            beat: row::beat(row, agent, 2)?,
        });
    }
    heard.sort_unstable_by_key(|seen| seen.agent);
    Ok(heard)
}
