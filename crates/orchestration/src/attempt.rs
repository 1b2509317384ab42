//! One attempt on an agent that does not pull: deliver, keep the lease, hand in.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_core::model::{Failure, FailureClass, Principal, Progress, StoredTask, Task, Usage};
use arbiter_core::ports::{
    AgentTransport, Assignment, Clock, Delivered, Delivery, IdSource, LeaseStatus, Metrics, ProgressSink,
    TaskReader, TransportError,
};
use arbiter_core::services::{
    AttemptOutcome, Beat, ContextSource, FailureEvent, FailureHandler, WorkDesk, WorkError, WorkRef,
};
use futures_util::future::{Either, select};
use futures_util::{FutureExt as _, pin_mut, select_biased};
use tokio::sync::Notify;

use crate::context;
use crate::stop::{Stop, Stopper};

/// How often a lease is extended at least, however long it lasts.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often it is extended at most, however short it is.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(100);
/// How long to wait after a heartbeat that failed.
const AFTER_ERROR: Duration = Duration::from_secs(1);
/// Progress is told at most this often.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// How long to wait before an unanswered call is repeated.
pub(crate) const REPEAT_AFTER: Duration = Duration::from_millis(250);
/// How often a call is repeated: the lease has ended by then.
pub(crate) const REPEATS: u32 = 180;

/// Runs attempts.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct AttemptRunner {
    /// The agents' side of the queue.
    pub desk: Arc<dyn WorkDesk>,
    /// Reads earlier attempts.
    pub reader: Arc<dyn TaskReader>,
    /// Adds to what an attempt knows.
    pub context: Vec<Arc<dyn ContextSource>>,
    /// Hears of failures.
    pub failures: Arc<dyn FailureHandler>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
    /// Takes measurements.
    pub metrics: Arc<dyn Metrics>,
}

/// What the delivery tells while it runs.
#[derive(Default)]
struct Told {
    latest: Mutex<Latest>,
    changed: Notify,
}

/// What was told and is not known yet.
#[derive(Default)]
struct Latest {
    progress: Option<Progress>,
    /// Told again each time.
    usage: Option<Usage>,
    /// Told again until a heartbeat with it was answered.
    not_enforced: Option<Vec<String>>,
}

impl ProgressSink for Told {
    fn not_enforced(&self, limits: &[String]) {
        self.latest().not_enforced = Some(limits.to_vec());
        self.changed.notify_one();
    }

    fn tell(&self, progress: Option<Progress>, usage: Option<Usage>) {
        let mut latest = self.latest();
        latest.progress = progress.or(latest.progress.take());
        latest.usage = usage.or(latest.usage);
        drop(latest);
        self.changed.notify_one();
    }
}

impl Told {
    fn latest(&self) -> MutexGuard<'_, Latest> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Latest {
        let mut latest = self.latest();
        Latest {
            progress: latest.progress.take(),
            usage: latest.usage,
            not_enforced: latest.not_enforced.clone(),
        }
    }

    /// Keeps what could not be told for the next time, unless there is something newer.
    fn put_back(&self, untold: Latest) {
        let mut latest = self.latest();
        latest.progress = latest.progress.take().or(untold.progress);
    }

    /// Notes that what was told of the limits is known, unless they were told anew since.
    fn known(&self, told: &Latest) {
        let mut latest = self.latest();
        if latest.not_enforced == told.not_enforced {
            latest.not_enforced = None;
        }
    }
}

impl AttemptRunner {
    /// Runs one acknowledged attempt to its end. `drain` ends it early and gives it back.
    ///
    /// Gives what the allocator should learn; `None` when the attempt says nothing about the agent (given back,
    /// cancelled, lost).
    ///
    /// # Cancel safety
    /// Dropping the future ends what the transport started; the lease ends by itself.
    pub async fn run(
        &self,
        agent: &Principal,
        transport: &dyn AgentTransport,
        assignment: Assignment,
        drain: Stop,
    ) -> Option<AttemptOutcome> {
        let open = assignment.stored.task.attempt.clone()?;
        let started = self.clock.monotonic();
        let told = Arc::new(Told::default());
        let stopper = Stopper::default();
        let stop = stopper.signal();
        let delivered = {
            // The lease is kept from the start: a slow source of context does not lose it.
            let deliver = async {
                let context = select_biased! {
                    () = stop.wait().fuse() => return Ok(Delivered::Stopped),
                    context = context::gather(self.reader.as_ref(), &self.context, &assignment.stored).fuse() => context,
                };
                let delivery = Delivery {
                    agent: open.agent,
                    stored: assignment.stored.clone(),
                    fence: assignment.fence,
                    number: open.number,
                    deadline: deadline(&assignment.stored),
                    context,
                    progress: Arc::clone(&told) as Arc<dyn ProgressSink>,
                    stop: Arc::new(stop.clone()),
                };
                transport.deliver(delivery).await
            };
            let keep = self.keep(agent, &assignment, &told, &stopper, &drain);
            pin_mut!(deliver, keep);
            match select(deliver, keep).await {
                Either::Left((delivered, _)) => delivered,
                // The lease is gone or the node drains: the transport was told to stop and says when it has.
                Either::Right(((), deliver)) => deliver.await,
            }
        };
        let latency = self.clock.monotonic().saturating_sub(started);
        self.metrics
            .observe("attempt.duration_seconds", &[], latency.as_secs_f64());
        let outcome = self.hand_in(agent, &assignment, delivered, &told, &drain).await;
        let (succeeded, usage) = outcome?;
        Some(AttemptOutcome {
            task: assignment.stored.task.id,
            fence: assignment.fence,
            kind: assignment.stored.spec.kind.clone(),
            agent: open.agent,
            decision: open.decision,
            succeeded,
            quality: None,
            latency,
            cost_micros: usage.cost_micros,
        })
    }

    /// Extends the lease and tells progress until the attempt must stop.
    async fn keep(
        &self,
        agent: &Principal,
        assignment: &Assignment,
        told: &Told,
        stopper: &Stopper,
        drain: &Stop,
    ) {
        let every = beat_every(&assignment.stored.task);
        let mut next_beat = self.clock.monotonic() + every;
        loop {
            let beat = self.clock.sleep_until(next_beat);
            let tell = async {
                told.changed.notified().await;
                self.clock.sleep_until(self.clock.monotonic() + TELL_EVERY).await;
            };
            select_biased! {
                () = drain.wait().fuse() => {
                    stopper.stop();
                    return;
                }
                () = beat.fuse() => {}
                () = tell.fuse() => {}
            }
            let latest = told.take();
            let item = heartbeat(assignment, &latest);
            match self.desk.heartbeat(agent, vec![item]).await.as_deref() {
                Ok([LeaseStatus::Held { .. }]) => {
                    told.known(&latest);
                    next_beat = self.clock.monotonic() + every;
                }
                Ok([LeaseStatus::OverBudget { .. } | LeaseStatus::Cancelled | LeaseStatus::Lost]) => {
                    stopper.stop();
                    return;
                }
                Ok(_) => {
                    told.put_back(latest);
                    next_beat = self.clock.monotonic() + every.min(AFTER_ERROR);
                }
                Err(error) => {
                    // The lease outlives two missed heartbeats; the store says in time when it does not.
                    told.put_back(latest);
                    next_beat = self.clock.monotonic() + every.min(AFTER_ERROR);
                    tracing::warn!(event = "heartbeat_failed", task.id = %assignment.stored.task.id, error = %error, "a heartbeat failed");
                }
            }
        }
    }

    /// Hands in how the attempt ended. Gives whether it succeeded, if it says something about the agent.
    async fn hand_in(
        &self,
        agent: &Principal,
        assignment: &Assignment,
        delivered: Result<Delivered, TransportError>,
        told: &Told,
        drain: &Stop,
    ) -> Option<(bool, Usage)> {
        let task = &assignment.stored.task;
        let work = WorkRef {
            task: task.id,
            tenant: task.tenant,
            fence: assignment.fence,
            command: self.ids.command(),
        };
        match delivered {
            Ok(Delivered::Reported(report)) => {
                let (usage, not_enforced) = (report.usage, report.not_enforced.clone());
                match self
                    .repeat(|| self.desk.report(agent, work, report.clone()))
                    .await
                {
                    Ok(_) => Some((true, usage)),
                    Err(WorkError::Invalid { field, problem }) => {
                        let failure = Failure {
                            class: FailureClass::Protocol,
                            code: None,
                            message: format!("the report was refused: {field} {problem}"),
                            usage,
                            not_enforced,
                        };
                        self.failed(agent, assignment, work, failure).await
                    }
                    Err(error) => self.refused(assignment, &error),
                }
            }
            Ok(Delivered::Failed(failure)) => self.failed(agent, assignment, work, failure).await,
            // Told to stop because the lease is gone: there is nothing to hand in. Drained: the attempt is given back.
            Ok(Delivered::Stopped) if drain.is_stopped() => {
                self.last_words(agent, assignment, told).await;
                let why = "the node is draining".to_owned();
                if let Err(error) = self.repeat(|| self.desk.decline(agent, work, why.clone())).await {
                    self.refused(assignment, &error);
                }
                None
            }
            Ok(Delivered::Stopped) => None,
            Err(error) => {
                let failure = Failure {
                    class: FailureClass::Transport,
                    code: None,
                    message: chain(&error),
                    usage: Usage::default(),
                    not_enforced: told.take().not_enforced,
                };
                self.failed(agent, assignment, work, failure).await
            }
        }
    }

    /// Tells what a decline cannot carry: the limits that are not enforced, when no heartbeat has told them yet. Tried
    /// once: a node that drains does not wait for a store that is away.
    async fn last_words(&self, agent: &Principal, assignment: &Assignment, told: &Told) {
        let latest = told.take();
        if latest.not_enforced.is_none() {
            return;
        }
        let item = heartbeat(assignment, &latest);
        if let Err(error) = self.desk.heartbeat(agent, vec![item]).await {
            tracing::warn!(event = "heartbeat_failed", task.id = %assignment.stored.task.id, error = %error, "the last heartbeat failed");
        }
    }

    async fn failed(
        &self,
        agent: &Principal,
        assignment: &Assignment,
        work: WorkRef,
        failure: Failure,
    ) -> Option<(bool, Usage)> {
        let usage = failure.usage;
        if let Some(id) = agent.agent {
            self.failures.report(FailureEvent::Attempt {
                task: work.task,
                tenant: work.tenant,
                kind: assignment.stored.spec.kind.clone(),
                agent: id,
                failure: failure.clone(),
            });
        }
        match self.repeat(|| self.desk.fail(agent, work, failure.clone())).await {
            Ok(_) => Some((false, usage)),
            Err(error) => self.refused(assignment, &error),
        }
    }

    fn refused(&self, assignment: &Assignment, error: &WorkError) -> Option<(bool, Usage)> {
        tracing::warn!(
            event = "report_refused",
            task.id = %assignment.stored.task.id,
            fence = assignment.fence.0,
            error = %chain(error),
            "what an attempt handed in was refused"
        );
        self.metrics.count("attempt.refused_total", &[], 1);
        None
    }

    /// Repeats a call, with the same command, while the store is away or the queue is over its limits.
    async fn repeat<T, F>(&self, call: impl Fn() -> F) -> Result<T, WorkError>
    where
        F: Future<Output = Result<T, WorkError>>,
    {
        let mut repeats = 0;
        loop {
            let wait = match call().await {
                Err(WorkError::RateLimited { retry_after }) => retry_after.max(Duration::from_millis(1)),
                Err(WorkError::Store(error)) if error.is_transient() || error.may_have_applied() => {
                    REPEAT_AFTER
                }
                answer => return answer,
            };
            repeats += 1;
            if repeats > REPEATS {
                return call().await;
            }
            self.clock.sleep_until(self.clock.monotonic() + wait).await;
        }
    }
}

/// A heartbeat that tells what is not known yet.
fn heartbeat(assignment: &Assignment, latest: &Latest) -> Beat {
    let task = &assignment.stored.task;
    Beat {
        task: task.id,
        tenant: task.tenant,
        fence: assignment.fence,
        progress: latest.progress.clone(),
        usage: latest.usage,
        not_enforced: latest.not_enforced.clone(),
    }
}

/// How often the lease of a task that was just assigned is extended: three times while it lasts. Both moments are the
/// store's, so that it does not matter what this node thinks the time is.
pub(crate) fn beat_every(task: &Task) -> Duration {
    let lasts = task
        .state
        .lease()
        .map_or(3 * HEARTBEAT, |lease| lease.until.since(task.changed_at));
    (lasts / 3).clamp(SHORTEST_HEARTBEAT, HEARTBEAT)
}

/// When the attempt must have ended.
pub(crate) fn deadline(stored: &StoredTask) -> arbiter_core::model::Timestamp {
    let task = &stored.task;
    let started = task
        .attempt
        .as_ref()
        .map_or(task.changed_at, |open| open.started_at);
    let end = started.plus(task.terms.attempt_timeout);
    task.terms.deadline.map_or(end, |deadline| deadline.min(end))
}

/// An error with all its causes, for a message.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}
