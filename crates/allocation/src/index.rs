//! Agents by what they can do, swapped whole when the registry changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use arbiter_core::model::{AgentId, RegisteredAgent, Shape, TaskKind, TenantId, Timestamp};

use crate::constraints::capable;

/// More requirement classes than this are forgotten together.
const MAX_SHAPES: usize = 4_096;

/// The agents as they were at one revision.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    pub(crate) agents: HashMap<AgentId, Arc<RegisteredAgent>>,
    /// When the registry had last told all that had changed.
    pub(crate) fresh_at: Timestamp,
    /// Whether an agent can serve a class, remembered: a decision looks at offered agents only.
    capable: RwLock<HashMap<(TenantId, Shape), Verdicts>>,
}

/// Which agents can serve a class, of those that were asked about.
type Verdicts = Arc<HashMap<AgentId, bool>>;

impl Snapshot {
    pub(crate) fn new(agents: HashMap<AgentId, Arc<RegisteredAgent>>, fresh_at: Timestamp) -> Self {
        Self {
            agents,
            fresh_at,
            capable: RwLock::default(),
        }
    }

    /// Which of the offered agents can serve a class, in the order of the offers.
    pub(crate) fn capable<'a>(
        &'a self,
        tenant: TenantId,
        shape: &Shape,
        offered: impl Iterator<Item = AgentId>,
    ) -> Vec<&'a RegisteredAgent> {
        let key = (tenant, shape.clone());
        let known = self
            .capable
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .cloned();
        let known = known.unwrap_or_default();
        let mut learnt: Option<HashMap<AgentId, bool>> = None;
        let mut found = Vec::new();
        for id in offered {
            let Some(agent) = self.agents.get(&id) else {
                continue;
            };
            let can = known.get(&id).copied().unwrap_or_else(|| {
                let can = capable(agent, tenant, shape);
                learnt
                    .get_or_insert_with(|| known.as_ref().clone())
                    .insert(id, can);
                can
            });
            if can {
                found.push(agent.as_ref());
            }
        }
        if let Some(learnt) = learnt {
            let mut shapes = self.capable.write().unwrap_or_else(PoisonError::into_inner);
            if shapes.len() >= MAX_SHAPES {
                shapes.clear();
            }
            shapes.insert(key, Arc::new(learnt));
        }
        found
    }

    /// How many agents take work, by kind.
    pub(crate) fn available(&self, takes_work: impl Fn(&RegisteredAgent) -> bool) -> BTreeMap<TaskKind, u64> {
        let mut counts = BTreeMap::new();
        for agent in self.agents.values() {
            let one = u64::from(takes_work(agent));
            for kind in &agent.profile.capabilities.kinds {
                *counts.entry(kind.clone()).or_default() += one;
            }
        }
        counts
    }
}
