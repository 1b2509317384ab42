//! The row of an agent.

use arbiter_core::model::{AgentBeat, AgentId, Ratio, RegisteredAgent, Timestamp};
use arbiter_wire::stored::decode_agent;
use tokio_postgres::Row;

use crate::error::Fault;
use crate::session::{get, id_bytes};

/// The columns that [`agent`] reads.
macro_rules! columns {
    () => {
        "body, seen_at, able, cpu, memory, id, revision"
    };
}
pub(super) use columns;

/// The agent of a row; none if it was removed.
pub(super) fn agent(row: &Row) -> Result<Option<RegisteredAgent>, Fault> {
    let Some(body) = get::<Option<&str>>(row, 0)? else {
        return Ok(None);
    };
    let mut agent = decode_agent(body)?;
    agent.seen_at = Timestamp::from_micros(get(row, 1)?);
    agent.beat = beat(row, agent.profile.id, 2)?;
    Ok(Some(agent))
}

/// The id of a row.
pub(super) fn id(row: &Row) -> Result<AgentId, Fault> {
    Ok(AgentId::from_bytes(id_bytes(row, 5)?))
}

/// The latest heartbeat of an agent, in three columns from `first` on.
pub(super) fn beat(row: &Row, agent: AgentId, first: usize) -> Result<Option<AgentBeat>, Fault> {
    let share = |column: usize| -> Result<Option<Ratio>, Fault> {
        let millionths: Option<i32> = get(row, column)?;
        let ratio = millionths.map(|millionths| Ratio::new(f64::from(millionths) / 1e6));
        ratio.transpose().map_err(|_| Fault::Damaged("heartbeat"))
    };
    let Some(able) = get::<Option<bool>>(row, first)? else {
        return Ok(None);
    };
    Ok(Some(AgentBeat {
        agent,
        able,
        cpu: share(first + 1)?,
        memory: share(first + 2)?,
    }))
}

/// A share as it is stored; a share is at most a million millionths.
pub(super) fn share(ratio: Option<Ratio>) -> Option<i32> {
    ratio.map(|ratio| i32::try_from(ratio.millionths()).unwrap_or(i32::MAX))
}
