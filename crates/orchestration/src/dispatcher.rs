//! The dispatcher: plans fair quotas over lanes, claims, and starts what it claimed.

mod recovery;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arbiter_core::model::{
    AgentId, CommandId, Holder, LaneId, NodeId, Principal, Shape, TaskId, TenantId, Work,
};
use arbiter_core::ports::{
    AgentTransport, Assignment, ClaimRequest, Claimed, Clock, Effects, IdSource, LaneHead, LaneQuota,
    Metrics, Scope, Spawner, StoreError, TaskReader, TaskStore, Wakeups,
};
use arbiter_core::services::{Allocator, Offer, Traffic, TrafficRules};
use futures_util::{FutureExt as _, select_biased};
use tokio::sync::Notify;

use crate::attempt::AttemptRunner;
use crate::fair::FairScheduler;
use crate::offers::Offers;
use crate::review::{ByWork, Reviewer};
use crate::slots::Slots;
use crate::stop::Stop;

/// The most tasks of one claim: fairness is exact to within one batch.
const BATCH: u32 = 20;
/// How many lanes one page of the store's answer holds.
const LANES: usize = 512;
/// The dispatcher looks at the lanes at least this often while it has free slots.
const REFRESH: Duration = Duration::from_secs(1);
/// How long to wait after an error of the store.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// An agent whose attempts this node runs itself.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct HostedAgent {
    /// As whom it hands in its work.
    pub principal: Principal,
    /// Its id.
    pub agent: AgentId,
    /// How many attempts it runs at once.
    pub slots: u32,
    /// How work reaches it.
    pub transport: Arc<dyn AgentTransport>,
}

/// What the dispatcher needs.
#[derive(Clone)]
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct DispatcherParts {
    /// This node.
    pub node: NodeId,
    /// Keeps tasks.
    pub store: Arc<dyn TaskStore>,
    /// Reads tasks.
    pub reader: Arc<dyn TaskReader>,
    /// Chooses agents.
    pub allocator: Arc<dyn Allocator>,
    /// Agents that ask for work.
    pub offers: Arc<Offers>,
    /// What operators have set: weights, pauses, limits.
    pub traffic: Arc<dyn Traffic>,
    /// Runs attempts.
    pub runner: AttemptRunner,
    /// Runs review stages.
    pub reviewer: Reviewer,
    /// How many reviews this node runs at once.
    pub review_slots: u32,
    /// Hints of new work.
    pub wakeups: Arc<dyn Wakeups>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub ids: Arc<dyn IdSource>,
    /// Runs attempts in the background.
    pub spawner: Arc<dyn Spawner>,
    /// Takes measurements.
    pub metrics: Arc<dyn Metrics>,
}

/// Claims work for the agents that this node hosts and for its own review slots, and runs it.
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct Dispatcher {
    parts: DispatcherParts,
    agents: BTreeMap<AgentId, Hosted>,
    reviews: Arc<Slots>,
    fair: Mutex<FairScheduler>,
    freed: Arc<Notify>,
    /// Agents that the store called full, until the lanes are looked at again: others run attempts on them too.
    full: Mutex<BTreeSet<AgentId>>,
    /// Claims whose answer was lost: what they took is looked for before the next one.
    lost: Mutex<Vec<CommandId>>,
}

struct Hosted {
    agent: Arc<HostedAgent>,
    slots: Arc<Slots>,
}

/// How many slots were free when a claim was planned.
struct Room {
    attempts: u32,
    reviews: u32,
}

impl Dispatcher {
    /// A dispatcher for these agents.
    pub fn new(parts: DispatcherParts, agents: Vec<HostedAgent>, fair: FairScheduler) -> Self {
        let freed = Arc::new(Notify::new());
        let agents = agents
            .into_iter()
            .map(|agent| {
                let slots = Slots::new(agent.slots, &freed);
                (
                    agent.agent,
                    Hosted {
                        agent: Arc::new(agent),
                        slots,
                    },
                )
            })
            .collect();
        let reviews = Slots::new(parts.review_slots, &freed);
        Self {
            parts,
            agents,
            reviews,
            fair: Mutex::new(fair),
            freed,
            full: Mutex::default(),
            lost: Mutex::default(),
        }
    }

    /// Runs until told to stop, then waits until every attempt and review that it started has ended. `drain` also
    /// ends the attempts themselves: each is stopped with its grace and given back.
    ///
    /// # Cancel safety
    /// Dropping the future leaves started attempts running under their spawner; their leases keep others away.
    pub async fn run(&self, stop: Stop, drain: Stop) {
        let mut hints = self.parts.wakeups.subscribe();
        let mut refresh = true;
        let mut refreshed_at = self.parts.clock.monotonic();
        while !stop.is_stopped() {
            if refresh {
                refreshed_at = self.parts.clock.monotonic();
            }
            let wait = match self.round(refresh, &drain).await {
                Ok(true) => {
                    // However many slots are free, who comes newly is seen before the next batch.
                    let told = hints.next().now_or_never().is_some();
                    refresh = told || self.parts.clock.monotonic() >= refreshed_at + REFRESH;
                    continue;
                }
                Ok(false) => REFRESH,
                Err(error) => {
                    tracing::error!(event = "dispatch_failed", error = %error, "work could not be claimed");
                    AFTER_ERROR
                }
            };
            let until = self.parts.clock.monotonic() + wait;
            select_biased! {
                () = stop.wait().fuse() => {}
                () = self.freed.notified().fuse() => {}
                () = self.parts.offers.arrived.notified().fuse() => {}
                _ = hints.next().fuse() => {}
                () = self.parts.clock.sleep_until(until).fuse() => {}
            }
            refresh = true;
        }
        self.wait_idle().await;
    }

    /// One bounded round: plan, claim, start. Gives whether another one may find more.
    ///
    /// Every round of a row without a refresh starts something, or leaves a lane alone, or finds an agent full: the
    /// row ends.
    async fn round(&self, refresh: bool, drain: &Stop) -> Result<bool, StoreError> {
        self.resume(drain).await?;
        if refresh {
            lock(&self.full).clear();
        }
        // Polls that are counted on wait for the end of the round.
        let polls = self.parts.offers.plan();
        let more = self.serve(refresh, drain, polls).await;
        self.parts.offers.settle();
        more
    }

    /// The agents that this node could give work to now: those that it hosts and those that wait in a poll, with free
    /// slots, and not paused.
    pub fn offered(&self) -> Vec<Offer> {
        self.offers(self.parts.offers.free(), &self.parts.traffic.rules())
    }

    /// Agents with free slots: those that this node hosts and those that wait in a poll.
    fn offers(&self, polls: BTreeMap<AgentId, u32>, rules: &TrafficRules) -> Vec<Offer> {
        let full = lock(&self.full).clone();
        let mut free = polls;
        for (agent, hosted) in &self.agents {
            let slots = free.entry(*agent).or_default();
            *slots = slots.saturating_add(hosted.slots.free());
        }
        let takes = |agent: &AgentId| !full.contains(agent) && !rules.paused_agents.contains(agent);
        free.into_iter()
            .filter(|(agent, free)| *free > 0 && takes(agent))
            .map(|(agent, free)| Offer {
                agent,
                free,
                acknowledges: true,
                without: Vec::new(),
            })
            .collect()
    }

    async fn serve(
        &self,
        refresh: bool,
        drain: &Stop,
        polls: BTreeMap<AgentId, u32>,
    ) -> Result<bool, StoreError> {
        let rules = self.parts.traffic.rules();
        if rules.paused {
            return Ok(false);
        }
        let offers = self.offers(polls, &rules);
        let reviews = if self.parts.reviewer.has_stages() {
            self.reviews.free()
        } else {
            0
        };
        let free = offers
            .iter()
            .map(|offer| offer.free)
            .fold(reviews, u32::saturating_add);
        if free == 0 {
            return Ok(false);
        }
        if refresh {
            let heads = self.lanes().await?;
            self.fair().observe(heads);
        }
        let quotas = self.plan(&offers, reviews, free.min(BATCH), &rules);
        if quotas.is_empty() {
            return Ok(false);
        }
        let chooser = Arc::new(ByWork {
            agents: self.parts.allocator.chooser(offers),
            node: self.parts.node,
            review_slots: self.parts.review_slots,
            rules,
            explored: Mutex::default(),
        });
        let command = self.parts.ids.command();
        let request = ClaimRequest {
            lanes: quotas.clone(),
            chooser: Arc::clone(&chooser) as _,
            command,
            effects: Effects::default(),
        };
        let claimed = self.parts.store.claim(request).await.inspect_err(|error| {
            if error.may_have_applied() {
                lock(&self.lost).push(command);
            }
        })?;
        let slots = Room {
            attempts: free - reviews,
            reviews,
        };
        let choose_again = self.note_full(&claimed.full);
        self.settle(&quotas, &claimed, &slots, choose_again);
        chooser.count_explored(&claimed.assigned, self.parts.metrics.as_ref());
        let started = claimed.assigned.len();
        for assignment in claimed.assigned {
            self.start(assignment, drain);
        }
        self.parts
            .metrics
            .count("dispatcher.assigned_total", &[], started as u64);
        Ok(true)
    }

    /// Notes agents that the store called full, which choices leave out until the next refresh. Gives whether there is
    /// one more than before, so that its tasks can be chosen again.
    fn note_full(&self, refused: &[(TaskId, Scope)]) -> bool {
        if refused.is_empty() {
            return false;
        }
        self.parts
            .metrics
            .count("dispatcher.full_total", &[], refused.len() as u64);
        let mut full = lock(&self.full);
        let before = full.len();
        full.extend(refused.iter().filter_map(|(_, scope)| match scope {
            Scope::Agent(agent) => Some(*agent),
            _ => None,
        }));
        full.len() > before
    }

    async fn lanes(&self) -> Result<Vec<LaneHead>, StoreError> {
        let mut heads: Vec<LaneHead> = Vec::new();
        loop {
            let page = self
                .parts
                .store
                .lanes(heads.last().map(|head| head.lane), LANES)
                .await?;
            let full = page.len() == LANES;
            heads.extend(page);
            if !full {
                return Ok(heads);
            }
        }
    }

    /// Quotas over the lanes that somebody here could serve now.
    fn plan(&self, offers: &[Offer], reviews: u32, batch: u32, rules: &TrafficRules) -> Vec<LaneQuota> {
        let mut fair = self.fair();
        fair.set_weights(&rules.weights);
        let mut capacity = BTreeMap::new();
        let mut lanes: Vec<LaneId> = Vec::new();
        let mut shapes: Vec<(TenantId, Shape)> = Vec::new();
        for (lane, key) in fair.lanes() {
            match &key.work {
                Work::Attempt(shape) if rules.permits(key.tenant, &shape.kind) => {
                    lanes.push(lane);
                    shapes.push((key.tenant, shape.clone()));
                }
                Work::Review(stage)
                    if self.parts.reviewer.has(*stage) && !rules.paused_tenants.contains(&key.tenant) =>
                {
                    capacity.insert(lane, reviews);
                }
                Work::Attempt(_) | Work::Review(_) => {}
            }
        }
        capacity.extend(
            lanes
                .into_iter()
                .zip(self.parts.allocator.capacity(&shapes, offers)),
        );
        fair.plan(batch, &capacity)
    }

    /// Tells the scheduler what was served. A lane that gave nothing although there was room has nothing that could be
    /// taken now: it is left alone until the next refresh. Where there was no room left, or its tasks can be
    /// chosen again, nothing is known of it.
    fn settle(&self, quotas: &[LaneQuota], claimed: &Claimed, room: &Room, choose_again: bool) {
        let reviews = claimed
            .assigned
            .iter()
            .filter(|one| matches!(one.to, Holder::Node(_)))
            .count();
        let attempts = claimed.assigned.len() - reviews;
        let exhausted = |work: &Work| match work {
            Work::Attempt(_) => attempts >= room.attempts as usize,
            Work::Review(_) => reviews >= room.reviews as usize,
        };
        let heads: BTreeMap<_, _> = claimed.heads.iter().copied().collect();
        let mut fair = self.fair();
        let mut served: BTreeSet<LaneId> = BTreeSet::new();
        for lane in claimed.assigned.iter().map(lane_of) {
            fair.served(lane, 1);
            served.insert(lane);
        }
        let asked: BTreeSet<LaneId> = quotas.iter().map(|quota| quota.lane).collect();
        for lane in asked {
            let head = heads.get(&lane).copied().flatten();
            let full = fair.work(lane).is_some_and(exhausted);
            if served.contains(&lane) {
                fair.moved(lane, head);
            } else if !full && !choose_again {
                fair.moved(lane, None);
            }
        }
    }

    /// Starts what was claimed, in the background.
    fn start(&self, assignment: Assignment, drain: &Stop) {
        let drain = drain.clone();
        match assignment.to {
            Holder::Agent(id) => {
                let Some(hosted) = self.agents.get(&id) else {
                    self.parts.offers.deliver(id, assignment);
                    return;
                };
                let (guard, agent) = (hosted.slots.take(), Arc::clone(&hosted.agent));
                let (runner, allocator) = (self.parts.runner.clone(), Arc::clone(&self.parts.allocator));
                let future = async move {
                    let task = assignment.stored.task.id;
                    let outcome = runner
                        .run(&agent.principal, agent.transport.as_ref(), assignment, drain)
                        .await;
                    if let Some(outcome) = outcome
                        && let Err(error) = allocator.learn(vec![outcome]).await
                    {
                        tracing::warn!(event = "learn_failed", task.id = %task, error = %error, "an outcome was not learnt");
                    }
                    drop(guard);
                };
                self.parts.spawner.spawn("attempt", Box::pin(future));
            }
            Holder::Node(_) => {
                let (guard, reviewer) = (self.reviews.take(), self.parts.reviewer.clone());
                let future = async move {
                    reviewer.review(assignment, drain).await;
                    drop(guard);
                };
                self.parts.spawner.spawn("review", Box::pin(future));
            }
        }
    }

    async fn wait_idle(&self) {
        let busy = || {
            self.agents
                .values()
                .any(|hosted| hosted.slots.free() < hosted.agent.slots)
                || self.reviews.free() < self.parts.review_slots
        };
        while busy() {
            self.freed.notified().await;
        }
    }

    fn fair(&self) -> MutexGuard<'_, FairScheduler> {
        lock(&self.fair)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The lane that an assignment was taken from.
fn lane_of(assignment: &Assignment) -> LaneId {
    assignment.stored.task.lane_now()
}
