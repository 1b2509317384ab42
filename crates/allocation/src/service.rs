//! The service.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arbiter_core::model::{
    AgentId, AgentMode, Health, OutcomeDelta, RegisteredAgent, Shape, TaskKind, TenantId, Timestamp,
};
use arbiter_core::ports::{
    AgentRegistry, Chooser, Clock, Entropy, HeardFrom, IdSource, Metrics, RegistryError, Revision,
};
use arbiter_core::services::{Allocator, AttemptOutcome, Offer};
use async_trait::async_trait;

use crate::chooser::Choosing;
use crate::class::in_order;
use crate::explain::{Explanation, Question, explain};
use crate::index::Snapshot;
use crate::settings::Settings;

/// How many changes are read at a time.
const PAGE: usize = 1_000;

/// How far the registry was read.
#[derive(Debug, Clone, Copy)]
struct Known {
    revision: Revision,
    /// The latest heartbeat, by the registry's clock.
    heard: Timestamp,
}

type Agents = HashMap<AgentId, Arc<RegisteredAgent>>;

/// Chooses agents out of a registry.
pub struct Allocation {
    settings: Arc<Settings>,
    registry: Arc<dyn AgentRegistry>,
    metrics: Arc<dyn Metrics>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    ids: Arc<dyn IdSource>,
    snapshot: RwLock<Arc<Snapshot>>,
    known: Mutex<Known>,
    turns: Arc<AtomicU64>,
    /// Kinds whose available agents were told, so that one that has none left is told too.
    measured: Mutex<BTreeSet<TaskKind>>,
}

impl std::fmt::Debug for Allocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Allocation")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Allocation {
    /// An allocation that knows no agent until [`Self::refresh`].
    pub fn new(
        settings: Settings,
        registry: Arc<dyn AgentRegistry>,
        metrics: Arc<dyn Metrics>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        let snapshot = RwLock::new(Arc::new(Snapshot::new(
            HashMap::new(),
            Timestamp::from_micros(i64::MIN),
        )));
        Self {
            settings: Arc::new(settings),
            registry,
            metrics,
            clock,
            entropy,
            ids,
            snapshot,
            known: Mutex::new(Known {
                revision: Revision::default(),
                heard: HeardFrom::START.since,
            }),
            turns: Arc::default(),
            measured: Mutex::default(),
        }
    }

    /// Reads what has changed in the registry, and who was heard of.
    ///
    /// # Errors
    /// The registry's. What was known stays in use until it is stale, with what was read before the error; no agent is ever
    /// invented.
    ///
    /// # Cancel safety
    /// Safe: what was read is read again.
    pub async fn refresh(&self) -> Result<(), RegistryError> {
        let mut known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let current = self.current();
        let mut agents = current.agents.clone();
        let followed = self.follow(&mut known, &mut agents).await;
        // Profiles are as young as the whole feed. What was read of it is not lost when the rest cannot be read.
        let fresh_at = match followed {
            Ok(()) => self.clock.now(),
            Err(_) => current.fresh_at,
        };
        let heard = match followed {
            Ok(()) => self.hear(&mut known, &mut agents).await,
            Err(error) => Err(error),
        };
        let snapshot = Arc::new(Snapshot::new(agents, fresh_at));
        self.measure(&snapshot, self.clock.now());
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot;
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
        heard
    }

    /// Reads what has changed, page by page; each page that was read counts.
    async fn follow(&self, known: &mut Known, agents: &mut Agents) -> Result<(), RegistryError> {
        loop {
            let changes = self.registry.changes(known.revision, PAGE).await?;
            for agent in changes.agents {
                agents.insert(agent.profile.id, Arc::new(agent));
            }
            for gone in changes.removed {
                agents.remove(&gone);
            }
            known.revision = changes.revision;
            if !changes.more {
                return Ok(());
            }
        }
    }

    /// Reads who was heard of, page by page; each page that was read counts. Whoever is heard of again meanwhile is told
    /// behind the others, so the pages of one pass are bounded.
    async fn hear(&self, known: &mut Known, agents: &mut Agents) -> Result<(), RegistryError> {
        // What another transaction notes at the moment that was told last may become visible later.
        let mut from = HeardFrom::since(known.heard);
        for _ in 0..agents.len() / PAGE + 2 {
            let heard = self.registry.heard(from, PAGE).await?;
            for seen in &heard.agents {
                (known.heard, from) = (seen.at, HeardFrom::after(seen));
                if let Some(agent) = agents.get_mut(&seen.agent) {
                    let agent = Arc::make_mut(agent);
                    (agent.seen_at, agent.beat) = (seen.at, seen.beat);
                }
            }
            if !heard.more {
                break;
            }
        }
        Ok(())
    }

    /// Says who could do such a task now, or why nobody can. Assigns nothing.
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        explain(&self.settings, &self.current(), question, self.clock.now())
    }

    /// The agents that are in quarantine, as far as is known.
    pub fn quarantined(&self) -> BTreeSet<AgentId> {
        let known = self.current();
        let agents = known.agents.values();
        agents
            .filter(|agent| agent.mode == AgentMode::Quarantined)
            .map(|agent| agent.profile.id)
            .collect()
    }

    fn current(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn measure(&self, snapshot: &Snapshot, now: Timestamp) {
        let takes_work = |agent: &RegisteredAgent| {
            let health = agent.health(now, self.settings.heartbeat);
            agent.mode == AgentMode::Active && matches!(health, Health::Healthy | Health::Degraded)
        };
        let available = snapshot.available(takes_work);
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let gone = measured.iter().filter(|kind| !available.contains_key(*kind));
        let now = available.iter().map(|(kind, count)| (kind, *count));
        for (kind, count) in now.chain(gone.map(|kind| (kind, 0))) {
            self.metrics.gauge(
                "agent_registry.available_agents",
                &[("kind", kind.as_str())],
                count as f64,
            );
        }
        *measured = available.into_keys().collect();
    }
}

#[async_trait]
impl Allocator for Allocation {
    fn capacity(&self, shapes: &[(TenantId, Shape)], offers: &[Offer]) -> Vec<u32> {
        let snapshot = self.current();
        let now = self.clock.now();
        if now.since(snapshot.fresh_at) > self.settings.stale_after {
            return vec![0; shapes.len()];
        }
        let free: HashMap<_, _> = offers.iter().map(|offer| (offer.agent, offer)).collect();
        let takes_work = |agent: &RegisteredAgent, hosted: bool| {
            let health = agent.health(now, self.settings.heartbeat);
            agent.mode == AgentMode::Active
                && (hosted || matches!(health, Health::Healthy | Health::Degraded))
        };
        shapes
            .iter()
            .map(|(tenant, shape)| {
                let capable = snapshot.capable(*tenant, shape, offers.iter().map(|offer| offer.agent));
                let rooms = capable.iter().filter_map(|agent| {
                    let offer = free.get(&agent.profile.id)?;
                    let may = !offer.without.contains(&shape.kind) && takes_work(agent, offer.acknowledges);
                    may.then_some(offer.free)
                });
                rooms.fold(0, u32::saturating_add)
            })
            .collect()
    }

    fn chooser(&self, offers: Vec<Offer>) -> Arc<dyn Chooser> {
        Arc::new(Choosing {
            settings: Arc::clone(&self.settings),
            snapshot: self.current(),
            ids: Arc::clone(&self.ids),
            offers: Mutex::new(in_order(offers)),
            seed: self.entropy.number(),
            turns: Arc::clone(&self.turns),
        })
    }

    async fn learn(&self, outcomes: Vec<AttemptOutcome>) -> Result<(), RegistryError> {
        for outcome in &outcomes {
            let policy = self.settings.strategy_of(&outcome.kind).word();
            let reward = if outcome.succeeded { 1.0 } else { 0.0 };
            self.metrics.observe(
                "routing.reward",
                &[("policy", policy), ("kind", outcome.kind.as_str())],
                reward,
            );
        }
        let deltas = outcomes
            .into_iter()
            .map(|outcome| OutcomeDelta {
                agent: outcome.agent,
                kind: outcome.kind,
                attempt: (outcome.task, outcome.fence),
                succeeded: outcome.succeeded,
                quality: outcome.quality,
                latency: outcome.latency,
                cost_micros: outcome.cost_micros,
            })
            .collect();
        self.registry.learn(deltas).await
    }
}
