//! Lanes: their names, their heads, and which of them have claimable work.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arbiter_core::model::{LaneId, LaneKey, OrderKey};
use arbiter_core::ports::{LaneHead, LaneQuota};
use arbiter_wire::stored::decode_lane;

use crate::error::Fault;
use crate::number::whole;
use crate::session::{Session, get};

/// How many names are remembered; more, and all are forgotten.
const REMEMBERED: usize = 20_000;

const NAMES: &str = "SELECT lane, body FROM lane WHERE lane = ANY($1)";

/// The first claimable task of each lane.
pub(super) const FIRST: &str = "SELECT q.lane, t.order_key FROM unnest($1::bigint[]) AS q (lane)
     CROSS JOIN LATERAL (
       SELECT order_key FROM task WHERE lane = q.lane AND state IN (0, 4) ORDER BY order_key, id LIMIT 1) AS t";

/// A loose index scan: its cost is the number of lanes that have work, whatever their backlog.
const LANES: &str = "WITH RECURSIVE head AS (
       (SELECT lane, order_key FROM task WHERE state IN (0, 4) AND lane >= $1
        ORDER BY lane, order_key, id LIMIT 1)
       UNION ALL
       SELECT n.lane, n.order_key FROM head CROSS JOIN LATERAL (
         SELECT lane, order_key FROM task WHERE state IN (0, 4) AND lane > head.lane
         ORDER BY lane, order_key, id LIMIT 1) AS n)
     SELECT h.lane, h.order_key, l.body FROM (SELECT * FROM head LIMIT $2) AS h
     LEFT JOIN lane AS l ON l.lane = h.lane ORDER BY h.lane";

/// Names of lanes. A lane's number is a hash of its name, so a name that is remembered is never stale.
#[derive(Debug, Clone, Default)]
pub(crate) struct LaneNames(Arc<Mutex<HashMap<LaneId, Arc<LaneKey>>>>);

impl LaneNames {
    /// The names of the asked lanes; without those that were never used.
    pub(super) async fn read(
        &self,
        session: &Session<'_>,
        quotas: &[LaneQuota],
    ) -> Result<BTreeMap<LaneId, Arc<LaneKey>>, Fault> {
        let mut found = self.remembered(quotas);
        let missing: BTreeSet<i64> = (quotas.iter())
            .filter(|quota| !found.contains_key(&quota.lane))
            .map(|quota| quota.lane.0)
            .collect();
        if missing.is_empty() {
            return Ok(found);
        }
        let rows = session.query(NAMES, &[&Vec::from_iter(missing)]).await?;
        for row in &rows {
            found.insert(LaneId(get(row, 0)?), Arc::new(decode_lane(get(row, 1)?)?));
        }
        self.remember(&found);
        Ok(found)
    }

    fn remembered(&self, quotas: &[LaneQuota]) -> BTreeMap<LaneId, Arc<LaneKey>> {
        let names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = quotas
            .iter()
            .filter_map(|quota| Some((quota.lane, Arc::clone(names.get(&quota.lane)?))));
        known.collect()
    }

    fn remember(&self, found: &BTreeMap<LaneId, Arc<LaneKey>>) {
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() + found.len() > REMEMBERED {
            names.clear();
        }
        names.extend(found.iter().map(|(lane, key)| (*lane, Arc::clone(key))));
    }
}

/// The order keys at the heads of lanes; without lanes that have no claimable work.
pub(super) async fn heads(
    session: &Session<'_>,
    lanes: &BTreeSet<LaneId>,
) -> Result<BTreeMap<LaneId, OrderKey>, Fault> {
    let lanes: Vec<i64> = lanes.iter().map(|lane| lane.0).collect();
    if lanes.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = session.query(FIRST, &[&lanes]).await?;
    let heads = rows
        .iter()
        .map(|row| Ok((LaneId(get(row, 0)?), OrderKey(get(row, 1)?))));
    heads.collect()
}

/// Lanes with claimable work, by id.
pub(super) async fn lanes(
    session: &Session<'_>,
    after: Option<LaneId>,
    limit: usize,
) -> Result<Vec<LaneHead>, Fault> {
    let Some(start) = after.map_or(Some(i64::MIN), |lane| lane.0.checked_add(1)) else {
        return Ok(Vec::new());
    };
    let rows = session.query(LANES, &[&start, &whole(limit)]).await?;
    let heads = rows.iter().map(|row| {
        let body: Option<&str> = get(row, 2)?;
        Ok(LaneHead {
            lane: LaneId(get(row, 0)?),
            key: decode_lane(body.ok_or(Fault::Damaged("lane"))?)?,
            first: OrderKey(get(row, 1)?),
        })
    });
    heads.collect()
}
