//! The courier: takes notices off the outbox and brings each to its target.
//!
//! What a target was told of an incident stands in a record of its own, so that the order holds over retries, restarts and
//! nodes: an opening that was never tried is not told of an incident that is over, and a resolution is told to whoever may
//! have heard of the opening, never before it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::{Backoff, keyed_jitter};
use arbiter_core::model::{OutboxId, RecordDraft, Timestamp};
use arbiter_core::ports::{
    Clock, Documents, Effects, IncidentNotice, IncidentNotifier, Metrics, NoticeStep, NotifyError, Outbox,
    OutboxEntry, StopSignal, StoreError,
};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _, select_biased};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::parcel::{Parcel, TOPIC};
use super::standing::Targets;
use crate::incident::{Book, IncidentRecord, TimelineEvent, notice_key};
use crate::records::{Kept, Placed, Shelf, written};

/// What the record of what a target was told is called in the store.
const KIND: &str = "incident_told";
/// How many entries one look at the outbox takes.
const ROUND: usize = 64;
/// The courier looks at least this often: notices come from other nodes too.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long to wait after an error of the store, and for a notice before this one that is on its way.
const SHORTLY: Duration = Duration::from_millis(500);
/// How long the record of what a target was told is kept: 100 days, longer than its incident.
const KEPT: Duration = Duration::from_hours(24 * 100);

/// What a deployment can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CourierSettings {
    /// Tries under way at once; 16.
    pub concurrent: usize,
    /// How long an entry, and the turn at an incident's target, is taken for; 2 min. It must exceed the longest try of
    /// every notifier.
    pub lease: Duration,
    /// The wait after the first failed try, ×2 with each further one, up to 5 min: half of it certain, half random.
    pub backoff: Backoff,
    /// How long after its step a notice is given up; 24 h.
    pub give_up_after: Duration,
}

impl Default for CourierSettings {
    fn default() -> Self {
        Self {
            concurrent: 16,
            lease: Duration::from_mins(2),
            backoff: Backoff {
                base: Duration::from_secs(2),
                factor: 2,
                cap: Duration::from_mins(5),
            },
            give_up_after: Duration::from_hours(24),
        }
    }
}

/// What a courier needs.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct CourierPorts {
    /// Where notices wait.
    pub outbox: Arc<dyn Outbox>,
    /// Where incidents are.
    pub documents: Arc<dyn Documents>,
    /// The targets, by name.
    pub notifiers: BTreeMap<String, Arc<dyn IncidentNotifier>>,
    /// Where incidents can be read: `{base}/incidents/{id}`; none when that is not known.
    pub console: Option<String>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Measurements.
    pub metrics: Arc<dyn Metrics>,
}

/// Brings notices to their targets.
pub struct Courier {
    ports: CourierPorts,
    told: Shelf,
    book: Book,
    targets: Arc<Targets>,
    notices: Arc<Notify>,
    settings: CourierSettings,
}

/// What a target was told of an incident.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Told {
    /// An opening, or what stood for one, was tried: the target may know of the incident.
    tried: bool,
    /// The number of the latest notice that is settled.
    settled: u32,
    /// What the target calls it.
    reference: Option<String>,
    /// Until when a try is under way.
    #[serde(default, with = "crate::word::as_micros_if_any")]
    busy_until: Option<Timestamp>,
}

/// What is to be done with an entry.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It is settled.
    Done,
    /// It is tried again.
    Later(Timestamp),
    /// It is set aside.
    Quarantine(String),
}

struct Landed {
    outbox: OutboxId,
    fate: Result<Fate, StoreError>,
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier")
            .field("targets", &self.targets)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Courier {
    pub(crate) fn new(
        ports: CourierPorts,
        book: Book,
        targets: Arc<Targets>,
        notices: Arc<Notify>,
        settings: CourierSettings,
    ) -> Self {
        Self {
            told: Shelf::new(&ports.documents, KIND),
            ports,
            book,
            targets,
            notices,
            settings,
        }
    }

    /// Runs until told to stop; tries under way then are finished.
    ///
    /// # Cancel safety
    /// Safe: what was taken and not settled is offered again after its lease.
    pub async fn run(&self, stop: &dyn StopSignal) {
        let mut flying: FuturesUnordered<BoxFuture<'_, Landed>> = FuturesUnordered::new();
        let mut stopped = stop.stopped().fuse();
        let mut wait = Duration::ZERO;
        loop {
            let until = self.ports.clock.monotonic() + wait;
            select_biased! {
                () = stopped => break,
                landed = flying.select_next_some() => self.settle(landed).await,
                () = self.notices.notified().fuse() => {}
                () = self.ports.clock.sleep_until(until).fuse() => {}
            }
            let room = self.settings.concurrent.saturating_sub(flying.len()).min(ROUND);
            wait = LONGEST_WAIT;
            if room == 0 {
                continue;
            }
            match self.ports.outbox.take(TOPIC, room, self.settings.lease).await {
                Ok(entries) => {
                    if entries.len() >= room {
                        wait = Duration::ZERO;
                    }
                    for entry in entries {
                        flying.push(self.land(entry).boxed());
                    }
                }
                Err(error) => {
                    tracing::error!(event = "notices_failed", error = %error, "the outbox could not be read");
                    wait = SHORTLY;
                }
            }
        }
        while let Some(landed) = flying.next().await {
            self.settle(landed).await;
        }
    }

    /// Tries what is due now and no more, one after the other. Gives how many entries there were.
    ///
    /// # Errors
    /// The store's.
    pub async fn round(&self) -> Result<usize, StoreError> {
        let taken = self.ports.outbox.take(TOPIC, ROUND, self.settings.lease).await?;
        let count = taken.len();
        for entry in taken {
            let landed = self.land(entry).await;
            self.settle(landed).await;
        }
        Ok(count)
    }

    async fn land(&self, entry: OutboxEntry) -> Landed {
        Landed {
            outbox: entry.id,
            fate: self.bring(&entry).await,
        }
    }

    async fn settle(&self, landed: Landed) {
        let outbox = &self.ports.outbox;
        let settled = match landed.fate {
            Ok(Fate::Done) => outbox.done(&[landed.outbox]).await,
            Ok(Fate::Later(at)) => outbox.later(landed.outbox, at).await,
            Ok(Fate::Quarantine(why)) => outbox.quarantine(landed.outbox, &why).await,
            Err(error) => Err(error),
        };
        if let Err(error) = settled {
            tracing::error!(event = "notices_failed", error = %error, outbox.id = %landed.outbox, "a notice could not be settled; it is tried again");
        }
    }

    async fn bring(&self, entry: &OutboxEntry) -> Result<Fate, StoreError> {
        let parcel = serde_json::from_str::<Parcel>(entry.body.as_str());
        let Some(parcel) = parcel.ok().filter(|parcel| parcel.version == Parcel::VERSION) else {
            tracing::error!(event = "notice_unreadable", outbox.id = %entry.id, "a notice cannot be read");
            return Ok(Fate::Quarantine("cannot be read".to_owned()));
        };
        let Some(notifier) = self.ports.notifiers.get(&parcel.target) else {
            return self.give_up(&parcel, "there is no such target any more").await;
        };
        let Some(incident) = self.book.get(parcel.incident).await? else {
            return Ok(Fate::Done);
        };
        let id = format!("{}/{}", parcel.incident, parcel.target);
        let kept = self.told.get::<Told>(&id).await?.unwrap_or(Kept {
            id,
            body: Told::default(),
            revision: 0,
        });
        let now = self.ports.clock.now();
        if parcel.number <= kept.body.settled {
            return Ok(Fate::Done);
        }
        if let Some(until) = kept.body.busy_until.filter(|until| *until > now) {
            return Ok(Fate::Later(now.plus(SHORTLY).min(until)));
        }
        let Some(step) = step_now(parcel.step, &incident.body, &kept.body) else {
            // the target never heard of it, and there is nothing left to tell
            return self
                .keep(
                    &kept,
                    Told {
                        settled: parcel.number,
                        ..kept.body.clone()
                    },
                    now,
                )
                .await
                .map(|kept| {
                    if kept {
                        Fate::Done
                    } else {
                        Fate::Later(now.plus(SHORTLY))
                    }
                });
        };
        let begun = Told {
            tried: true,
            busy_until: Some(now.plus(self.settings.lease)),
            ..kept.body.clone()
        };
        if !self.keep(&kept, begun.clone(), now).await? {
            return Ok(Fate::Later(now.plus(SHORTLY)));
        }
        let kept = Kept {
            body: begun,
            revision: kept.revision + 1,
            ..kept
        };
        let notice = self.notice(&parcel, step, &incident.body, &kept.body);
        let answer = notifier.notify(&notice).await;
        self.answered(entry, &parcel, (kept, &incident.body), answer)
            .await
    }

    /// Notes what a try came to.
    async fn answered(
        &self,
        entry: &OutboxEntry,
        parcel: &Parcel,
        (kept, incident): (Kept<Told>, &IncidentRecord),
        answer: Result<arbiter_core::ports::Notified, NotifyError>,
    ) -> Result<Fate, StoreError> {
        let now = self.ports.clock.now();
        let (outcome, fate) = match &answer {
            Ok(_) => ("delivered", Fate::Done),
            Err(error) => {
                let give_up = parcel.at.plus(self.settings.give_up_after);
                match error {
                    NotifyError::Later { after, .. } if now < give_up => {
                        let wait = self.wait(entry, *after);
                        ("retried", Fate::Later(now.plus(wait).min(give_up)))
                    }
                    error => (
                        "given_up",
                        Fate::Quarantine(crate::incident::cut(&error.to_string(), 500)),
                    ),
                }
            }
        };
        let labels = [("target", parcel.target.as_str()), ("outcome", outcome)];
        self.ports
            .metrics
            .count("failure_manager.notices_total", &labels, 1);
        let first = kept.body.reference.is_none() && kept.body.settled == 0;
        let mut after = Told {
            busy_until: None,
            ..kept.body.clone()
        };
        match &answer {
            Ok(notified) => {
                self.targets.delivered(&parcel.target, now);
                after.reference = notified.reference.clone().or(after.reference);
                if first {
                    let took = now.since(incident.opened_at).as_secs_f64();
                    self.ports
                        .metrics
                        .observe("failure_manager.escalation_seconds", &[], took);
                }
            }
            Err(error) => {
                let why = with_sources(error);
                self.targets.failed(&parcel.target, now, &why);
                tracing::warn!(
                    event = "notice_not_taken",
                    incident.id = %parcel.incident,
                    target = parcel.target,
                    outcome,
                    error = why,
                    "a target did not take a notice of an incident"
                );
            }
        }
        if !matches!(fate, Fate::Later(_)) {
            after.settled = parcel.number;
        }
        self.keep(&kept, after, now).await?;
        match fate {
            Fate::Quarantine(why) => self.give_up(parcel, &why).await,
            fate => Ok(fate),
        }
    }

    /// Sets a notice aside, and writes that down on the incident's time line.
    async fn give_up(&self, parcel: &Parcel, why: &str) -> Result<Fate, StoreError> {
        let text = format!("`{}` was not told: {why}", parcel.target);
        self.book
            .note(
                parcel.incident,
                TimelineEvent::Undelivered,
                &text,
                self.ports.clock.now(),
            )
            .await?;
        Ok(Fate::Quarantine(why.to_owned()))
    }

    /// Writes what the target was told. False when somebody else wrote it first.
    async fn keep(&self, kept: &Kept<Told>, body: Told, now: Timestamp) -> Result<bool, StoreError> {
        let placed = Placed {
            index: Vec::new(),
            expires_at: Some(now.plus(KEPT)),
        };
        let write = self.told.put(&kept.id, kept.unchanged(), &body, placed)?;
        let effects = Effects::of(RecordDraft::default());
        written(self.told.documents.write(vec![write], effects).await)
    }

    fn wait(&self, entry: &OutboxEntry, asked: Option<Duration>) -> Duration {
        let try_number = u32::from(entry.tries) + 1;
        let random = keyed_jitter(entry.id.as_bytes(), try_number);
        let backoff = &self.settings.backoff;
        let wait = backoff.ceiling(try_number) / 2 + backoff.delay(try_number, random) / 2;
        asked.map_or(wait, |asked| wait.max(asked))
    }

    fn notice(
        &self,
        parcel: &Parcel,
        step: NoticeStep,
        incident: &IncidentRecord,
        told: &Told,
    ) -> IncidentNotice {
        let links = self.ports.console.iter().map(|base| {
            let address = format!("{}/incidents/{}", base.trim_end_matches('/'), parcel.incident);
            ("Incident".to_owned(), address)
        });
        IncidentNotice {
            id: format!("{}-{}", parcel.incident, parcel.number),
            step,
            key: notice_key(incident, parcel.incident),
            at: parcel.at,
            incident: incident.summary(parcel.incident, links.collect()),
            why: parcel.why.clone(),
            reference: told.reference.clone(),
        }
    }
}

/// What a target is told now, for a step that was due when it was made; none when there is nothing left to tell.
fn step_now(step: NoticeStep, incident: &IncidentRecord, told: &Told) -> Option<NoticeStep> {
    let is_open = incident.state.is_open();
    match (step, told.tried) {
        // it may have heard of it: it is told that it is over
        (NoticeStep::Resolve, true) => Some(NoticeStep::Resolve),
        (_, true) if !is_open => None,
        (NoticeStep::Open | NoticeStep::Update, true) if told.settled == 0 => Some(NoticeStep::Open),
        (step, true) => Some(step),
        // it never heard of it: of what is over it does not hear any more
        (NoticeStep::Resolve, false) => None,
        (_, false) if !is_open => None,
        (NoticeStep::Open | NoticeStep::Update, false) => Some(NoticeStep::Open),
        (NoticeStep::Acknowledge, false) => None,
    }
}

/// An error with what is behind it, on one line.
fn with_sources(error: &NotifyError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    crate::incident::cut(&text, 500)
}
