//! What operators have set about the flow of work: implemented by `queue`, used by `orchestration`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{AgentId, TaskKind, TenantId};

/// Knows what operators have set about the flow of work.
pub trait Traffic: Send + Sync + 'static {
    /// The rules in force. Never blocks: it is asked before each claim.
    fn rules(&self) -> Arc<TrafficRules>;
}

/// Who may be served now, and how much of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrafficRules {
    /// Weights of tenants in their bands, 1–1000; a tenant that is not named has weight 1.
    pub weights: BTreeMap<TenantId, u32>,
    /// Nothing is assigned.
    pub paused: bool,
    /// Nothing of these tenants is assigned: they are paused or suspended.
    pub paused_tenants: BTreeSet<TenantId>,
    /// Nothing of these kinds is assigned, in one tenant or, where none is named, in any.
    pub paused_kinds: BTreeSet<(Option<TenantId>, TaskKind)>,
    /// Nothing is assigned to these agents.
    pub paused_agents: BTreeSet<AgentId>,
    /// How many tasks of a tenant may run at once.
    pub running_per_tenant: BTreeMap<TenantId, u32>,
    /// How many tasks of one kind of a tenant may run at once.
    pub running_per_kind: BTreeMap<(TenantId, TaskKind), u32>,
}

impl TrafficRules {
    /// Whether work of a tenant and kind may be assigned.
    pub fn permits(&self, tenant: TenantId, kind: &TaskKind) -> bool {
        !self.paused
            && !self.paused_tenants.contains(&tenant)
            && !self.paused_kinds.contains(&(Some(tenant), kind.clone()))
            && !self.paused_kinds.contains(&(None, kind.clone()))
    }
}

/// Rules that never change.
#[derive(Debug, Clone, Default)]
pub struct FixedTraffic(Arc<TrafficRules>);

impl FixedTraffic {
    /// These rules for ever.
    pub fn new(rules: TrafficRules) -> Self {
        Self(Arc::new(rules))
    }
}

impl Traffic for FixedTraffic {
    fn rules(&self) -> Arc<TrafficRules> {
        Arc::clone(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_paused_whole_by_tenant_and_by_kind() {
        let (one, other) = (TenantId::from_bytes([1; 16]), TenantId::from_bytes([2; 16]));
        let kind = |word| TaskKind::new(word).expect("a kind");
        let (analysis, writing) = (kind("analysis"), kind("writing"));
        let rules = TrafficRules {
            paused_kinds: [(Some(one), analysis.clone()), (None, writing.clone())].into(),
            ..TrafficRules::default()
        };
        assert!(!rules.permits(one, &analysis) && rules.permits(other, &analysis));
        assert!(!rules.permits(one, &writing) && !rules.permits(other, &writing));
        let rules = TrafficRules {
            paused_tenants: [one].into(),
            ..TrafficRules::default()
        };
        assert!(!rules.permits(one, &analysis) && rules.permits(other, &analysis));
        let rules = TrafficRules {
            paused: true,
            ..TrafficRules::default()
        };
        assert!(!rules.permits(other, &analysis));
        assert!(FixedTraffic::default().rules().permits(one, &analysis));
    }
}
