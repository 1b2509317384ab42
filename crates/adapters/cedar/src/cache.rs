//! Decisions by class: what the default policies look at, and nothing else.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use arbiter_core::model::{Operation, Principal, PrincipalKind, Role, SecurityLevel, Target};
use arbiter_core::ports::Verdict;

/// More classes than this are forgotten together.
const MAX_CLASSES: usize = 16_384;

/// Everything that a decision of the default policies depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Class {
    kind: PrincipalKind,
    roles: u8,
    shared: bool,
    operation: Operation,
    same_tenant: Option<bool>,
    own_submission: Option<bool>,
    own_agent: Option<bool>,
    own_lease: Option<bool>,
    has_agent: bool,
    band: Option<u8>,
    highest_band: u8,
    security: Option<SecurityLevel>,
}

impl Class {
    pub(crate) fn of(principal: &Principal, operation: Operation, target: &Target) -> Self {
        let role = |(number, role): (usize, &Role)| u8::from(principal.roles.contains(role)) << number;
        Self {
            kind: principal.kind,
            roles: Role::ALL.iter().enumerate().map(role).sum(),
            shared: principal.is_shared(),
            operation,
            same_tenant: target.tenant.map(|tenant| tenant == principal.tenant),
            own_submission: target.submitter.map(|submitter| submitter == principal.id),
            own_agent: target.agent.map(|agent| Some(agent) == principal.agent),
            own_lease: target.holder.map(|holder| Some(holder) == principal.agent),
            has_agent: principal.agent.is_some(),
            band: target.band.map(arbiter_core::model::Band::get),
            highest_band: principal.highest_band.get(),
            security: target.security,
        }
    }
}

/// Verdicts by class, for one version of the policies.
#[derive(Debug, Default)]
pub(crate) struct Cache(RwLock<HashMap<Class, Verdict>>);

impl Cache {
    pub(crate) fn get(&self, class: &Class) -> Option<Verdict> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(class)
            .copied()
    }

    pub(crate) fn put(&self, class: Class, verdict: Verdict) {
        let mut verdicts = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if verdicts.len() >= MAX_CLASSES {
            verdicts.clear();
        }
        verdicts.insert(class, verdict);
    }
}
