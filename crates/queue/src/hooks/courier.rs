//! The courier: takes messages off the outbox and delivers them.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::{Backoff, keyed_jitter};
use arbiter_core::model::{HookId, OutboxId, TenantId, Timestamp, TraceContext};
use arbiter_core::ports::{
    Clock, DocumentError, Documents, HookAnswer, HookMessage, HookTransport, HookTrouble, Metrics, Outbox,
    OutboxEntry, StopSignal, StoreError,
};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _, select_biased};

use super::TOPIC;
use super::desk::{Desk, Limits};
use super::events::Parcel;
use super::log::{End, Logs, Patience, Tried};
use super::record::{self, Body};
use crate::records::{Shelf, VERSION};

/// How many entries one look at the outbox takes.
const ROUND: usize = 64;
/// The courier looks at least this often: entries come from another node too.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long to wait after an error of the store.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// What a deployment can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CourierSettings {
    /// Deliveries under way at once; 32.
    pub concurrent: usize,
    /// Of one hook, 1–4; 4. A hook whose last try failed gets one at a time.
    pub per_hook: usize,
    /// Of one hook, taken off the outbox and waiting for their turn; 16.
    pub waiting_per_hook: usize,
    /// How long an entry is taken for; 2 min. It must exceed the transport's longest try by `margin` at least.
    pub lease: Duration,
    /// An entry whose lease ends within this is not begun any more; 45 s.
    pub margin: Duration,
    /// The wait after the first failed try, ×3 with each further one, up to 6 h: half of it certain, half random.
    pub backoff: Backoff,
    /// How long after its event a message is given up; 24 h. The last try is made then.
    pub give_up_after: Duration,
    /// After so many failed tries in a row a hook is switched off; 20 …
    pub failures: u32,
    /// … if they span at least this; 1 h: a short outage at a busy time is no reason.
    pub failing_for: Duration,
}

impl Default for CourierSettings {
    fn default() -> Self {
        Self {
            concurrent: 32,
            per_hook: 4,
            waiting_per_hook: 16,
            lease: Duration::from_mins(2),
            margin: Duration::from_secs(45),
            backoff: Backoff {
                base: Duration::from_secs(10),
                factor: 3,
                cap: Duration::from_hours(6),
            },
            give_up_after: Duration::from_hours(24),
            failures: 20,
            failing_for: Duration::from_hours(1),
        }
    }
}

/// Delivers messages of the topic [`TOPIC`](super::TOPIC).
pub struct Courier {
    outbox: Arc<dyn Outbox>,
    hooks: Shelf,
    logs: Logs,
    transport: Arc<dyn HookTransport>,
    clock: Arc<dyn Clock>,
    metrics: Arc<dyn Metrics>,
    settings: CourierSettings,
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A message with whose it is.
struct Load {
    entry: OutboxEntry,
    parcel: Parcel,
    tenant: TenantId,
    hook: HookId,
}

/// A delivery that ended.
struct Landed {
    outbox: OutboxId,
    hook: HookId,
    /// What to note and settle; none when the hook is gone, an error when nothing could be done.
    tried: Result<Option<Tried>, StoreError>,
}

impl Courier {
    /// A courier over these ports.
    pub fn new(
        outbox: Arc<dyn Outbox>,
        documents: &Arc<dyn Documents>,
        transport: Arc<dyn HookTransport>,
        clock: Arc<dyn Clock>,
        metrics: Arc<dyn Metrics>,
        settings: CourierSettings,
    ) -> Self {
        Self {
            outbox,
            hooks: Shelf::new(documents, record::KIND),
            logs: Logs::new(documents),
            transport,
            clock,
            metrics,
            settings,
        }
    }

    /// Runs until told to stop; what is under way then is finished.
    ///
    /// # Cancel safety
    /// Safe: what was taken and not settled is offered again after its lease, and receivers drop repeats by the
    /// message's id.
    pub async fn run(&self, stop: &dyn StopSignal) {
        let mut desk = Desk::new(Limits {
            concurrent: self.settings.concurrent,
            per_hook: self.settings.per_hook.clamp(1, 4),
            waiting_per_hook: self.settings.waiting_per_hook,
        });
        let mut flying: FuturesUnordered<BoxFuture<'_, Landed>> = FuturesUnordered::new();
        let mut stopped = stop.stopped().fuse();
        loop {
            let wait = match self.fill(&mut desk).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::error!(event = "hooks_failed", error = %error, "the outbox could not be read");
                    AFTER_ERROR
                }
            };
            while let Some((_, load)) = desk.next(self.clock.monotonic()) {
                flying.push(self.deliver(load).boxed());
            }
            let until = self.clock.monotonic() + wait;
            let landed = select_biased! {
                () = stopped => break,
                landed = flying.select_next_some() => Some(landed),
                () = self.clock.sleep_until(until).fuse() => None,
            };
            let Some(first) = landed else {
                continue;
            };
            let mut all = vec![first];
            while let Some(Some(landed)) = flying.next().now_or_never() {
                all.push(landed);
            }
            for landed in &all {
                let failed = matches!(&landed.tried, Ok(Some(tried)) if tried.end.trouble().is_some());
                desk.ended(landed.hook, !failed);
            }
            self.settle(all).await;
        }
        let rest: Vec<Landed> = flying.collect().await;
        self.settle(rest).await;
    }

    /// Delivers what is due now and no more, one message after the other. Gives how many were tried.
    ///
    /// # Errors
    /// The store's.
    pub async fn round(&self) -> Result<usize, StoreError> {
        let taken = self.outbox.take(TOPIC, ROUND, self.settings.lease).await?;
        let mut landed = Vec::new();
        for entry in taken {
            if let Some(load) = self.read(entry).await? {
                landed.push(self.deliver(load).await);
            }
        }
        let count = landed.len();
        self.settle(landed).await;
        Ok(count)
    }

    /// Takes due entries. Gives how long to wait for more.
    async fn fill(&self, desk: &mut Desk<Load>) -> Result<Duration, StoreError> {
        let begun_until = self.clock.monotonic() + self.settings.lease.saturating_sub(self.settings.margin);
        let taken = self.outbox.take(TOPIC, ROUND, self.settings.lease).await?;
        let full = taken.len() >= ROUND;
        for entry in taken {
            if let Some(load) = self.read(entry).await?
                && !desk.offer(load.hook, begun_until, load)
            {
                self.metrics.count("hooks.deferred_total", &[], 1);
            }
        }
        Ok(if full { Duration::ZERO } else { LONGEST_WAIT })
    }

    /// Reads an entry; one that cannot be read is set aside.
    async fn read(&self, entry: OutboxEntry) -> Result<Option<Load>, StoreError> {
        let parcel = serde_json::from_str::<Parcel>(entry.body.as_str());
        let parcel = parcel.ok().filter(|parcel| parcel.version == VERSION);
        let load = parcel.and_then(|parcel| {
            Some(Load {
                tenant: parcel.tenant.parse().ok()?,
                hook: parcel.hook.parse().ok()?,
                parcel,
                entry: entry.clone(),
            })
        });
        if load.is_none() {
            tracing::error!(event = "hook_entry_unreadable", outbox.id = %entry.id, "a hook message cannot be read");
            self.outbox.quarantine(entry.id, "cannot be read").await?;
        }
        Ok(load)
    }

    /// Makes one try.
    async fn deliver(&self, load: Load) -> Landed {
        let (outbox, hook) = (load.entry.id, load.hook);
        Landed {
            outbox,
            hook,
            tried: self.tried(load).await,
        }
    }

    async fn tried(&self, load: Load) -> Result<Option<Tried>, StoreError> {
        let kept = self
            .hooks
            .get::<Body>(load.tenant, &load.hook.to_string())
            .await?;
        let Some(kept) = kept else {
            return Ok(None);
        };
        let (at, began) = (self.clock.now(), self.clock.monotonic());
        let tried = |tries, end| Tried {
            tenant: load.tenant,
            hook: load.hook,
            about: load.parcel.about.clone(),
            tries,
            at,
            took: self.clock.monotonic().saturating_sub(began),
            end,
        };
        let why = match (&kept.body.disabled, kept.body.paused) {
            (Some(_), _) => Some("disabled"),
            (None, true) => Some("paused"),
            (None, false) => None,
        };
        if let Some(why) = why {
            return Ok(Some(tried(load.entry.tries, End::Skipped { why })));
        }
        let message = HookMessage {
            id: load.parcel.about.delivery.clone(),
            body: arbiter_core::model::Json::of(&load.parcel.payload),
            tries: load.entry.tries,
            // A trace that cannot be read is nothing to hold a message back for.
            trace: (load.parcel.traceparent.as_deref()).and_then(|text| TraceContext::parse(text).ok()),
        };
        let answer = self.transport.deliver(&kept.body.endpoint(at), &message).await;
        let end = match answer {
            HookAnswer::Delivered { status } => End::Delivered { status },
            HookAnswer::GiveUp { trouble } => End::GivenUp { trouble },
            HookAnswer::Retry { after, trouble } => self.later(&load, after, trouble),
        };
        Ok(Some(tried(load.entry.tries.saturating_add(1), end)))
    }

    /// When to try again, if ever.
    fn later(&self, load: &Load, after: Option<Duration>, trouble: HookTrouble) -> End {
        let now = self.clock.now();
        let created = Timestamp::from_micros(load.parcel.created_at);
        let end = created.plus(self.settings.give_up_after);
        if now >= end {
            return End::GivenUp { trouble };
        }
        let try_number = u32::from(load.entry.tries) + 1;
        let ceiling = self.settings.backoff.ceiling(try_number);
        let random = keyed_jitter(load.entry.id.as_bytes(), try_number);
        let wait = ceiling / 2 + self.settings.backoff.delay(try_number, random) / 2;
        let wait = after.map_or(wait, |asked| wait.max(asked));
        End::Later {
            at: now.plus(wait).min(end),
            trouble,
        }
    }

    /// Settles entries, then notes the tries. What could not be settled is offered again after its lease.
    async fn settle(&self, landed: Vec<Landed>) {
        let mut done = Vec::new();
        let mut noted = Vec::new();
        for one in landed {
            let outbox = one.outbox;
            let settled = match one.tried {
                Ok(None) => {
                    done.push(outbox);
                    Ok(())
                }
                Ok(Some(tried)) => {
                    self.measure(&tried);
                    let settled = match tried.end {
                        End::Delivered { .. } | End::Skipped { .. } => {
                            done.push(outbox);
                            Ok(())
                        }
                        End::Later { at, .. } => self.outbox.later(outbox, at).await,
                        End::GivenUp { trouble } => self.outbox.quarantine(outbox, trouble.word()).await,
                    };
                    noted.push(tried);
                    settled
                }
                Err(error) => Err(error),
            };
            if let Err(error) = settled {
                tracing::error!(event = "hooks_failed", error = %error, outbox.id = %outbox, "a hook message could not be settled");
            }
        }
        if !done.is_empty()
            && let Err(error) = self.outbox.done(&done).await
        {
            tracing::error!(event = "hooks_failed", error = %error, "delivered hook messages could not be settled");
        }
        if noted.is_empty() {
            return;
        }
        match self.note(&noted).await {
            Ok(()) => {}
            Err(error) => {
                tracing::error!(event = "hook_log_failed", error = %error, "hook deliveries could not be noted");
            }
        }
    }

    async fn note(&self, tried: &[Tried]) -> Result<(), DocumentError> {
        let patience = Patience {
            failures: self.settings.failures,
            over: self.settings.failing_for,
        };
        for (hook, disabled) in self.logs.note(tried, patience, self.clock.now()).await? {
            self.metrics
                .count("hooks.disabled_total", &[("reason", &disabled.reason)], 1);
            tracing::warn!(event = "hook_disabled", hook.id = %hook, reason = disabled.reason, "a hook was switched off");
        }
        Ok(())
    }

    fn measure(&self, tried: &Tried) {
        let outcome = match tried.end {
            End::Delivered { .. } => "delivered",
            End::Later { .. } => "retried",
            End::GivenUp { .. } => "given_up",
            End::Skipped { .. } => "skipped",
        };
        self.metrics
            .count("hooks.deliveries_total", &[("outcome", outcome)], 1);
        if !matches!(tried.end, End::Skipped { .. }) {
            self.metrics
                .observe("hooks.duration_seconds", &[], tried.took.as_secs_f64());
        }
    }
}
