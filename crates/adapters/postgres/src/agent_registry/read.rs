//! Reading agents.

use std::collections::BTreeMap;

use arbiter_core::model::{AgentId, RegisteredAgent};
use arbiter_core::ports::{AgentChanges, AgentPage, AgentQuery, Revision};

use super::row::{agent, columns, id};
use crate::error::Fault;
use crate::number::{natural, whole};
use crate::session::{Session, get, uuid};

const BY_ID: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM agent WHERE id = ANY($1) AND body IS NOT NULL"
);

const CHANGES: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM agent WHERE revision > $1 ORDER BY revision LIMIT $2"
);

const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM agent WHERE id > $1 AND body IS NOT NULL ORDER BY id LIMIT $2"
);

/// Agents in the order of the ids.
pub(super) async fn get_all(
    session: &Session<'_>,
    ids: &[AgentId],
) -> Result<Vec<Option<RegisteredAgent>>, Fault> {
    let wanted: Vec<_> = ids.iter().map(|id| uuid(id.as_bytes())).collect();
    let mut found = BTreeMap::new();
    for row in session.query(BY_ID, &[&wanted]).await? {
        found.insert(id(&row)?, agent(&row)?);
    }
    Ok(ids.iter().map(|id| found.get(id).cloned().flatten()).collect())
}

pub(super) async fn changes(
    session: &Session<'_>,
    after: Revision,
    limit: usize,
) -> Result<AgentChanges, Fault> {
    let mut changes = AgentChanges {
        revision: after,
        ..AgentChanges::default()
    };
    let rows = session
        .query(CHANGES, &[&whole(after.0), &whole(limit.saturating_add(1))])
        .await?;
    changes.more = rows.len() > limit;
    for row in rows.iter().take(limit) {
        match agent(row)? {
            Some(agent) => changes.agents.push(agent),
            None => changes.removed.push(id(row)?),
        }
        changes.revision = Revision(natural(get(row, 6)?));
    }
    Ok(changes)
}

/// A page of the agents that the session may see; row-level security hides those of other tenants.
pub(super) async fn list(session: &Session<'_>, query: AgentQuery) -> Result<AgentPage, Fault> {
    let limit = query.limit.clamp(1, 1_000);
    let after = query.after.map_or([0; 16], |after| *after.as_bytes());
    let rows = session.query(LIST, &[&uuid(&after), &whole(limit + 1)]).await?;
    let mut page = AgentPage::default();
    for row in rows.iter().take(limit) {
        page.agents.extend(agent(row)?);
    }
    if rows.len() > limit {
        page.next = page.agents.last().map(|last| last.profile.id);
    }
    Ok(page)
}
