//! The life of an agent that pulls: claim, attempt, hand in, until it drains.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arbiter_client::pull::Desk;
use arbiter_client::{Client, ClientError};
use arbiter_core::mechanism::Backoff;
use arbiter_core::model::{AgentId, Band, Principal, PrincipalId, PrincipalKind, Role, TenantId};
use arbiter_core::ports::{AgentTransport, Assignment, Clock, Entropy, IdSource, Metrics};
use arbiter_core::services::{ContextSource, WorkDesk, WorkRef};
use arbiter_net::HttpPorts;
use arbiter_orchestration::{AttemptRunner, HEARTBEAT, PlainRetry, Stop, Stopper};
use arbiter_wire::http::AgentForm;
use futures_util::future::{Fuse, FusedFuture as _, FutureExt as _};
use futures_util::select_biased;
use futures_util::stream::{FuturesUnordered, StreamExt as _};

use crate::exit::Failure;

/// How long one claim waits for work. Draining waits for the claim under way, so that no work is lost on its way.
const CLAIM_WAIT: Duration = Duration::from_secs(5);
/// The wait after a call that failed.
const AFTER_ERROR: Backoff = Backoff {
    base: Duration::from_millis(500),
    factor: 2,
    cap: Duration::from_secs(30),
};
/// The most tasks of one claim.
const AT_ONCE: usize = 100;

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an agent needs.
pub(super) struct Parts {
    pub(super) client: Client,
    pub(super) id: AgentId,
    /// What the server is told of it.
    pub(super) form: AgentForm,
    pub(super) transport: Arc<dyn AgentTransport>,
    /// How long attempts may go on once it drains.
    pub(super) drain: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) metrics: Arc<dyn Metrics>,
}

/// What became of its attempts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Worked {
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) given_back: u64,
}

/// Registers an agent, and tries again while the server is away. Gives none when it was told to stop before.
pub(super) async fn register(
    client: &Client,
    form: &AgentForm,
    ports: &HttpPorts,
    stop: &Stop,
) -> Result<Option<AgentId>, Failure> {
    let mut failures = 0;
    loop {
        let registered = select_biased! {
            () = stop.wait().fuse() => return Ok(None),
            registered = client.agent_register(form).fuse() => registered,
        };
        let error = match registered {
            Ok(view) => {
                let id = view.id.parse();
                return id.map(Some).map_err(|error: arbiter_core::model::InvalidId| {
                    Failure::internal("the server's answer to the registration cannot be read", error)
                });
            }
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(explained(error)),
        };
        failures += 1;
        let wait = error
            .retry_after()
            .unwrap_or_else(|| AFTER_ERROR.delay(failures, ports.entropy.number()));
        tracing::warn!(event = "register_failed", error = %error, "the agent could not be registered; it is tried again");
        select_biased! {
            () = stop.wait().fuse() => return Ok(None),
            () = ports.clock.sleep_until(ports.clock.monotonic() + wait).fuse() => {}
        }
    }
}

/// Says what to do about a registration that was refused.
fn explained(error: ClientError) -> Failure {
    let refused = matches!(error.code(), "invalid_value" | "forbidden" | "not_found");
    let failure = Failure::from(error);
    if !refused {
        return failure;
    }
    let message = format!(
        "{}; is the key one of the role `agent`, made with `arbiter key create --role agent`?",
        failure.message
    );
    Failure { message, ..failure }
}

/// A registered agent.
pub(super) struct Agent {
    parts: Parts,
    desk: Arc<Desk>,
    runner: AttemptRunner,
    /// Ends attempts under way.
    drain: Stopper,
}

impl Agent {
    pub(super) fn new(parts: Parts) -> Self {
        let desk = Arc::new(Desk::new(&parts.client, parts.id, Arc::clone(&parts.ids)));
        let runner = AttemptRunner {
            desk: Arc::clone(&desk) as Arc<dyn WorkDesk>,
            reader: desk.clone(),
            context: vec![Arc::clone(&desk) as Arc<dyn ContextSource>],
            failures: Arc::new(PlainRetry),
            clock: Arc::clone(&parts.clock),
            ids: Arc::clone(&parts.ids),
            metrics: Arc::clone(&parts.metrics),
        };
        Self {
            parts,
            desk,
            runner,
            drain: Stopper::default(),
        }
    }

    /// Pulls and works until told to stop; then finishes what it has, or gives it back when that takes too long.
    ///
    /// # Errors
    /// When the server will have none of its calls; what it held was given back, as far as the server let it.
    pub(super) async fn run(&self, stop: Stop) -> Result<Worked, Failure> {
        let mut worked = Worked::default();
        let mut attempts: FuturesUnordered<Boxed<'_, Option<bool>>> = FuturesUnordered::new();
        let mut claim: Fuse<Boxed<'_, Result<Vec<Assignment>, ClientError>>> = Fuse::terminated();
        let mut beat: Fuse<Boxed<'_, ()>> = self.beat().fuse();
        let mut told = stopped(&stop).fuse();
        let mut overdue: Fuse<Boxed<'_, ()>> = Fuse::terminated();
        let (mut draining, mut failures) = (false, 0);
        let mut refused = None;
        loop {
            let free = (self.parts.form.slots as usize).saturating_sub(attempts.len());
            if claim.is_terminated() && !draining && free > 0 {
                claim = self.claim(free.min(AT_ONCE), self.wait(failures, None)).fuse();
            }
            if draining && attempts.is_empty() && claim.is_terminated() {
                break;
            }
            select_biased! {
                () = told => {
                    draining = true;
                    overdue = self.sleep(self.parts.drain).fuse();
                }
                () = overdue => {
                    // What an abandoned claim was given ends with its lease.
                    claim = Fuse::terminated();
                    self.drain.stop();
                }
                ended = attempts.select_next_some() => match ended {
                    Some(true) => worked.succeeded += 1,
                    Some(false) => worked.failed += 1,
                    None => worked.given_back += 1,
                },
                given = claim => match given {
                    Ok(given) => {
                        failures = 0;
                        for assignment in given {
                            attempts.push(if draining {
                                self.give_back(assignment)
                            } else {
                                self.attempt(assignment)
                            });
                        }
                    }
                    Err(error) if draining => self.could_not_claim(&error),
                    Err(error) if error.is_transient() => {
                        failures += 1;
                        self.could_not_claim(&error);
                        claim = self.claim(free.min(AT_ONCE), self.wait(failures, error.retry_after())).fuse();
                    }
                    // The server has forgotten the agent: a new store, or it was silent for too long.
                    Err(error) if error.code() == "not_found" => {
                        failures += 1;
                        claim = self.claim_anew(free.min(AT_ONCE), self.wait(failures, None)).fuse();
                    }
                    Err(error) => {
                        draining = true;
                        self.drain.stop();
                        refused = Some(error);
                    }
                },
                () = beat => beat = self.beat().fuse(),
            }
        }
        match refused {
            Some(error) => Err(explained(error)),
            None => Ok(worked),
        }
    }

    fn claim(&self, slots: usize, after: Duration) -> Boxed<'_, Result<Vec<Assignment>, ClientError>> {
        Box::pin(async move {
            if !after.is_zero() {
                self.sleep(after).await;
            }
            self.desk.claim(slots as u32, CLAIM_WAIT).await
        })
    }

    /// Registers again before it claims.
    fn claim_anew(&self, slots: usize, after: Duration) -> Boxed<'_, Result<Vec<Assignment>, ClientError>> {
        Box::pin(async move {
            self.sleep(after).await;
            self.register_again().await;
            self.claim(slots, Duration::ZERO).await
        })
    }

    /// How long to wait before the next claim.
    fn wait(&self, failures: u32, asked: Option<Duration>) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let wait = AFTER_ERROR.delay(failures, self.parts.entropy.number());
        asked.map_or(wait, |asked| asked.max(wait))
    }

    /// One attempt to its end. Gives whether it succeeded; nothing when it was given back or ended from outside.
    fn attempt(&self, assignment: Assignment) -> Boxed<'_, Option<bool>> {
        Box::pin(async move {
            let (task, fence) = (assignment.stored.task.id, assignment.fence);
            let principal = self.principal(assignment.stored.task.tenant);
            tracing::info!(event = "attempt_started", task.id = %task, fence = fence.0, "an attempt begins");
            let outcome = self
                .runner
                .run(
                    &principal,
                    self.parts.transport.as_ref(),
                    assignment,
                    self.drain.signal(),
                )
                .await;
            self.desk.end(task, fence);
            outcome.map(|outcome| outcome.succeeded)
        })
    }

    fn give_back(&self, assignment: Assignment) -> Boxed<'_, Option<bool>> {
        Box::pin(async move {
            let task = &assignment.stored.task;
            let work = WorkRef {
                task: task.id,
                tenant: task.tenant,
                fence: assignment.fence,
                command: self.parts.ids.command(),
            };
            let why = "the agent is draining".to_owned();
            let principal = self.principal(task.tenant);
            if let Err(error) = self.desk.decline(&principal, work, why).await {
                tracing::warn!(event = "decline_failed", task.id = %task.id, error = %error, "work was not given back");
            }
            self.desk.end(task.id, assignment.fence);
            None
        })
    }

    /// Tells the server that the agent is alive, from time to time.
    fn beat(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            self.sleep(HEARTBEAT).await;
            match self.parts.client.once().agent_heartbeat(self.parts.id).await {
                Ok(()) => {}
                Err(error) if error.code() == "not_found" => self.register_again().await,
                Err(error) => {
                    tracing::warn!(event = "agent_heartbeat_failed", error = %error, "the agent's heartbeat failed; it is tried again");
                }
            }
        })
    }

    async fn register_again(&self) {
        if let Err(error) = self.parts.client.once().agent_register(&self.parts.form).await {
            tracing::warn!(event = "register_failed", error = %error, "the agent could not be registered; it is tried again");
        }
    }

    fn could_not_claim(&self, error: &ClientError) {
        tracing::warn!(
            event = "claim_failed",
            agent.id = %self.parts.id,
            error = %error,
            "work could not be claimed; it is tried again"
        );
    }

    fn sleep(&self, wait: Duration) -> Boxed<'_, ()> {
        let until = self.parts.clock.monotonic().saturating_add(wait);
        Box::pin(self.parts.clock.sleep_until(until))
    }

    /// As whom attempts hand in: the server goes by the key.
    fn principal(&self, tenant: TenantId) -> Principal {
        Principal {
            id: PrincipalId::from_bytes(*self.parts.id.as_bytes()),
            tenant,
            kind: PrincipalKind::Agent,
            roles: BTreeSet::from([Role::Agent]),
            agent: Some(self.parts.id),
            kinds: None,
            highest_band: Band::HIGHEST,
        }
    }
}

fn stopped(stop: &Stop) -> Boxed<'_, ()> {
    Box::pin(stop.wait())
}
