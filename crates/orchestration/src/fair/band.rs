//! The tenants of one band: stride scheduling.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::TenantId;

/// The stride of a tenant of weight 1. Divisible by every weight up to 1000 without a rounding error that matters:
/// the error of a stride is below 10⁻⁹ of it.
const STRIDE: u128 = 1 << 40;

/// One band.
#[derive(Debug, Clone, Default)]
pub(super) struct BandState {
    /// Whether somebody could take work of the band when it was last planned.
    pub(super) takeable: bool,
    /// Assignments of other bands since this one was served, while it had takeable work.
    pub(super) waited: u32,
    /// The pass value of the tenant that was served last.
    virtual_time: u128,
    /// Pass values; a tenant that is not here stands at the virtual time.
    passes: BTreeMap<TenantId, u128>,
}

impl BandState {
    /// The tenant to serve now: the lowest pass, then the lowest id.
    pub(super) fn next(&self, tenants: impl Iterator<Item = TenantId>) -> Option<TenantId> {
        tenants.min_by_key(|tenant| (self.pass(*tenant), *tenant))
    }

    /// Moves a tenant on by `count` strides.
    pub(super) fn charge(&mut self, tenant: TenantId, weight: u32, count: u32) {
        let pass = self.pass(tenant);
        self.virtual_time = self.virtual_time.max(pass);
        self.passes.insert(
            tenant,
            pass + STRIDE * u128::from(count) / u128::from(weight.max(1)),
        );
    }

    /// Forgets tenants without work that are not ahead of the virtual time: they would start there anyway.
    pub(super) fn keep(&mut self, active: BTreeSet<TenantId>) {
        let now = self.virtual_time;
        self.passes
            .retain(|tenant, pass| active.contains(tenant) || *pass > now);
    }

    /// How many tenants are remembered.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.passes.len()
    }

    fn pass(&self, tenant: TenantId) -> u128 {
        self.passes.get(&tenant).copied().unwrap_or(self.virtual_time)
    }
}
