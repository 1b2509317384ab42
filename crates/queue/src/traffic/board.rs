//! The board: a snapshot of what operators have set, read on every path.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use arbiter_core::model::{TenantId, TenantScope};
use arbiter_core::ports::{Documents, Hint, StoreError, Wakeups};
use arbiter_core::services::{Traffic, TrafficRules};

use super::pause::{self, PauseTarget};
use crate::records::Shelf;
use crate::tenants::{self, Tenant, TenantLimits};

/// Knows tenants' weights, limits and suspensions, and what is paused, as of its last refresh. The records are the
/// truth; this is soft state of one node. The owner refreshes it at start and on a timer, services after each write.
pub struct TrafficBoard {
    tenants: Shelf,
    pauses: Shelf,
    wakeups: Arc<dyn Wakeups>,
    /// Counts refreshes, in the order in which they began.
    begun: AtomicU64,
    shown: RwLock<Shown>,
}

#[derive(Default)]
struct Shown {
    /// Which refresh it is of.
    refresh: u64,
    tenants: Arc<BTreeMap<TenantId, Arc<Terms>>>,
    rules: Arc<TrafficRules>,
}

/// What admission needs to know of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Terms {
    pub(crate) limits: TenantLimits,
    /// Refused, for a while or for good.
    pub(crate) suspended: bool,
    pub(crate) deleted: bool,
}

impl std::fmt::Debug for TrafficBoard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TrafficBoard").finish_non_exhaustive()
    }
}

impl TrafficBoard {
    /// A board of what `documents` keep, blank until its first refresh. Dispatchers hear of changes by `wakeups`.
    pub fn new(documents: &Arc<dyn Documents>, wakeups: Arc<dyn Wakeups>) -> Self {
        Self {
            tenants: Shelf::new(documents, tenants::KIND),
            pauses: Shelf::new(documents, pause::KIND),
            wakeups,
            begun: AtomicU64::new(0),
            shown: RwLock::default(),
        }
    }

    /// Reads everything again. What was stored before it began is in force when it returns.
    ///
    /// # Errors
    /// The store's; what was in force stays so.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let refresh = self.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let mut tenants = BTreeMap::new();
        let mut rules = TrafficRules::default();
        for kept in self.tenants.all(TenantScope::All).await? {
            let tenant = tenants::tenant(&kept)?;
            govern(&mut rules, &tenant);
            let terms = Terms {
                limits: tenant.limits,
                suspended: tenant.suspended.is_some() || tenant.deleted.is_some(),
                deleted: tenant.deleted.is_some(),
            };
            tenants.insert(tenant.id, Arc::new(terms));
        }
        for kept in self.pauses.all(TenantScope::All).await? {
            stop(&mut rules, pause::target(&kept)?);
        }
        if self.show(refresh, tenants, rules) {
            self.wakeups.publish(&[Hint::Agents]);
        }
        Ok(())
    }

    /// Shows what was read, unless a later refresh was quicker. Gives whether the rules changed.
    fn show(&self, refresh: u64, tenants: BTreeMap<TenantId, Arc<Terms>>, rules: TrafficRules) -> bool {
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        if refresh < shown.refresh {
            return false;
        }
        shown.refresh = refresh;
        shown.tenants = Arc::new(tenants);
        let changed = *shown.rules != rules;
        if changed {
            shown.rules = Arc::new(rules);
        }
        changed
    }

    /// What a tenant may do; nothing is set for one that is not known.
    pub(crate) fn terms(&self, tenant: TenantId) -> Option<Arc<Terms>> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.tenants.get(&tenant).cloned()
    }

    /// How many tenants there are.
    pub(crate) fn tenants(&self) -> usize {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        shown.tenants.values().filter(|terms| !terms.deleted).count()
    }
}

impl Traffic for TrafficBoard {
    fn rules(&self) -> Arc<TrafficRules> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&shown.rules)
    }
}

/// Puts what is set for a tenant into the rules.
fn govern(rules: &mut TrafficRules, tenant: &Tenant) {
    let id = tenant.id;
    if tenant.weight != 1 {
        rules.weights.insert(id, tenant.weight);
    }
    if tenant.suspended.is_some() || tenant.deleted.is_some() {
        rules.paused_tenants.insert(id);
    }
    if let Some(limit) = tenant.limits.running {
        rules.running_per_tenant.insert(id, limit);
    }
    for (kind, limit) in &tenant.limits.running_per_kind {
        rules.running_per_kind.insert((id, kind.clone()), *limit);
    }
}

/// Puts a pause into the rules.
fn stop(rules: &mut TrafficRules, target: PauseTarget) {
    match target {
        PauseTarget::Queue => rules.paused = true,
        PauseTarget::Tenant(tenant) => drop(rules.paused_tenants.insert(tenant)),
        PauseTarget::Kind { kind, tenant } => drop(rules.paused_kinds.insert((tenant, kind))),
        PauseTarget::Agent(agent) => drop(rules.paused_agents.insert(agent)),
    }
}
