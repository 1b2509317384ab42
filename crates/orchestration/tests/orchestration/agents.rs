//! Agents that do what a test says, and an allocator that takes the first one that can do the work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use arbiter_core::model::{
    AgentId, Decision, Failure, Fence, Holder, Shape, TaskId, TaskKind, TenantId, Timestamp, Work,
};
use arbiter_core::ports::{
    AgentTransport, Candidate, Choice, Chooser, Delivered, Delivery, RegistryError, Scope, TransportError,
};
use arbiter_core::services::{Allocator, AttemptOutcome, Offer};
use arbiter_testkit::builders::{decision, report};
use async_trait::async_trait;
use futures_util::{FutureExt as _, select_biased};
use tokio::sync::oneshot;

use crate::watch::lock;

/// What a puppet does with a delivery.
pub(crate) enum Act {
    /// Reports at once.
    Report,
    /// Fails at once.
    Fail(Failure),
    /// Cannot be reached.
    Unreachable,
    /// Waits for [`Puppet::answer`], or for being stopped.
    Wait,
    /// Waits for [`Puppet::answer`] and does not hear that it is to stop.
    Deaf,
}

type Script = Box<dyn FnMut(&Delivery) -> Act + Send>;

/// Runs attempts as the test says.
pub(crate) struct Puppet {
    script: Mutex<Script>,
    seen: Mutex<Vec<Delivery>>,
    waiting: Mutex<Vec<(TaskId, oneshot::Sender<Delivered>)>>,
    stopped: Mutex<Vec<(TaskId, Fence)>>,
}

impl Puppet {
    /// Reports at once whatever it gets.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            script: Mutex::new(Box::new(|_| Act::Report)),
            seen: Mutex::default(),
            waiting: Mutex::default(),
            stopped: Mutex::default(),
        })
    }

    /// What it does from now on.
    pub(crate) fn acts(&self, script: impl FnMut(&Delivery) -> Act + Send + 'static) {
        *lock(&self.script) = Box::new(script);
    }

    /// Everything that was delivered, in order.
    pub(crate) fn seen(&self) -> Vec<Delivery> {
        lock(&self.seen).clone()
    }

    /// How much was delivered.
    pub(crate) fn count(&self) -> usize {
        lock(&self.seen).len()
    }

    /// The tasks that were delivered, in order.
    pub(crate) fn tasks(&self) -> Vec<TaskId> {
        lock(&self.seen).iter().map(|one| one.stored.task.id).collect()
    }

    /// The agents to which something was delivered, in order.
    pub(crate) fn agents(&self) -> Vec<AgentId> {
        lock(&self.seen).iter().map(|one| one.agent).collect()
    }

    /// The attempts that ended because they were told to stop.
    pub(crate) fn stopped(&self) -> Vec<(TaskId, Fence)> {
        lock(&self.stopped).clone()
    }

    /// Ends a waiting attempt of a task, the one that was delivered first.
    pub(crate) fn answer(&self, task: TaskId, delivered: Delivered) {
        let mut waiting = lock(&self.waiting);
        let place = waiting.iter().position(|(id, _)| *id == task);
        let (_, sender) = waiting.remove(place.expect("the task waits for an answer"));
        sender.send(delivered).expect("the attempt is still there");
    }

    /// Has a waiting attempt of a task report.
    pub(crate) fn reports(&self, task: TaskId) {
        self.answer(task, Delivered::Reported(report()));
    }
}

#[async_trait]
impl AgentTransport for Puppet {
    async fn deliver(&self, delivery: Delivery) -> Result<Delivered, TransportError> {
        let act = (lock(&self.script))(&delivery);
        let (task, fence) = (delivery.stored.task.id, delivery.fence);
        let (sender, answer) = oneshot::channel();
        lock(&self.seen).push(delivery.clone());
        let hears = match act {
            Act::Report => return Ok(Delivered::Reported(report())),
            Act::Fail(failure) => return Ok(Delivered::Failed(failure)),
            Act::Unreachable => {
                return Err(TransportError::Unreachable {
                    operation: "a start",
                    source: "nobody answers".into(),
                });
            }
            Act::Wait => true,
            Act::Deaf => false,
        };
        lock(&self.waiting).push((task, sender));
        let stop = async {
            if !hears {
                std::future::pending::<()>().await;
            }
            delivery.stop.stopped().await;
        };
        select_biased! {
            answer = answer.fuse() => Ok(answer.expect("the test answers")),
            () = stop.fuse() => {
                lock(&self.waiting).retain(|(_, sender)| !sender.is_closed());
                lock(&self.stopped).push((task, fence));
                Ok(Delivered::Stopped)
            }
        }
    }
}

/// What an agent can do, and how many attempts it may have by the store's count.
#[derive(Debug, Clone)]
pub(crate) struct Skill {
    pub(crate) kinds: BTreeSet<TaskKind>,
    pub(crate) slots: u32,
}

/// An allocator over known agents: the first by id that can do the work and is not to be avoided.
#[derive(Default)]
pub(crate) struct Agents {
    pub(crate) known: Mutex<BTreeMap<AgentId, Skill>>,
    /// How many tasks of a tenant, or of a kind of a tenant, may run.
    pub(crate) limits: Mutex<BTreeMap<Scope, u32>>,
    /// Whether the registry cannot be read.
    pub(crate) down: AtomicBool,
    pub(crate) learnt: Mutex<Vec<AttemptOutcome>>,
    /// Every decision that was made, used or not.
    pub(crate) decisions: Arc<Mutex<Vec<Arc<Decision>>>>,
    /// The candidates of each claim.
    pub(crate) asked: Arc<Mutex<Vec<Vec<Candidate>>>>,
    made: Arc<AtomicU64>,
    /// Whether every decision explores.
    pub(crate) explores: AtomicBool,
}

#[async_trait]
impl Allocator for Agents {
    fn capacity(&self, shapes: &[(TenantId, Shape)], offers: &[Offer]) -> Vec<u32> {
        let known = lock(&self.known);
        let down = self.down.load(Ordering::Relaxed);
        let can = |shape: &Shape, offer: &&Offer| {
            !down
                && known
                    .get(&offer.agent)
                    .is_some_and(|skill| skill.kinds.contains(&shape.kind))
        };
        shapes
            .iter()
            .map(|(_, shape)| {
                let able = offers.iter().filter(|offer| can(shape, offer));
                able.map(|offer| offer.free).sum()
            })
            .collect()
    }

    fn chooser(&self, offers: Vec<Offer>) -> Arc<dyn Chooser> {
        let known = if self.down.load(Ordering::Relaxed) {
            BTreeMap::new()
        } else {
            lock(&self.known).clone()
        };
        Arc::new(Choosing {
            known,
            limits: lock(&self.limits).clone(),
            offers: Mutex::new(offers),
            decisions: Arc::clone(&self.decisions),
            asked: Arc::clone(&self.asked),
            made: Arc::clone(&self.made),
            explores: self.explores.load(Ordering::Relaxed),
        })
    }

    async fn learn(&self, outcomes: Vec<AttemptOutcome>) -> Result<(), RegistryError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(RegistryError::Unavailable {
                retry_after: None,
                operation: "learn",
                source: "the registry is down".into(),
            });
        }
        lock(&self.learnt).extend(outcomes);
        Ok(())
    }
}

struct Choosing {
    known: BTreeMap<AgentId, Skill>,
    limits: BTreeMap<Scope, u32>,
    offers: Mutex<Vec<Offer>>,
    decisions: Arc<Mutex<Vec<Arc<Decision>>>>,
    asked: Arc<Mutex<Vec<Vec<Candidate>>>>,
    made: Arc<AtomicU64>,
    explores: bool,
}

impl Chooser for Choosing {
    fn choose(&self, candidates: &[Candidate], _: Timestamp) -> Vec<Option<Choice>> {
        lock(&self.asked).push(candidates.to_vec());
        candidates.iter().map(|candidate| self.one(candidate)).collect()
    }
}

impl Choosing {
    fn one(&self, candidate: &Candidate) -> Option<Choice> {
        let Work::Attempt(shape) = &candidate.key.work else {
            return None;
        };
        let mut offers = lock(&self.offers);
        let able = |offer: &Offer| {
            let skill = self.known.get(&offer.agent);
            offer.free > 0 && skill.is_some_and(|skill| skill.kinds.contains(&shape.kind))
        };
        let welcome = |offer: &Offer| able(offer) && !candidate.avoid.contains(&offer.agent);
        let place = offers
            .iter()
            .position(welcome)
            .or_else(|| offers.iter().position(able))?;
        let offer = &mut offers[place];
        offer.free -= 1;
        let tenant = candidate.key.tenant;
        let scopes = [
            Scope::Tenant(tenant),
            Scope::TenantKind(tenant, shape.kind.clone()),
        ];
        let limited = scopes
            .into_iter()
            .filter_map(|scope| self.limits.get(&scope).map(|limit| (scope, *limit)));
        let slots = self.known.get(&offer.agent)?.slots;
        let made = self.decide(candidate.task, offer.agent);
        Some(Choice {
            to: Holder::Agent(offer.agent),
            acknowledged: offer.acknowledges,
            loads: std::iter::once((Scope::Agent(offer.agent), slots))
                .chain(limited)
                .collect(),
            decision: Some(made),
        })
    }

    fn decide(&self, task: TaskId, agent: AgentId) -> Arc<Decision> {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        let made = Arc::new(Decision {
            id: decision(number),
            task,
            agent,
            strategy: "first",
            policy_version: 1,
            score: 1.0,
            parts: Vec::new(),
            candidates: 1,
            alternatives: Vec::new(),
            propensity: 1.0,
            explore: self.explores,
            seed: None,
            rationale: format!("the first that can do it is {agent}"),
        });
        lock(&self.decisions).push(Arc::clone(&made));
        made
    }
}
