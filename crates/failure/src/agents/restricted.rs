//! An allocator that gives restricted agents no work.

use std::sync::Arc;

use arbiter_core::model::{Shape, TenantId};
use arbiter_core::ports::{Chooser, Clock, RegistryError};
use arbiter_core::services::{Allocator, AttemptOutcome, Offer};
use async_trait::async_trait;

use super::restriction::Gate;
use super::restrictions::Restrictions;
use crate::manager::FailureManager;

/// Leaves out agents whose breaker is open, lets half-open ones try one task, keeps kinds in quarantine away; and tells the
/// failure domain how attempts ended.
pub struct RestrictedAllocator {
    inner: Arc<dyn Allocator>,
    restrictions: Arc<Restrictions>,
    failures: Arc<FailureManager>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for RestrictedAllocator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestrictedAllocator").finish_non_exhaustive()
    }
}

impl RestrictedAllocator {
    /// Around `inner`.
    pub fn new(inner: Arc<dyn Allocator>, failures: Arc<FailureManager>, clock: Arc<dyn Clock>) -> Self {
        Self {
            inner,
            restrictions: Arc::clone(failures.restrictions()),
            failures,
            clock,
        }
    }

    fn restrict(&self, offers: Vec<Offer>) -> Vec<Offer> {
        let all = self.restrictions.all();
        if all.is_empty() {
            return offers;
        }
        let now = self.clock.now();
        let left = offers.into_iter().filter_map(|mut offer| {
            let Some(restriction) = all.get(&offer.agent) else {
                return Some(offer);
            };
            match restriction.gate(now) {
                Gate::Open => return None,
                Gate::HalfOpen => offer.free = offer.free.min(1),
                Gate::Closed => {}
            }
            let kinds = restriction.quarantined(now).into_iter().map(|(kind, _)| kind);
            offer.without.extend(kinds);
            Some(offer)
        });
        left.collect()
    }
}

#[async_trait]
impl Allocator for RestrictedAllocator {
    fn capacity(&self, shapes: &[(TenantId, Shape)], offers: &[Offer]) -> Vec<u32> {
        if self.restrictions.all().is_empty() {
            return self.inner.capacity(shapes, offers);
        }
        self.inner.capacity(shapes, &self.restrict(offers.to_vec()))
    }

    fn chooser(&self, offers: Vec<Offer>) -> Arc<dyn Chooser> {
        self.inner.chooser(self.restrict(offers))
    }

    async fn learn(&self, outcomes: Vec<AttemptOutcome>) -> Result<(), RegistryError> {
        for outcome in &outcomes {
            self.failures
                .attempted(outcome.agent, &outcome.kind, outcome.succeeded)
                .await;
        }
        self.inner.learn(outcomes).await
    }
}
