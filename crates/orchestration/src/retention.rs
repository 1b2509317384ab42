//! Retention: closed tasks and details of the audit log go when they are old enough.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{NodeId, RecordDraft, TenantId, TenantScope};
use arbiter_core::ports::{
    AuditLog, Clock, Effects, LeaseStore, Metrics, Purge, Retention, Seal, StoreError, TaskStore,
};
use futures_util::{FutureExt as _, select_biased};

use crate::stop::Stop;

/// How often the store is looked through.
const EVERY: Duration = Duration::from_hours(1);
/// The lease of the node that sweeps, and how long it lasts unless that node sweeps again.
const LEASE: &str = "retention";
const TURN: Duration = Duration::from_mins(90);
/// So many tasks are deleted together.
const TASKS: usize = 500;
/// So many entries of the audit log are looked at together.
const ENTRIES: usize = 10_000;

/// Deletes what is older than it is to be kept. Leaves of the audit log are kept for good, only their details go.
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct RetentionSweep {
    /// Keeps tasks.
    pub store: Arc<dyn TaskStore>,
    /// Keeps the audit log.
    pub audit: Arc<dyn AuditLog>,
    /// Tells the time, as the store does.
    pub clock: Arc<dyn Clock>,
    /// Takes measurements.
    pub metrics: Arc<dyn Metrics>,
    /// How long a closed task is kept, at least a day; for good, when it is absent.
    pub tasks: Option<Duration>,
    /// How long details of the audit log are kept; for good, when it is absent.
    pub details: Option<Duration>,
    /// Where several nodes share the store: who of them sweeps, and which one this is.
    pub turn: Option<(Arc<dyn LeaseStore>, NodeId)>,
}

/// What a sweep deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// How many closed tasks.
    pub tasks: usize,
    /// How many details of the audit log.
    pub details: u64,
}

impl RetentionSweep {
    /// Runs until told to stop.
    ///
    /// # Cancel safety
    /// Safe: sweeps are idempotent.
    pub async fn run(&self, stop: Stop) {
        while !stop.is_stopped() {
            let swept = match self.has_turn().await {
                Ok(true) => self.sweep(&stop).await,
                Ok(false) => Ok(Swept::default()),
                Err(error) => Err(error),
            };
            match swept {
                Ok(swept) if swept != Swept::default() => tracing::info!(
                    event = "retention_swept",
                    tasks = swept.tasks,
                    details = swept.details,
                    "what was old enough was deleted"
                ),
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(event = "retention_failed", error = %error, "what is old enough could not be deleted; it is tried again");
                }
            }
            let until = self.clock.monotonic() + EVERY;
            select_biased! {
                () = stop.wait().fuse() => {}
                () = self.clock.sleep_until(until).fuse() => {}
            }
        }
        if let Some((leases, node)) = &self.turn
            && let Err(error) = leases.give_back(LEASE, *node).await
        {
            tracing::warn!(event = "turn_not_given_back", error = %error, "another node sweeps when this one's turn has ended");
        }
    }

    /// Whether it is for this node to sweep.
    async fn has_turn(&self) -> Result<bool, StoreError> {
        match &self.turn {
            None => Ok(true),
            Some((leases, node)) => Ok(leases.take(LEASE, *node, TURN).await?.is_some()),
        }
    }

    /// Deletes all that is old enough now, in bounded steps, unless told to stop.
    ///
    /// # Errors
    /// The store's; what was deleted before stays so.
    ///
    /// # Cancel safety
    /// As for [`Self::run`].
    pub async fn sweep(&self, stop: &Stop) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        if let Some(kept) = self.tasks {
            swept.tasks = self.tasks(kept.max(Duration::from_hours(24)), stop).await?;
        }
        if let Some(kept) = self.details {
            swept.details = self.details(kept, stop).await?;
        }
        self.metrics
            .count("retention.tasks_purged_total", &[], swept.tasks as u64);
        self.metrics
            .count("retention.details_sealed_total", &[], swept.details);
        Ok(swept)
    }

    async fn tasks(&self, kept: Duration, stop: &Stop) -> Result<usize, StoreError> {
        let closed_before = self.clock.now().minus(kept);
        let mut count = 0;
        while !stop.is_stopped() {
            let retention = Retention {
                keyed_before: Some(self.clock.now().minus(Duration::from_hours(24))),
                which: Purge::ClosedBefore(closed_before),
                limit: TASKS,
                effects: Effects::default(),
            };
            let purged = self.store.purge(retention).await?;
            count += purged;
            if purged < TASKS {
                break;
            }
        }
        Ok(count)
    }

    async fn details(&self, kept: Duration, stop: &Stop) -> Result<u64, StoreError> {
        let mut rule = Seal {
            scope: TenantScope::All,
            before: Some(self.clock.now().minus(kept)),
            about: None,
            submitted_by: None,
            told: TenantId::SYSTEM,
            from: 0,
            limit: ENTRIES,
        };
        let mut count = 0;
        while !stop.is_stopped() {
            let sealed = self.audit.seal(rule.clone(), RecordDraft::default()).await?;
            count += sealed.removed;
            match sealed.next {
                Some(next) => rule.from = next,
                None => break,
            }
        }
        Ok(count)
    }
}
