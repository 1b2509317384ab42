//! The eraser: does what erasures ask for, in bounded rounds, on one node at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::model::{NodeId, TaskId, TenantId, TenantScope};
use arbiter_core::ports::{
    AgentRegistry, ArtifactStore, AuditLog, BoxError, Clock, LeaseStore, Outbox, StopSignal, StoreError,
    TaskReader, TaskStore, Wakeups,
};
use futures_util::{FutureExt as _, select_biased};

use super::record::{Body, OPEN, STATE};
use super::service::Erasures;
use crate::keys::ApiKeys;
use crate::records::Kept;
use crate::tenants::Tenants;

/// The name that one node at a time holds.
const LEASE: &str = "erasures";
/// So many erasures are served in one round.
const ROUND: usize = 16;

/// What the eraser needs.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct EraserParts {
    /// What is asked for.
    pub erasures: Arc<Erasures>,
    /// Where the end of a deleted tenant is noted.
    pub tenants: Arc<Tenants>,
    /// Keeps keys.
    pub keys: Arc<ApiKeys>,
    /// Keeps tasks.
    pub store: Arc<dyn TaskStore>,
    /// Reads them.
    pub reader: Arc<dyn TaskReader>,
    /// Keeps agents.
    pub agents: Arc<dyn AgentRegistry>,
    /// Keeps files.
    pub artifacts: Arc<dyn ArtifactStore>,
    /// Keeps what is to be told outside.
    pub outbox: Arc<dyn Outbox>,
    /// The audit log.
    pub audit: Arc<dyn AuditLog>,
    /// Says which node erases.
    pub leases: Arc<dyn LeaseStore>,
    /// Wakes dispatchers and watchers.
    pub wakeups: Arc<dyn Wakeups>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// This node.
    pub node: NodeId,
}

/// What a deployment can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EraserSettings {
    /// How many tasks are erased together; 500.
    pub tasks: usize,
    /// How many artifacts and records are deleted together; 200.
    pub records: usize,
    /// How many entries of the audit log are looked at together; 10 000.
    pub entries: usize,
    /// How long after it was asked for an erasure begins: calls that were let in before have ended then; 2 s.
    pub settle: Duration,
    /// For how long a node is the eraser unless it says so again; 45 s.
    pub lease: Duration,
    /// How long to wait for attempts to give back their slots, before a look at them; 1 s.
    pub pause: Duration,
    /// A round is done at least this often; 30 s.
    pub longest_wait: Duration,
    /// How long to wait after an error; 5 s.
    pub after_error: Duration,
}

impl Default for EraserSettings {
    fn default() -> Self {
        Self {
            tasks: 500,
            records: 200,
            entries: 10_000,
            settle: Duration::from_secs(2),
            lease: Duration::from_secs(45),
            pause: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
            after_error: Duration::from_secs(5),
        }
    }
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasureRound {
    /// How many erasures were finished.
    pub finished: usize,
    /// How many go on.
    pub open: usize,
    /// How long to wait before the next one, unless another erasure is asked for.
    pub wait: Duration,
}

/// How far a pass over the audit log is.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// The next entry.
    pub(super) from: u64,
    /// The tasks of the person that were met on the way.
    pub(super) tasks: Vec<TaskId>,
}

/// What a step of one erasure came to.
pub(super) enum Step {
    /// There is more to do.
    More,
    /// Attempts hold slots yet.
    Wait,
    /// It is finished.
    Finished,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another store than that of the records failed.
    #[error("{operation} failed")]
    Other {
        operation: &'static str,
        source: BoxError,
    },
}

/// Does what erasures ask for. Of all nodes, one at a time does; what it has begun when it dies, the next one ends.
pub struct Eraser {
    pub(super) parts: EraserParts,
    pub(super) settings: EraserSettings,
    /// Where in the audit log each erasure is, by its id and the revision of its record. Soft: a pass that was broken
    /// off by a crash, or by another node's turn, is begun anew.
    pub(super) places: Mutex<BTreeMap<(String, u64), Place>>,
    /// Where the next round goes on, so that erasures that cannot go on keep no other ones waiting.
    after: Mutex<Option<(TenantId, String)>>,
}

impl std::fmt::Debug for Eraser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Eraser")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Eraser {
    /// An eraser on this node.
    pub const fn new(parts: EraserParts, settings: EraserSettings) -> Self {
        Self {
            parts,
            settings,
            places: Mutex::new(BTreeMap::new()),
            after: Mutex::new(None),
        }
    }

    /// Runs until told to stop.
    ///
    /// # Cancel safety
    /// Safe: what was broken off is ended by the next round, here or on another node.
    pub async fn run(&self, stop: &dyn StopSignal) {
        let mut stopped = stop.stopped().fuse();
        loop {
            let wait = match self.round().await {
                Ok(round) => round.wait,
                Err(error) => {
                    tracing::error!(event = "erasures_failed", error = %error, "erasures could not be read");
                    self.settings.after_error
                }
            };
            let clock = &self.parts.clock;
            let until = clock.monotonic() + wait;
            select_biased! {
                () = stopped => break,
                () = clock.sleep_until(until).fuse() => {}
                () = self.parts.erasures.asked.notified().fuse() => {}
            }
        }
        self.give_back().await;
    }

    /// Rounds until what is left waits for attempts to give back their slots, or nothing is left. Then another node may
    /// erase.
    ///
    /// # Errors
    /// As for [`Self::round`].
    ///
    /// # Cancel safety
    /// As for [`Self::run`].
    pub async fn finish(&self) -> Result<ErasureRound, StoreError> {
        loop {
            let round = self.round().await?;
            if !round.wait.is_zero() {
                self.give_back().await;
                return Ok(round);
            }
        }
    }

    async fn give_back(&self) {
        let given = self.parts.leases.give_back(LEASE, self.parts.node).await;
        if let Err(error) = given {
            tracing::debug!(event = "turn_not_given_back", error = %error, "the eraser's lease ends by itself");
        }
    }

    /// One bounded round: takes each erasure a step further, if this node is the eraser.
    ///
    /// # Errors
    /// The store's, when nothing could be read. An erasure that fails keeps no other one waiting.
    ///
    /// # Cancel safety
    /// As for [`Self::run`].
    pub async fn round(&self) -> Result<ErasureRound, StoreError> {
        let mut round = ErasureRound {
            finished: 0,
            open: 0,
            wait: self.settings.longest_wait,
        };
        let parts = &self.parts;
        let turn = parts.leases.take(LEASE, parts.node, self.settings.lease).await?;
        if turn.is_none() {
            return Ok(round);
        }
        let open = Some((STATE, OPEN.to_owned()));
        let records = &parts.erasures.records;
        let after = self.after.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_first = after.is_none();
        let found = records.list::<Body>(TenantScope::All, open, after, ROUND).await?;
        let is_full = found.len() == ROUND;
        let last = found.last().filter(|_| is_full);
        let next = last.map(|kept| (kept.tenant, kept.id.clone()));
        *self.after.lock().unwrap_or_else(PoisonError::into_inner) = next;
        if is_full || !is_first {
            // There are others, before or behind.
            round.wait = self.settings.pause;
        }
        for kept in found {
            let id = kept.id.clone();
            match self.step(kept).await {
                Ok(Step::Finished) => {
                    round.finished += 1;
                    tracing::info!(event = "erasure_finished", erasure.id = %id, "an erasure is finished");
                    continue;
                }
                Ok(Step::More) => round.wait = Duration::ZERO,
                Ok(Step::Wait) => round.wait = round.wait.min(self.settings.pause),
                Err(error) => {
                    tracing::error!(
                        event = "erasure_failed",
                        erasure.id = %id,
                        error = &error as &dyn std::error::Error,
                        "an erasure could not go on; it is tried again"
                    );
                    round.wait = round.wait.min(self.settings.after_error);
                }
            }
            round.open += 1;
        }
        Ok(round)
    }

    /// Takes an erasure one bounded step further.
    async fn step(&self, kept: Kept<Body>) -> Result<Step, StepError> {
        let tenant = kept.tenant;
        let step = self.work(kept).await?;
        if matches!(step, Step::More | Step::Finished) {
            tracing::debug!(event = "erasure_step", tenant.id = %tenant, "an erasure went on");
        }
        Ok(step)
    }
}
