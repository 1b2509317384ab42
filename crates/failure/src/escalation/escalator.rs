//! Tells the next level when it is due.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{AuditAction, IncidentId, Timestamp};
use arbiter_core::ports::{Clock, StopSignal, StoreError};
use futures_util::{FutureExt as _, select_biased};
use tokio::sync::Notify;

use super::step::advance;
use super::store::Policies;
use crate::incident::{Book, IncidentRecord, OPEN, Writes};
use crate::records::{Kept, written};

/// It looks at least this often: incidents are opened by other nodes too.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// How long to wait after an error of the store.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// How many open incidents one look reads.
const PAGE: usize = 200;

/// Moves open incidents from level to level. Any number of nodes may do so: a level is told by the one whose write of the
/// incident comes first.
pub struct Escalator {
    pub(crate) book: Book,
    pub(crate) policies: Arc<Policies>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Given when an incident was opened or changed here.
    pub(crate) changed: Arc<Notify>,
    /// Given when there are new notices.
    pub(crate) notices: Arc<Notify>,
}

impl std::fmt::Debug for Escalator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Escalator").finish_non_exhaustive()
    }
}

impl Escalator {
    /// Runs until told to stop.
    ///
    /// # Cancel safety
    /// Safe: what is due stays due.
    pub async fn run(&self, stop: &dyn StopSignal) {
        let mut stopped = stop.stopped().fuse();
        loop {
            let wait = match self.round().await {
                Ok(Some(next)) => next.since(self.clock.now()).min(LONGEST_WAIT),
                Ok(None) => LONGEST_WAIT,
                Err(error) => {
                    tracing::error!(event = "escalation_failed", error = %error, "incidents could not be escalated");
                    AFTER_ERROR
                }
            };
            let until = self.clock.monotonic() + wait;
            select_biased! {
                () = stopped => return,
                () = self.changed.notified().fuse() => {}
                () = self.clock.sleep_until(until).fuse() => {}
            }
        }
    }

    /// Does what is due now. Gives when the next step is.
    ///
    /// # Errors
    /// The store's.
    pub async fn round(&self) -> Result<Option<Timestamp>, StoreError> {
        let (mut next, mut after) = (None::<Timestamp>, None);
        loop {
            let index = Some((OPEN.0, OPEN.1.to_owned()));
            let page = self
                .book
                .incidents
                .list::<IncidentRecord>(index, after, PAGE)
                .await?;
            let more = page.len() >= PAGE;
            after = page.last().map(|kept| kept.id.clone());
            for kept in page {
                let due = self.step(kept).await?;
                next = [next, due].into_iter().flatten().min();
            }
            if !more {
                return Ok(next);
            }
        }
    }

    /// One incident: tells whom it is time to tell, and gives when the next step is due.
    async fn step(&self, mut kept: Kept<IncidentRecord>) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now();
        let due = kept.body.escalation.next_at;
        if due.is_none_or(|due| due > now) {
            return Ok(due);
        }
        let Ok(id) = kept.id.parse::<IncidentId>() else {
            return Ok(None);
        };
        let policy = match &kept.body.escalation.policy {
            Some(name) => self.policies.get(name).await?,
            None => None,
        };
        let mut writes = Writes {
            actions: vec![AuditAction::IncidentEscalated],
            ..Writes::default()
        };
        match policy {
            Some(policy) => {
                let silences = self.policies.silences().await?;
                let targets = advance(&mut kept.body, &policy.policy, &silences, now);
                let why = format!("policy `{}`", policy.name);
                self.book
                    .tell(&mut kept.body, id, targets, None, &why, now, &mut writes)?;
            }
            // the policy was deleted
            None => kept.body.escalation.next_at = None,
        }
        let next = kept.body.escalation.next_at;
        writes.documents.push(self.book.changed(&kept)?);
        let told = !writes.outbox.is_empty();
        // another node may have been first, or somebody took note of it
        if written(self.book.commit(writes, None).await)? && told {
            self.notices.notify_one();
        }
        Ok(next)
    }
}
