//! Agents that ask for work over a network: they offer free slots and wait, and keep what they got by heartbeats.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::model::{
    AgentBeat, AgentId, AttemptEnd, Failure, Fence, Holder, Principal, Report, StoredTask, Task, TaskId,
    TaskKind, TenantScope, Timestamp, Transport,
};
use arbiter_core::ports::{
    AgentRegistry, Assignment, Clock, ContextItem, LeaseStatus, Metrics, RegistryError, TaskReader,
};
use arbiter_core::services::{
    Allocator, AttemptOutcome, Beat, ContextSource, FailureEvent, FailureHandler, WorkDesk, WorkError,
    WorkRef,
};
use async_trait::async_trait;
use futures_util::{FutureExt as _, select_biased};

use crate::attempt::{HEARTBEAT, deadline};
use crate::context;
use crate::offers::Offers;
use crate::stop::Stop;

/// How long a poll that does not want to wait is kept, at most, for the claim that looks at it.
const ONE_LOOK: Duration = Duration::from_secs(1);
/// A poll is a heartbeat of its agent, noted at most this often.
const NOTE_EVERY: Duration = Duration::from_secs(10);
/// More agents than this are forgotten together; each is noted again at its next poll.
const MAX_NOTED: usize = 100_000;

/// What the agents' side of a node needs.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct PullParts {
    /// The agents' side of the queue.
    pub desk: Arc<dyn WorkDesk>,
    /// Where the dispatcher of this node finds offers.
    pub offers: Arc<Offers>,
    /// Reads what an agent holds.
    pub reader: Arc<dyn TaskReader>,
    /// Learns how attempts end.
    pub allocator: Arc<dyn Allocator>,
    /// Notes who is alive.
    pub registry: Arc<dyn AgentRegistry>,
    /// Adds to what an attempt knows.
    pub context: Vec<Arc<dyn ContextSource>>,
    /// Hears of failures.
    pub failures: Arc<dyn FailureHandler>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Takes measurements.
    pub metrics: Arc<dyn Metrics>,
}

/// The side of a node that agents call: the queue's desk, with claims, and with outcomes that are learnt.
pub struct PullDesk {
    parts: PullParts,
    /// When each agent was noted as alive.
    noted: Mutex<BTreeMap<AgentId, Duration>>,
    /// Whether the registry did not take the latest heartbeat.
    deaf: AtomicBool,
}

impl std::fmt::Debug for PullDesk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PullDesk").finish_non_exhaustive()
    }
}

/// A poll.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// How many tasks the agent could start now.
    pub slots: u32,
    /// What it holds already.
    pub holding: BTreeSet<(TaskId, Fence)>,
    /// How long it waits for work.
    pub wait: Duration,
}

/// Work for an agent that asked.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// The task, with its lease.
    pub stored: StoredTask,
    /// The fencing token.
    pub fence: Fence,
    /// When the attempt is ended.
    pub ends_at: Timestamp,
    /// What earlier attempts and other domains have to say.
    pub context: Vec<ContextItem>,
}

/// Why a poll was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// As for every call of an agent.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// The agent is not registered, or not as one of the caller's that asks for work: nothing would ever be given to it.
    #[error("the agent `{0}` is not registered")]
    Unregistered(AgentId),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl PullDesk {
    /// A desk over these parts.
    pub fn new(parts: PullParts) -> Self {
        Self {
            parts,
            noted: Mutex::default(),
            deaf: AtomicBool::new(false),
        }
    }

    /// Offers an agent's free slots and waits for work. What it holds by the store's account but does not name is given
    /// again, at once: an answer that was lost loses nothing.
    ///
    /// # Errors
    /// [`ClaimError`]; nothing was assigned then, or it is given again at the next poll.
    ///
    /// # Cancel safety
    /// Dropping the future withdraws the offer; what was assigned meanwhile is given at the next poll.
    pub async fn claim(
        &self,
        agent: &Principal,
        asked: Asked,
        stop: &Stop,
    ) -> Result<Vec<Pulled>, ClaimError> {
        let id = agent.agent.ok_or(WorkError::Forbidden)?;
        self.parts.desk.may_claim(agent).await?;
        self.registered(agent, id).await?;
        self.note(id).await?;
        let poll = self.parts.offers.register(id, asked.slots);
        let held = self.parts.reader.held_by(Holder::Agent(id)).await;
        let held = held.map_err(WorkError::from)?;
        let in_hand = self.parts.offers.in_hand(id);
        let known = |place: &(TaskId, Fence)| asked.holding.contains(place) || in_hand.contains(place);
        let forgotten: Vec<Assignment> = held
            .into_iter()
            .filter(|stored| agent.is_shared() || stored.task.tenant == agent.tenant)
            .filter_map(assigned)
            .filter(|one| !known(&(one.stored.task.id, one.fence)))
            .collect();
        if forgotten.is_empty() {
            poll.offer();
            self.wait(id, &poll, asked.wait, stop).await?;
        } else {
            let count = forgotten.len() as u64;
            self.parts.metrics.count("work.given_again_total", &[], count);
        }
        let mut work = forgotten;
        for one in poll.close().await {
            // What came into the poll may have been read as held as well.
            if work
                .iter()
                .all(|known| known.fence != one.fence || known.stored.task.id != one.stored.task.id)
            {
                work.push(one);
            }
        }
        let mut pulled = Vec::with_capacity(work.len());
        for one in work {
            let context = context::gather(self.parts.reader.as_ref(), &self.parts.context, &one.stored).await;
            pulled.push(Pulled {
                fence: one.fence,
                ends_at: deadline(&one.stored),
                context,
                stored: one.stored,
            });
        }
        Ok(pulled)
    }

    /// Checks that the caller is the registered agent that it says it is: of its own tenant, or of all for one that is
    /// shared, and one that asks for work by itself. A key names an agent; whose agent that is, the registry knows.
    async fn registered(&self, agent: &Principal, id: AgentId) -> Result<(), ClaimError> {
        let found = self.parts.registry.get(&[id]).await?;
        let profile = found.into_iter().flatten().next().map(|known| known.profile);
        let own = match profile {
            Some(profile) if profile.transport == Transport::Pull => match profile.tenant {
                Some(tenant) => tenant == agent.tenant,
                None => agent.is_shared(),
            },
            _ => false,
        };
        if own {
            Ok(())
        } else {
            Err(ClaimError::Unregistered(id))
        }
    }

    async fn wait(
        &self,
        agent: AgentId,
        poll: &crate::offers::Poll,
        wait: Duration,
        stop: &Stop,
    ) -> Result<(), ClaimError> {
        let clock = &self.parts.clock;
        let until = clock.monotonic() + wait;
        let mut beat = clock.monotonic() + HEARTBEAT;
        if wait.is_zero() {
            select_biased! {
                () = poll.looked_at().fuse() => {}
                () = stop.wait().fuse() => {}
                () = clock.sleep_until(until + ONE_LOOK).fuse() => {}
            }
            return Ok(());
        }
        loop {
            select_biased! {
                () = poll.work().fuse() => return Ok(()),
                () = stop.wait().fuse() => return Ok(()),
                () = clock.sleep_until(until).fuse() => return Ok(()),
                () = clock.sleep_until(beat).fuse() => {
                    self.note(agent).await?;
                    beat = clock.monotonic() + HEARTBEAT;
                }
            }
        }
    }

    /// Notes that an agent is alive, unless it was noted just now.
    async fn note(&self, agent: AgentId) -> Result<(), ClaimError> {
        let now = self.parts.clock.monotonic();
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.get(&agent).is_some_and(|at| now < *at + NOTE_EVERY) {
                return Ok(());
            }
            if noted.len() >= MAX_NOTED {
                noted.clear();
            }
        }
        let beat = AgentBeat {
            agent,
            able: true,
            cpu: None,
            memory: None,
        };
        let unknown = match self.parts.registry.beat(vec![beat]).await {
            Ok(unknown) => {
                if self.deaf.swap(false, Ordering::Relaxed) {
                    tracing::info!(
                        event = "agents_noted",
                        "the registry notes again that agents are alive"
                    );
                }
                unknown
            }
            // Whether it is still known was asked before. It counts as heard of when the registry last noted it.
            Err(error @ RegistryError::Unavailable { .. }) => {
                if !self.deaf.swap(true, Ordering::Relaxed) {
                    tracing::warn!(event = "agent_not_noted", agent.id = %agent, error = %error, "the registry does not note that agents are alive; it is tried again at each poll");
                }
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if !unknown.is_empty() {
            return Err(ClaimError::Unregistered(agent));
        }
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        noted.insert(agent, now);
        Ok(())
    }

    /// Learns how an attempt ended. What cannot be learnt now is logged: the attempt itself is on record.
    /// Gives the kind of the task, if it can be read.
    async fn learn(&self, work: WorkRef) -> Option<TaskKind> {
        let scope = TenantScope::Tenant(work.tenant);
        let mut kind = None;
        let learnt = async {
            let found = self.parts.reader.get(scope, &[work.task]).await?;
            let Some(stored) = found.into_iter().flatten().next() else {
                return Ok(());
            };
            kind = Some(stored.spec.kind.clone());
            let history = self.parts.reader.history(scope, work.task).await?;
            let Some(attempt) = history.attempts.iter().find(|one| one.open.fence == work.fence) else {
                return Ok(());
            };
            let outcome = AttemptOutcome {
                task: work.task,
                fence: work.fence,
                kind: stored.spec.kind.clone(),
                agent: attempt.open.agent,
                decision: attempt.open.decision,
                succeeded: matches!(attempt.outcome, AttemptEnd::Reported(_)),
                quality: None,
                latency: attempt.ended_at.since(attempt.open.started_at),
                cost_micros: attempt.usage.cost_micros,
            };
            self.parts
                .metrics
                .observe("attempt.duration_seconds", &[], outcome.latency.as_secs_f64());
            self.parts.allocator.learn(vec![outcome]).await
        };
        if let Err(error) = learnt.await {
            tracing::warn!(event = "learn_failed", task.id = %work.task, error = %error, "an outcome was not learnt");
        }
        kind
    }
}

/// A held task as an assignment.
fn assigned(stored: StoredTask) -> Option<Assignment> {
    let lease = stored.task.state.lease()?;
    let (to, fence) = (lease.holder, lease.fence);
    Some(Assignment { stored, to, fence })
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl WorkDesk for PullDesk {
    async fn may_claim(&self, agent: &Principal) -> Result<(), WorkError> {
        self.parts.desk.may_claim(agent).await
    }

    async fn acknowledge(&self, agent: &Principal, work: WorkRef) -> Result<Task, WorkError> {
        self.parts.desk.acknowledge(agent, work).await
    }

    async fn heartbeat(&self, agent: &Principal, items: Vec<Beat>) -> Result<Vec<LeaseStatus>, WorkError> {
        self.parts.desk.heartbeat(agent, items).await
    }

    async fn report(&self, agent: &Principal, work: WorkRef, report: Report) -> Result<Task, WorkError> {
        let task = self.parts.desk.report(agent, work, report).await?;
        self.learn(work).await;
        Ok(task)
    }

    async fn fail(&self, agent: &Principal, work: WorkRef, failure: Failure) -> Result<Task, WorkError> {
        let told = failure.clone();
        let task = self.parts.desk.fail(agent, work, failure).await?;
        if let (Some(id), Some(kind)) = (agent.agent, self.learn(work).await) {
            self.parts.failures.report(FailureEvent::Attempt {
                task: work.task,
                tenant: work.tenant,
                kind,
                agent: id,
                failure: told,
            });
        }
        Ok(task)
    }

    async fn decline(&self, agent: &Principal, work: WorkRef, why: String) -> Result<Task, WorkError> {
        self.parts.desk.decline(agent, work, why).await
    }
}
