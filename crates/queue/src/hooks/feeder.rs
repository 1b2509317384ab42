//! The feeder: follows the audit log and puts what hooks are told of into the outbox.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{NodeId, RecordDraft, TenantId};
use arbiter_core::ports::{
    Applied, AuditLog, Clock, DocumentError, Documents, Effects, LeaseStore, NewOutboxEntry, Precondition,
    Retry, StopSignal, StoreError, TaskReader, Wakeups,
};
use futures_util::{FutureExt as _, select_biased};
use serde::{Deserialize, Serialize};

use super::events::Events;
use crate::records::{Shelf, VERSION};

/// How many entries of the log one round reads.
const ROUND: usize = 512;
/// The place in the log is kept at least after so many entries that made no message. Keeping it is an entry itself, so
/// it is not kept after each round.
const KEEP_AFTER: u64 = 4_096;
/// The log is looked at least this often: another node may have written.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// The shortest wait between two looks, so that a busy log is read in large pieces.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);
/// How long to wait after an error of the store.
const AFTER_ERROR: Duration = Duration::from_millis(500);
/// How long one node feeds before another may.
const TURN: Duration = Duration::from_secs(30);
/// The name of the turn, and of the place in the log.
const NAME: &str = "hook_feeder";

/// What the feeder needs.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct FeederPorts {
    /// This node: one at a time feeds.
    pub node: NodeId,
    /// The log.
    pub audit: Arc<dyn AuditLog>,
    /// Keeps hooks and the place in the log.
    pub documents: Arc<dyn Documents>,
    /// Reads what messages tell of tasks.
    pub reader: Arc<dyn TaskReader>,
    /// Says whose turn it is.
    pub leases: Arc<dyn LeaseStore>,
    /// Hints of changes.
    pub wakeups: Arc<dyn Wakeups>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// Puts messages of the topic [`TOPIC`](super::TOPIC) into the outbox, each in the same transaction as the place in the
/// log up to which that was done: no event is missed, and none makes two messages.
pub struct Feeder {
    ports: FeederPorts,
    events: Events,
    places: Shelf,
}

impl std::fmt::Debug for Feeder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeder").finish_non_exhaustive()
    }
}

/// The stored place, version 1.
#[derive(Serialize, Deserialize)]
struct Body {
    version: u32,
    /// The index of the next entry to read.
    next: u64,
}

/// How far the log was read.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The index of the next entry to read.
    next: u64,
    /// What is stored, with the revision of its document.
    kept: u64,
    revision: Option<u64>,
}

/// This node's turn, if it has one.
#[derive(Debug, Default)]
struct Turn {
    /// When it was taken or extended.
    taken_at: Option<Duration>,
    place: Option<Place>,
}

/// A feeder could not go on from its place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// Somebody else went on from there, or had what was read come to nothing. Nothing was stored.
    #[error("somebody else went on from the same place in the log")]
    Overtaken,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How often the place is tried to be taken from a feeder. Each time that it fails, a feeder has gone on.
const TRIES: usize = 100;

/// Has whatever feeders have read until now come to nothing: they cannot store messages of it any more, and read again.
/// So what was deleted before this call stands in no message that is stored after it.
///
/// # Errors
/// The store's.
///
/// # Cancel safety
/// Safe, and may be repeated.
pub(crate) async fn read_again(documents: &Arc<dyn Documents>) -> Result<(), StoreError> {
    let places = Shelf::new(documents, NAME);
    for _ in 0..TRIES {
        let kept = places.get::<Body>(TenantId::SYSTEM, NAME).await?;
        let next = kept.as_ref().map_or(0, |kept| kept.body.next);
        match keep(
            &places,
            documents,
            next,
            kept.map(|kept| kept.revision),
            Vec::new(),
        )
        .await
        {
            Ok(_) => return Ok(()),
            Err(FeedError::Overtaken) => {}
            Err(FeedError::Store(error)) => return Err(error),
        }
    }
    Err(StoreError::Backend {
        operation: "having messages made anew",
        applied: Applied::No,
        retry: Retry::Transient,
        source: "a feeder went on each time".into(),
    })
}

/// Stores a place with the messages made on the way to it. Gives its revision.
async fn keep(
    places: &Shelf,
    documents: &Arc<dyn Documents>,
    next: u64,
    revision: Option<u64>,
    messages: Vec<NewOutboxEntry>,
) -> Result<Option<u64>, FeedError> {
    let precondition = revision.map_or(Precondition::Absent, Precondition::Revision);
    let body = Body {
        version: VERSION,
        next,
    };
    let write = places.put(TenantId::SYSTEM, NAME, precondition, &body)?;
    let effects = Effects {
        record: RecordDraft::default(),
        outbox: messages,
    };
    match documents.write(vec![write], effects).await {
        Ok(revisions) => Ok(revisions.first().copied()),
        Err(DocumentError::Store(error)) => Err(error.into()),
        Err(DocumentError::Precondition { .. }) => Err(FeedError::Overtaken),
        Err(error) => Err(StoreError::Backend {
            operation: "keeping the place in the log",
            applied: Applied::No,
            retry: Retry::Permanent,
            source: Box::new(error),
        }
        .into()),
    }
}

impl Feeder {
    /// A feeder over these ports.
    pub fn new(ports: FeederPorts) -> Self {
        Self {
            events: Events::new(
                &ports.documents,
                Arc::clone(&ports.reader),
                Arc::clone(&ports.clock),
            ),
            places: Shelf::new(&ports.documents, NAME),
            ports,
        }
    }

    /// Runs until told to stop.
    ///
    /// # Cancel safety
    /// Safe: what was not stored is done again.
    pub async fn run(&self, stop: &dyn StopSignal) {
        let mut hints = self.ports.wakeups.subscribe();
        let mut state = Turn::default();
        let stopped = stop.stopped().fuse();
        futures_util::pin_mut!(stopped);
        loop {
            let wait = match self.turn(&mut state).await {
                Ok(true) => Duration::ZERO,
                Ok(false) => LONGEST_WAIT,
                Err(FeedError::Overtaken) => {
                    tracing::debug!(
                        event = "hooks_overtaken",
                        "messages of hooks are made again from the log"
                    );
                    state = Turn::default();
                    Duration::ZERO
                }
                Err(error) => {
                    tracing::error!(event = "hooks_failed", error = %error, "messages of hooks could not be made");
                    // Another node may have gone on from there.
                    state = Turn::default();
                    AFTER_ERROR
                }
            };
            let now = self.ports.clock.monotonic();
            select_biased! {
                () = stopped => break,
                () = self.ports.clock.sleep_until(now + wait.max(SHORTEST_WAIT)).fuse() => {}
                () = async {
                    let _hints = hints.next().await;
                    self.ports.clock.sleep_until(now + SHORTEST_WAIT).await;
                }.fuse() => {}
            }
        }
        if let Err(error) = self.ports.leases.give_back(NAME, self.ports.node).await {
            tracing::warn!(event = "turn_not_given_back", name = NAME, error = %error, "another node has to wait for the end of this one's turn");
        }
    }

    /// One round, if it is this node's turn. Gives whether there is more to read.
    async fn turn(&self, state: &mut Turn) -> Result<bool, FeedError> {
        let now = self.ports.clock.monotonic();
        if state.taken_at.is_none_or(|at| now >= at + TURN / 2) {
            *state = match self.ports.leases.take(NAME, self.ports.node, TURN).await? {
                Some(_) => Turn {
                    taken_at: Some(now),
                    place: state.place,
                },
                None => Turn::default(),
            };
        }
        if state.taken_at.is_none() {
            return Ok(false);
        }
        let from = match state.place {
            Some(known) => known,
            None => self.place().await?,
        };
        let (next, more) = self.round(from).await?;
        state.place = Some(next);
        Ok(more)
    }

    /// Where to go on.
    ///
    /// # Errors
    /// The store's.
    pub async fn place(&self) -> Result<Place, StoreError> {
        let kept = self.places.get::<Body>(TenantId::SYSTEM, NAME).await?;
        let next = kept.as_ref().map_or(0, |kept| kept.body.next);
        Ok(Place {
            next,
            kept: next,
            revision: kept.map(|kept| kept.revision),
        })
    }

    /// Reads what was written since a place, and stores the messages that it makes. Gives the place after it, and
    /// whether there may be more.
    ///
    /// # Errors
    /// [`FeedError`]; nothing was stored.
    pub async fn round(&self, from: Place) -> Result<(Place, bool), FeedError> {
        let entries = self.ports.audit.read(from.next, ROUND).await?;
        let messages = self.events.deliveries(&entries).await?;
        let mut place = Place {
            next: from.next + entries.len() as u64,
            ..from
        };
        let more = entries.len() == ROUND;
        if messages.is_empty() && place.next - place.kept < KEEP_AFTER {
            return Ok((place, more));
        }
        let (places, documents) = (&self.places, &self.ports.documents);
        place.revision = keep(places, documents, place.next, place.revision, messages).await?;
        place.kept = place.next;
        Ok((place, more))
    }
}
