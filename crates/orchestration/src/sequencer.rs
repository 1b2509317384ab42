//! Gives audit leaves their places where the store does not do so in its commits.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::NodeId;
use arbiter_core::ports::{AuditTree, Clock, LeaseStore, StoreError, TreeHead};
use futures_util::{FutureExt as _, select_biased};

use crate::stop::Stop;

/// The lease of the node whose turn it is.
const LEASE: &str = "audit/sequencer";

/// How long a turn lasts: when its node dies, the next one begins so much later.
const TURN: Duration = Duration::from_secs(3);

/// How often leaves are placed. Followers of the log see a leaf so much later, at most.
const EVERY: Duration = Duration::from_millis(250);

/// How often a node whose turn it is not asks for one, and how often the other renews its own.
const ASK: Duration = Duration::from_secs(1);

/// Places leaves, one node at a time.
///
/// The election only saves work: the log is right with any number of nodes that place leaves at the same time.
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct Sequencer {
    /// The tree.
    pub tree: Arc<dyn AuditTree>,
    /// Says whose turn it is.
    pub leases: Arc<dyn LeaseStore>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// This node.
    pub node: NodeId,
}

impl Sequencer {
    /// Runs until told to stop; what is placed by then is for the next node.
    ///
    /// # Cancel safety
    /// Safe: rounds are idempotent.
    pub async fn run(&self, stop: Stop) {
        let (mut has_turn, mut ask_at) = (false, self.clock.monotonic());
        while !stop.is_stopped() {
            if self.clock.monotonic() >= ask_at {
                has_turn = self.take_turn().await;
                ask_at = self.clock.monotonic() + ASK;
            }
            if has_turn && let Err(error) = self.round().await {
                tracing::error!(event = "audit_not_sequenced", error = %error, "leaves of the audit log could not be placed; it is tried again");
            }
            let until = self.clock.monotonic() + if has_turn { EVERY } else { ASK };
            select_biased! {
                () = stop.wait().fuse() => {}
                () = self.clock.sleep_until(until).fuse() => {}
            }
        }
        if let Err(error) = self.leases.give_back(LEASE, self.node).await {
            tracing::warn!(event = "turn_not_given_back", error = %error, "another node places audit leaves when this one's turn has ended");
        }
    }

    /// Places everything that has no place yet.
    ///
    /// # Errors
    /// The store's.
    pub async fn round(&self) -> Result<TreeHead, StoreError> {
        self.tree.sequence(usize::MAX).await
    }

    async fn take_turn(&self) -> bool {
        match self.leases.take(LEASE, self.node, TURN).await {
            Ok(turn) => turn.is_some(),
            Err(error) => {
                tracing::error!(event = "turn_not_taken", error = %error, "it is not known whose turn it is to place audit leaves");
                false
            }
        }
    }
}
