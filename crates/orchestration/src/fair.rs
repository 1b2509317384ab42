//! Who is served next: bands with a minimum share, weighted stride over tenants, age inside a tenant.
//!
//! Pure soft state of one dispatcher, rebuilt from the store's lanes at start and refreshed by what claims tell. It
//! plans quotas and charges only what was served, so work that was cancelled, delayed or refused costs its tenant
//! nothing. Lanes that nobody can serve now are stepped over in one step, however long their backlog.
//!
//! - **Between bands**: strict, but a band that has takeable work gets at least one of every
//!   [`FairSettings::minimum_share`] assignments. When several lower bands are due at once they are served one after
//!   the other, early enough for the last of them.
//! - **Between tenants of a band**: stride scheduling (Waldspurger and Weihl, "Stride Scheduling", MIT/LCS/TM-528,
//!   1995): each tenant has a pass value, the lowest is served, and being served moves it on by a stride that is
//!   inverse to the tenant's weight. A tenant that was idle starts at the present virtual time: it banked no credit. One
//!   that is ahead is remembered until the virtual time has caught up, so leaving and coming back gains nothing.
//! - **Inside a tenant**: the lane whose head has waited longest.

mod band;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use arbiter_core::model::{Band, LaneId, LaneKey, OrderKey, TenantId, Work};
use arbiter_core::ports::{LaneHead, LaneQuota};

use band::BandState;

/// Settings of the scheduler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FairSettings {
    /// A band with takeable work gets at least one of so many assignments; 20. At least 4, so that every lower band
    /// can have its turn.
    pub minimum_share: u32,
    /// Weights of tenants, 1–1000; tenants that are not named have weight 1.
    pub weights: BTreeMap<TenantId, u32>,
}

impl Default for FairSettings {
    fn default() -> Self {
        Self {
            minimum_share: 20,
            weights: BTreeMap::new(),
        }
    }
}

/// A lane with claimable work.
#[derive(Debug, Clone)]
struct Lane {
    key: LaneKey,
    head: OrderKey,
}

/// The scheduler.
#[derive(Debug, Clone)]
pub struct FairScheduler {
    settings: FairSettings,
    /// Set while it runs, before those of the settings.
    weights: BTreeMap<TenantId, u32>,
    lanes: BTreeMap<LaneId, Lane>,
    /// By the band's number.
    bands: [BandState; 4],
}

impl FairScheduler {
    /// A scheduler that knows no lane yet. Settings outside of their ranges are moved to the nearest end.
    pub fn new(mut settings: FairSettings) -> Self {
        settings.minimum_share = settings.minimum_share.max(4);
        settings
            .weights
            .values_mut()
            .for_each(|weight| *weight = (*weight).clamp(1, 1_000));
        Self {
            settings,
            weights: BTreeMap::new(),
            lanes: BTreeMap::new(),
            bands: Default::default(),
        }
    }

    /// Sets the weights of tenants, 1–1000, in the place of those that were set before; what is out of range is moved to
    /// the nearest end. Who was served already keeps what it was charged.
    pub fn set_weights(&mut self, weights: &BTreeMap<TenantId, u32>) {
        if self.weights != *weights {
            self.weights.clone_from(weights);
        }
    }

    /// Takes the store's answer about all lanes: what is not in it has no claimable work.
    pub fn observe(&mut self, heads: Vec<LaneHead>) {
        self.lanes = heads
            .into_iter()
            .map(|head| {
                (
                    head.lane,
                    Lane {
                        key: head.key,
                        head: head.first,
                    },
                )
            })
            .collect();
        for (number, band) in self.bands.iter_mut().enumerate() {
            let active = self
                .lanes
                .values()
                .filter(|lane| usize::from(lane.key.band.get()) == number);
            band.keep(active.map(|lane| lane.key.tenant).collect());
        }
    }

    /// The lanes with claimable work.
    pub fn lanes(&self) -> impl Iterator<Item = (LaneId, &LaneKey)> {
        self.lanes.iter().map(|(lane, known)| (*lane, &known.key))
    }

    /// The work of a lane that is known.
    pub fn work(&self, lane: LaneId) -> Option<&Work> {
        self.lanes.get(&lane).map(|known| &known.key.work)
    }

    /// Quotas for one claim of at most `batch` tasks, in the order in which they are due; a lane may stand there several
    /// times.
    /// `capacity` says how many tasks of a lane could be taken now; lanes that it does not name have none.
    pub fn plan(&mut self, batch: u32, capacity: &BTreeMap<LaneId, u32>) -> Vec<LaneQuota> {
        let mut open: [BTreeMap<TenantId, Vec<Open>>; 4] = Default::default();
        for (lane, known) in &self.lanes {
            let room = capacity.get(lane).copied().unwrap_or(0);
            if room > 0 {
                let tenants = &mut open[usize::from(known.key.band.get())];
                let lanes = tenants.entry(known.key.tenant).or_default();
                lanes.push(Open {
                    lane: *lane,
                    head: known.head,
                    room,
                });
            }
        }
        for (band, tenants) in self.bands.iter_mut().zip(&mut open) {
            band.takeable = !tenants.is_empty();
            tenants
                .values_mut()
                .for_each(|lanes| lanes.sort_by_key(|open| (open.head, open.lane)));
        }
        // What is planned is charged on a copy; the real state is charged for what is served.
        let mut bands = self.bands.clone();
        let mut quotas: Vec<LaneQuota> = Vec::new();
        for _ in 0..batch {
            let Some(band) = self.next_band(&bands) else { break };
            let tenants = &mut open[usize::from(band.get())];
            let state = &mut bands[usize::from(band.get())];
            let Some(tenant) = state.next(tenants.keys().copied()) else {
                break;
            };
            let Some(lane) = take(tenants, tenant) else { break };
            state.takeable = !tenants.is_empty();
            charge(&mut bands, band, tenant, self.weight(tenant), 1);
            match quotas.last_mut() {
                Some(quota) if quota.lane == lane => quota.take += 1,
                _ => quotas.push(LaneQuota { lane, take: 1 }),
            }
        }
        quotas
    }

    /// Charges a lane's tenant for `count` tasks. Call it in the order in which they were assigned.
    pub fn served(&mut self, lane: LaneId, count: u32) {
        if let Some(known) = self.lanes.get(&lane).filter(|_| count > 0) {
            let (band, tenant) = (known.key.band, known.key.tenant);
            let weight = self.weight(tenant);
            charge(&mut self.bands, band, tenant, weight, count);
        }
    }

    /// Notes what is at a lane's head now; `None` leaves the lane alone until the next [`Self::observe`].
    pub fn moved(&mut self, lane: LaneId, head: Option<OrderKey>) {
        match (self.lanes.get_mut(&lane), head) {
            (Some(known), Some(head)) => known.head = head,
            _ => drop(self.lanes.remove(&lane)),
        }
    }

    fn weight(&self, tenant: TenantId) -> u32 {
        let set = self.weights.get(&tenant);
        set.or_else(|| self.settings.weights.get(&tenant))
            .map_or(1, |weight| (*weight).clamp(1, 1_000))
    }

    /// The band to serve now: one that is due for its minimum share, else the highest with takeable work.
    fn next_band(&self, bands: &[BandState; 4]) -> Option<Band> {
        let takeable = || {
            Band::DESCENDING
                .into_iter()
                .filter(|band| bands[usize::from(band.get())].takeable)
        };
        let highest = takeable().next()?;
        let lower = || takeable().filter(|band| *band != highest);
        let waited = |band: &Band| bands[usize::from(band.get())].waited;
        // All lower bands may be due together: the first is served early enough for the last.
        let limit = self.settings.minimum_share.saturating_sub(lower().count() as u32);
        let due = lower()
            .filter(|band| waited(band) >= limit)
            .max_by_key(|band| (waited(band), *band));
        Some(due.unwrap_or(highest))
    }
}

/// A lane that can be served, and how many tasks of it.
#[derive(Debug)]
struct Open {
    lane: LaneId,
    head: OrderKey,
    room: u32,
}

/// Takes one task of a tenant's first lane; what has no room left goes.
fn take(tenants: &mut BTreeMap<TenantId, Vec<Open>>, tenant: TenantId) -> Option<LaneId> {
    let lanes = tenants.get_mut(&tenant)?;
    let first = lanes.first_mut()?;
    let lane = first.lane;
    first.room -= 1;
    if first.room == 0 {
        lanes.remove(0);
    }
    if lanes.is_empty() {
        tenants.remove(&tenant);
    }
    Some(lane)
}

/// Charges `count` assignments of a tenant in a band.
fn charge(bands: &mut [BandState; 4], band: Band, tenant: TenantId, weight: u32, count: u32) {
    for (number, state) in bands.iter_mut().enumerate() {
        if number == usize::from(band.get()) {
            state.waited = 0;
            state.charge(tenant, weight, count);
        } else if state.takeable {
            state.waited = state.waited.saturating_add(count);
        }
    }
}
