//! The runner: submits the tasks of schedules when their time has come.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::model::{NodeId, ScheduleId, TenantId, TenantScope, Timestamp};
use arbiter_core::ports::{Clock, LeaseStore, StopSignal, StoreError};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, select_biased, stream};

use super::service::Schedules;
use super::state::{DUE_HOUR, State, hour};
use super::turn::{Ended, Turn};
use crate::principals::Principals;

/// The name that one node at a time holds.
const LEASE: &str = "schedules";
/// Clocks of nodes may differ by so much: who makes a schedule may say that it is due in an hour that has ended here.
const SLACK: Duration = Duration::from_mins(10);
/// After a longer time without a look, all schedules are looked at instead of those of each hour.
const MOST_HOURS: i64 = 24;
const PAGE: usize = 1_000;

/// What a deployment can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunnerSettings {
    /// How many schedules one round serves; 64.
    pub round: usize,
    /// How many of them at once; 16.
    pub concurrent: usize,
    /// For how long a node is the runner unless it says so again; 45 s.
    pub lease: Duration,
    /// A round is done at least this often; 15 s. It must be well below the lease.
    pub longest_wait: Duration,
    /// How long to wait after an error of the store; 1 s.
    pub after_error: Duration,
}

impl Default for RunnerSettings {
    fn default() -> Self {
        Self {
            round: 64,
            concurrent: 16,
            lease: Duration::from_secs(45),
            longest_wait: Duration::from_secs(15),
            after_error: Duration::from_secs(1),
        }
    }
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// How many schedules were served; none, when another node is the runner.
    pub served: usize,
    /// How many tasks were submitted, repeats of broken-off runs among them.
    pub submitted: usize,
    /// How long to wait before the next one, unless a schedule is changed.
    pub wait: Duration,
}

/// Submits the tasks of schedules. Of all nodes, one at a time does; what it has begun when it dies, the next one ends.
pub struct ScheduleRunner {
    schedules: Arc<Schedules>,
    principals: Principals,
    leases: Arc<dyn LeaseStore>,
    node: NodeId,
    settings: RunnerSettings,
    /// All that was due before this moment is done; none: not known.
    done_until: Mutex<Option<Timestamp>>,
}

impl std::fmt::Debug for ScheduleRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScheduleRunner")
            .field("node", &self.node)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// What is to be done, and when the next thing is.
struct Agenda {
    due: Vec<Appointment>,
    next: Option<Timestamp>,
}

/// When something of whose schedule is due.
type Appointment = (Timestamp, TenantId, ScheduleId);

/// What became of one.
type Served = (Appointment, Result<(Ended, usize), StoreError>);

impl ScheduleRunner {
    /// A runner of these schedules, on this node.
    pub fn new(
        schedules: Arc<Schedules>,
        principals: Principals,
        leases: Arc<dyn LeaseStore>,
        node: NodeId,
        settings: RunnerSettings,
    ) -> Self {
        Self {
            schedules,
            principals,
            leases,
            node,
            settings,
            done_until: Mutex::default(),
        }
    }

    /// Runs until told to stop.
    ///
    /// # Cancel safety
    /// Safe: a run that was broken off is ended by the next round, here or on another node.
    pub async fn run(&self, stop: &dyn StopSignal) {
        let mut stopped = stop.stopped().fuse();
        loop {
            let wait = match self.round().await {
                Ok(round) => round.wait,
                Err(error) => {
                    tracing::error!(event = "schedules_failed", error = %error, "schedules could not be read");
                    self.settings.after_error
                }
            };
            let until = self.clock().monotonic() + wait;
            select_biased! {
                () = stopped => break,
                () = self.clock().sleep_until(until).fuse() => {}
                () = self.schedules.changed.notified().fuse() => {}
            }
        }
        if let Err(error) = self.leases.give_back(LEASE, self.node).await {
            tracing::debug!(event = "schedules_failed", error = %error, "the runner's lease ends by itself");
        }
    }

    /// One bounded round: does what is due by the clock, if this node is the runner.
    ///
    /// # Errors
    /// The store's, when nothing could be read. A schedule that cannot be served keeps no other one waiting.
    ///
    /// # Cancel safety
    /// As for [`Self::run`].
    pub async fn round(&self) -> Result<Round, StoreError> {
        let turn = self.leases.take(LEASE, self.node, self.settings.lease).await?;
        if turn.is_none() {
            self.set_done_until(None);
            return Ok(Round {
                served: 0,
                submitted: 0,
                wait: self.settings.longest_wait,
            });
        }
        let now = self.clock().now();
        let mut agenda = self.agenda(now).await?;
        agenda.due.sort_unstable();
        let mut round = Round {
            served: 0,
            submitted: 0,
            wait: self.settings.longest_wait,
        };
        let later = agenda.due.split_off(self.settings.round.min(agenda.due.len()));
        let mut undone = later.first().map(|(due, ..)| *due);
        let mut next = agenda.next;
        let turns = agenda.due.into_iter().map(|turn| self.serve(turn).boxed());
        let turns: Vec<BoxFuture<'_, Served>> = turns.collect();
        let mut turns = stream::iter(turns).buffer_unordered(self.settings.concurrent.max(1));
        while let Some(((due, _, id), served)) = turns.next().await {
            round.served += 1;
            let (ended, submitted) = match served {
                Ok(served) => served,
                Err(error) => {
                    tracing::error!(
                        event = "schedule_failed", schedule.id = %id, error = %error, "a schedule could not be served"
                    );
                    if error.is_transient() {
                        round.wait = round.wait.min(self.settings.after_error);
                    }
                    (Ended::Overtaken, 0)
                }
            };
            round.submitted += submitted;
            match ended {
                Ended::Until(until) => next = earliest(next, until),
                Ended::Overtaken => undone = earliest(undone, Some(due)),
            }
        }
        drop(turns);
        self.set_done_until(earliest(undone, Some(now)));
        if later.is_empty() {
            let until_next = next.map_or(self.settings.longest_wait, |next| next.since(self.clock().now()));
            round.wait = round.wait.min(until_next);
        } else {
            round.wait = Duration::ZERO;
        }
        Ok(round)
    }

    async fn serve(&self, appointment: Appointment) -> Served {
        let (_, tenant, id) = appointment;
        (appointment, self.served(tenant, id).await)
    }

    /// Serves one schedule. Gives how it ended, and how many tasks were submitted.
    async fn served(&self, tenant: TenantId, id: ScheduleId) -> Result<(Ended, usize), StoreError> {
        let Some(mut turn) = Turn::begin(&self.schedules, &self.principals, tenant, id).await? else {
            return Ok((Ended::Until(None), 0));
        };
        let ended = turn.take().await?;
        Ok((ended, turn.submitted()))
    }

    /// What is due, and what comes until the next round at the latest.
    async fn agenda(&self, now: Timestamp) -> Result<Agenda, StoreError> {
        let mut agenda = Agenda {
            due: Vec::new(),
            next: None,
        };
        let last = hour(now.plus(self.settings.longest_wait));
        match self.done_until().map(|moment| hour(moment.minus(SLACK))) {
            // The clock may have been set back.
            Some(first) if (0..=MOST_HOURS).contains(&(last - first)) => {
                for hour in first..=last {
                    self.read(Some(hour), now, &mut agenda).await?;
                }
            }
            _ => self.read(None, now, &mut agenda).await?,
        }
        Ok(agenda)
    }

    /// Reads the schedules of an hour, or all.
    async fn read(&self, hour: Option<i64>, now: Timestamp, agenda: &mut Agenda) -> Result<(), StoreError> {
        let index = hour.map(|hour| (DUE_HOUR, hour.to_string()));
        let mut after = None;
        loop {
            let page = self
                .schedules
                .states
                .list::<State>(TenantScope::All, index.clone(), after.take(), PAGE)
                .await?;
            let full = page.len() >= PAGE;
            for kept in &page {
                match (kept.body.due(), kept.id.parse()) {
                    (Some(due), Ok(id)) if due <= now => agenda.due.push((due, kept.tenant, id)),
                    (due, _) => agenda.next = earliest(agenda.next, due),
                }
            }
            match page.last() {
                Some(last) if full => after = Some((last.tenant, last.id.clone())),
                _ => return Ok(()),
            }
        }
    }

    fn clock(&self) -> &dyn Clock {
        self.schedules.queue.ports.clock.as_ref()
    }

    fn done_until(&self) -> Option<Timestamp> {
        *self.done_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_done_until(&self, moment: Option<Timestamp>) {
        *self.done_until.lock().unwrap_or_else(PoisonError::into_inner) = moment;
    }
}

/// The earlier one of those that there are.
fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
