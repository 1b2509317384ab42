//! The last deliveries of each hook, and how many tries failed in a row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{HookId, OutboxId, RecordDraft, TaskId, TenantId, Timestamp, Version};
use arbiter_core::ports::{
    DocumentError, DocumentWrite, Documents, Effects, HookTrouble, Precondition, StoreError,
};
use serde::{Deserialize, Serialize};

use super::record::{self, Disabled, DisabledBody, HookEvent};
use crate::records::{Kept, Shelf, VERSION, corrupt};

const KIND: &str = "hook_log";
/// How many deliveries are kept of each hook.
pub(super) const KEPT: usize = 100;
/// How often a write is tried again when another node wrote at the same time.
const CONFLICTS: usize = 8;

/// What a message tells of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) delivery: String,
    pub(super) event: String,
    pub(super) at: String,
    pub(super) task: String,
    pub(super) task_version: u64,
    pub(super) state: String,
    pub(super) reason: Option<String>,
}

/// How far a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// The receiver took it.
    Delivered,
    /// It will be tried, or tried again.
    Waiting,
    /// It was given up; it can be replayed.
    GivenUp,
    /// The hook was paused or switched off when its turn came; it can be replayed.
    Skipped,
}

impl DeliveryStatus {
    /// The stable word of stored and wire forms.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Waiting => "waiting",
            Self::GivenUp => "given_up",
            Self::Skipped => "skipped",
        }
    }

    fn from_word(word: &str) -> Option<Self> {
        [Self::Delivered, Self::Waiting, Self::GivenUp, Self::Skipped]
            .into_iter()
            .find(|status| status.word() == word)
    }
}

/// One delivery of a hook's log. No bodies: neither what was sent nor what was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryRecord {
    /// The message's id, the same at every try and replay.
    pub id: OutboxId,
    /// What it tells of.
    pub event: HookEvent,
    /// When that happened.
    pub event_at: Timestamp,
    /// The task.
    pub task: TaskId,
    /// The task's version that it tells of.
    pub task_version: Version,
    /// How far it is.
    pub status: DeliveryStatus,
    /// How many tries were made.
    pub tries: u16,
    /// When the last try began, if there was one.
    pub tried_at: Option<Timestamp>,
    /// How long the last try took.
    pub duration: Option<Duration>,
    /// The status that the receiver answered with at the last try.
    pub http_status: Option<u16>,
    /// The class of the last try's error, or why it was skipped.
    pub error: Option<String>,
    /// When it is tried again.
    pub next_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) about: About,
    status: String,
    tries: u16,
    tried_at: Option<i64>,
    duration_ms: Option<u64>,
    http_status: Option<u16>,
    error: Option<String>,
    next_at: Option<i64>,
}

impl Entry {
    /// A delivery that waits for its first try, or for that of a replay.
    pub(super) fn waiting(about: About) -> Self {
        Self {
            about,
            status: DeliveryStatus::Waiting.word().to_owned(),
            tries: 0,
            tried_at: None,
            duration_ms: None,
            http_status: None,
            error: None,
            next_at: None,
        }
    }
}

/// The stored form, version 1.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Body {
    version: u32,
    failures: u32,
    failing_since: Option<i64>,
    /// The one that changed last stands last.
    pub(super) deliveries: Vec<Entry>,
}

impl Body {
    pub(super) fn empty() -> Self {
        Self {
            version: VERSION,
            failures: 0,
            failing_since: None,
            deliveries: Vec::new(),
        }
    }

    pub(super) fn forgive(&mut self) {
        (self.failures, self.failing_since) = (0, None);
    }

    pub(super) fn put(&mut self, entry: Entry) {
        self.deliveries
            .retain(|old| old.about.delivery != entry.about.delivery);
        self.deliveries.push(entry);
        let over = self.deliveries.len().saturating_sub(KEPT);
        self.deliveries.drain(..over);
    }
}

/// How a delivery ended, or a try of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Delivered { status: u16 },
    Later { at: Timestamp, trouble: HookTrouble },
    GivenUp { trouble: HookTrouble },
    Skipped { why: &'static str },
}

impl End {
    pub(super) const fn trouble(self) -> Option<HookTrouble> {
        match self {
            Self::Later { trouble, .. } | Self::GivenUp { trouble } => Some(trouble),
            Self::Delivered { .. } | Self::Skipped { .. } => None,
        }
    }
}

/// A try to be noted.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) tenant: TenantId,
    pub(super) hook: HookId,
    pub(super) about: About,
    /// Tries made, this one included.
    pub(super) tries: u16,
    pub(super) at: Timestamp,
    pub(super) took: Duration,
    pub(super) end: End,
}

impl Tried {
    fn entry(&self) -> Entry {
        let (status, http_status, error, next_at) = match self.end {
            End::Delivered { status } => (DeliveryStatus::Delivered, Some(status), None, None),
            End::Later { at, trouble } => (
                DeliveryStatus::Waiting,
                trouble.status(),
                Some(trouble.word()),
                Some(at.as_micros()),
            ),
            End::GivenUp { trouble } => (
                DeliveryStatus::GivenUp,
                trouble.status(),
                Some(trouble.word()),
                None,
            ),
            End::Skipped { why } => (DeliveryStatus::Skipped, None, Some(why), None),
        };
        let sent = status != DeliveryStatus::Skipped;
        Entry {
            about: self.about.clone(),
            status: status.word().to_owned(),
            tries: self.tries,
            tried_at: sent.then_some(self.at.as_micros()),
            duration_ms: sent.then(|| u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX)),
            http_status,
            error: error.map(str::to_owned),
            next_at,
        }
    }
}

/// When a hook is switched off: after so many failed tries in a row, spread over at least so long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) failures: u32,
    pub(super) over: Duration,
}

/// The logs of all hooks.
#[derive(Clone)]
pub(super) struct Logs {
    pub(super) shelf: Shelf,
    hooks: Shelf,
}

impl Logs {
    pub(super) fn new(documents: &Arc<dyn Documents>) -> Self {
        Self {
            shelf: Shelf::new(documents, KIND),
            hooks: Shelf::new(documents, record::KIND),
        }
    }

    /// The log of a hook and its revision; an empty one when nothing was noted yet.
    pub(super) async fn get(
        &self,
        tenant: TenantId,
        hook: HookId,
    ) -> Result<(Body, Precondition), StoreError> {
        Ok(match self.shelf.get::<Body>(tenant, &hook.to_string()).await? {
            Some(kept) => (kept.body, Precondition::Revision(kept.revision)),
            None => (Body::empty(), Precondition::Absent),
        })
    }

    /// Notes tries, all or none, and switches off hooks whose time has come. Gives those.
    ///
    /// # Errors
    /// The store's; also when other nodes wrote at the same time again and again.
    pub(super) async fn note(
        &self,
        tried: &[Tried],
        patience: Patience,
        now: Timestamp,
    ) -> Result<Vec<(HookId, Disabled)>, DocumentError> {
        let mut by_hook: BTreeMap<(TenantId, HookId), Vec<&Tried>> = BTreeMap::new();
        for one in tried {
            by_hook.entry((one.tenant, one.hook)).or_default().push(one);
        }
        let mut conflicts = 0;
        loop {
            let mut writes = Vec::new();
            let mut disabled = Vec::new();
            for ((tenant, hook), tried) in &by_hook {
                let (more, off) = self.writes(*tenant, *hook, tried, patience, now).await?;
                writes.extend(more);
                disabled.extend(off.map(|off| (*hook, off)));
            }
            if writes.is_empty() {
                return Ok(disabled);
            }
            let effects = Effects::of(RecordDraft::default());
            match self.shelf.documents.write(writes, effects).await {
                Ok(_) => return Ok(disabled),
                Err(DocumentError::Precondition { .. }) if conflicts < CONFLICTS => conflicts += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn writes(
        &self,
        tenant: TenantId,
        id: HookId,
        tried: &[&Tried],
        patience: Patience,
        now: Timestamp,
    ) -> Result<(Vec<DocumentWrite>, Option<Disabled>), StoreError> {
        let id = id.to_string();
        let Some(mut hook) = self.hooks.get::<record::Body>(tenant, &id).await? else {
            return Ok((Vec::new(), None)); // deleted meanwhile, its log as well
        };
        let (mut log, precondition) = match self.shelf.get::<Body>(tenant, &id).await? {
            Some(kept) => (kept.body, Precondition::Revision(kept.revision)),
            None => (Body::empty(), Precondition::Absent),
        };
        let mut gone = false;
        for one in tried {
            match one.end.trouble() {
                Some(trouble) => {
                    log.failures = log.failures.saturating_add(1);
                    log.failing_since.get_or_insert(one.at.as_micros());
                    gone |= trouble == HookTrouble::Gone;
                }
                None if matches!(one.end, End::Delivered { .. }) => log.forgive(),
                None => {}
            }
            log.put(one.entry());
        }
        let failing_for = log
            .failing_since
            .map_or(Duration::ZERO, |since| now.since(Timestamp::from_micros(since)));
        let failing = log.failures >= patience.failures && failing_for >= patience.over;
        let reason = match (gone, failing) {
            (true, _) => Some("gone"),
            (_, true) => Some("failing"),
            _ => None,
        };
        let mut writes = Vec::new();
        let mut disabled = None;
        if let Some(reason) = reason.filter(|_| hook.body.disabled.is_none()) {
            hook.body.disabled = Some(DisabledBody {
                reason: reason.to_owned(),
                at: now.as_micros(),
            });
            // first, so that the audit record is about the hook
            writes.push(
                self.hooks
                    .put(tenant, &id, Precondition::Revision(hook.revision), &hook.body)?,
            );
            disabled = Some(Disabled {
                reason: reason.to_owned(),
                at: now,
            });
        }
        writes.push(self.shelf.put(tenant, &id, precondition, &log)?);
        Ok((writes, disabled))
    }
}

/// A stored entry for callers.
pub(super) fn shown(entry: &Entry) -> Result<DeliveryRecord, StoreError> {
    let bad = |what: &str| corrupt("document of kind `hook_log`", format!("{what} cannot be read"));
    let about = &entry.about;
    Ok(DeliveryRecord {
        id: about.delivery.parse().map_err(|_| bad("an id"))?,
        event: HookEvent::from_word(&about.event).ok_or_else(|| bad("an event"))?,
        event_at: about.at.parse().map_err(|_| bad("a time"))?,
        task: about.task.parse().map_err(|_| bad("a task"))?,
        task_version: Version(about.task_version),
        status: DeliveryStatus::from_word(&entry.status).ok_or_else(|| bad("a status"))?,
        tries: entry.tries,
        tried_at: entry.tried_at.map(Timestamp::from_micros),
        duration: entry.duration_ms.map(Duration::from_millis),
        http_status: entry.http_status,
        error: entry.error.clone(),
        next_at: entry.next_at.map(Timestamp::from_micros),
    })
}

/// A log for readers; the latest change first.
pub(super) fn newest_first(kept: Option<Kept<Body>>) -> Result<Vec<DeliveryRecord>, StoreError> {
    let deliveries = kept.map(|kept| kept.body.deliveries).unwrap_or_default();
    deliveries.iter().rev().map(shown).collect()
}
