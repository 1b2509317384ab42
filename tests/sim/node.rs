//! A node: the queue and the background services, wired as the binary wires them, over a way that fails.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arbiter_adapter_cedar::CedarAuthorizer;
use arbiter_adapter_inmem::{InProcessRateLimiter, InProcessWakeups};
use arbiter_allocation::Allocation;
use arbiter_core::mechanism::{RedactionRules, Redactor, SuspicionDetector};
use arbiter_core::model::{
    AgentBeat, AgentId, AgentProfile, Band, Principal, PrincipalId, PrincipalKind, RecordDraft, Role, Stage,
    TenantId,
};
use arbiter_core::ports::{
    AgentRegistry, AgentTransport, Clock, Entropy, IdSource, Metrics, NoMetrics, TaskReader, TaskStore,
    Wakeups,
};
use arbiter_core::services::{Allocator, FailureHandler, FixedTraffic, ReviewStage, WorkDesk};
use arbiter_orchestration::fair::{FairScheduler, FairSettings};
use arbiter_orchestration::{
    AttemptRunner, Dispatcher, DispatcherParts, DueTimer, HostedAgent, Offers, PlainRetry, Reviewer, Stopper,
};
use arbiter_queue::{ApiKeys, ContentPolicy, FingerprintKey, QueuePorts, SecureQueue, Settings};
use arbiter_testkit::builders::{agent, profile};
use arbiter_testkit::contract::Stores;
use arbiter_testkit::faulty::FaultyTaskStore;
use arbiter_testkit::{SeededEntropy, SeededIds};
use tokio::sync::watch;

use crate::agents::{Agent, DrawnStage};
use crate::link::{Far, Link};
use crate::world::{SkewedClock, World};

/// How many agents a node hosts.
pub(crate) const AGENTS: u64 = 2;
/// How many attempts an agent runs at once.
pub(crate) const SLOTS: u32 = 2;

/// What clients see of a node.
#[derive(Default)]
pub(crate) struct Door {
    queue: Mutex<Option<Arc<SecureQueue>>>,
    /// Counts the lives of the node: it changes when the node dies.
    pub(crate) life: watch::Sender<u64>,
}

impl Door {
    /// The node's queue, when it is up.
    pub(crate) fn queue(&self) -> Option<Arc<SecureQueue>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, queue: Option<Arc<SecureQueue>>) {
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = queue;
    }

    /// The node is dead: whoever waits for it hears so.
    pub(crate) fn close(&self) {
        self.set(None);
        self.life.send_modify(|life| *life += 1);
    }
}

/// One life of a node.
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) world: Arc<World>,
    pub(crate) door: Arc<Door>,
    pub(crate) stores: Stores,
    pub(crate) cut: Arc<AtomicBool>,
    /// Differs from life to life.
    pub(crate) seed: u64,
    pub(crate) fair: FairSettings,
}

struct Ports {
    store: Arc<dyn TaskStore>,
    far: Arc<Far>,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
    wakeups: Arc<dyn Wakeups>,
    metrics: Arc<dyn Metrics>,
    failures: Arc<dyn FailureHandler>,
    entropy: Arc<dyn Entropy>,
}

/// The agents that a node hosts: the same in each of its lives.
pub(crate) fn hosted(node: usize) -> impl Iterator<Item = AgentId> {
    (1..=AGENTS).map(move |place| agent(node as u64 * AGENTS + place))
}

fn authorizer() -> Arc<CedarAuthorizer> {
    static SHARED: OnceLock<Arc<CedarAuthorizer>> = OnceLock::new();
    let made = || Arc::new(CedarAuthorizer::new(&[]).expect("the built-in policies"));
    Arc::clone(SHARED.get_or_init(made))
}

fn content() -> ContentPolicy {
    static SHARED: OnceLock<ContentPolicy> = OnceLock::new();
    let made = || {
        ContentPolicy::new(
            Redactor::new(&RedactionRules::default()).expect("the built-in rules"),
            SuspicionDetector::new().expect("the built-in patterns"),
        )
    };
    SHARED.get_or_init(made).clone()
}

impl Node {
    /// Starts the node in its group; it tries until it is up.
    pub(crate) fn start(self) {
        let spawner = self.world.executor.spawner(self.number);
        let boot = async move {
            while let Err(error) = self.boot().await {
                tracing::debug!(%error, node = self.number, "the node does not start");
                self.world.sleep(Duration::from_secs(1)).await;
            }
        };
        spawner.spawn("boot", Box::pin(boot));
    }

    fn ports(&self) -> Ports {
        let link = Arc::new(Link {
            world: Arc::clone(&self.world),
            cut: Arc::clone(&self.cut),
        });
        let minutes = self.world.draw(21);
        Ports {
            store: Arc::new(FaultyTaskStore::new(
                Arc::clone(&self.stores.tasks),
                Arc::clone(&link) as _,
            )),
            far: Arc::new(Far {
                link,
                stores: self.stores.clone(),
            }),
            clock: Arc::new(SkewedClock {
                base: Arc::clone(&self.world.clock),
                ahead: minutes > 10,
                by: Duration::from_secs(60 * (minutes % 11)),
            }),
            ids: Arc::new(SeededIds::new(self.seed)),
            wakeups: Arc::new(InProcessWakeups::new()),
            metrics: Arc::new(NoMetrics),
            failures: Arc::new(PlainRetry),
            entropy: Arc::new(SeededEntropy::new(self.seed)),
        }
    }

    async fn boot(&self) -> anyhow::Result<()> {
        let ports = self.ports();
        let registry: Arc<dyn AgentRegistry> = Arc::clone(&ports.far) as _;
        for id in hosted(self.number) {
            let profile = AgentProfile {
                id,
                tenant: None,
                slots: SLOTS,
                ..profile(1)
            };
            registry.register(profile, RecordDraft::default()).await?;
        }
        let allocation = Arc::new(Allocation::new(
            arbiter_allocation::Settings::default(),
            Arc::clone(&registry),
            Arc::clone(&ports.metrics),
            Arc::clone(&self.world.clock) as _,
            Arc::clone(&ports.entropy),
            Arc::clone(&ports.ids),
        ));
        allocation.refresh().await?;
        let stages: Vec<Arc<dyn ReviewStage>> = [Stage::Verify, Stage::Judge]
            .map(|stage| Arc::new(DrawnStage(Arc::clone(&self.world), stage)) as _)
            .into();
        let fingerprints =
            FingerprintKey::load_or_create(self.stores.documents.as_ref(), ports.entropy.as_ref()).await?;
        let queue = Arc::new(SecureQueue::new(
            QueuePorts {
                store: Arc::clone(&ports.store),
                reader: Arc::clone(&ports.far) as _,
                audit: Arc::clone(&ports.far) as _,
                authenticator: Arc::new(ApiKeys::new(
                    Arc::clone(&self.stores.documents),
                    Arc::clone(&ports.clock),
                    Arc::clone(&ports.entropy),
                )),
                authorizer: authorizer(),
                limiter: Arc::new(InProcessRateLimiter::new(Arc::clone(&ports.clock))),
                wakeups: Arc::clone(&ports.wakeups),
                metrics: Arc::clone(&ports.metrics),
                clock: Arc::clone(&ports.clock),
                ids: Arc::clone(&ports.ids),
                failures: Arc::clone(&ports.failures),
            },
            Settings::default(),
            content(),
            fingerprints,
            Vec::new(),
            stages.clone(),
        ));
        let dispatcher = self.dispatcher(&ports, &allocation, &queue, stages);
        dispatcher.recover().await?;
        self.run(&ports, dispatcher, allocation, registry);
        self.door.set(Some(queue));
        Ok(())
    }

    fn dispatcher(
        &self,
        ports: &Ports,
        allocation: &Arc<Allocation>,
        queue: &Arc<SecureQueue>,
        stages: Vec<Arc<dyn ReviewStage>>,
    ) -> Dispatcher {
        let node = ports.ids.node();
        let reader: Arc<dyn TaskReader> = Arc::clone(&ports.far) as _;
        let runner = AttemptRunner {
            desk: Arc::clone(queue) as Arc<dyn WorkDesk>,
            reader: Arc::clone(&reader),
            context: Vec::new(),
            failures: Arc::clone(&ports.failures),
            clock: Arc::clone(&ports.clock),
            ids: Arc::clone(&ports.ids),
            metrics: Arc::clone(&ports.metrics),
        };
        let reviewer = Reviewer {
            node,
            stages,
            store: Arc::clone(&ports.store),
            reader: Arc::clone(&reader),
            failures: Arc::clone(&ports.failures),
            wakeups: Arc::clone(&ports.wakeups),
            clock: Arc::clone(&ports.clock),
            ids: Arc::clone(&ports.ids),
        };
        let wired = DispatcherParts {
            node,
            store: Arc::clone(&ports.store),
            reader,
            allocator: Arc::clone(allocation) as Arc<dyn Allocator>,
            offers: Arc::new(Offers::new()),
            traffic: Arc::new(FixedTraffic::default()),
            runner,
            reviewer,
            review_slots: 2,
            wakeups: Arc::clone(&ports.wakeups),
            clock: Arc::clone(&ports.clock),
            ids: Arc::clone(&ports.ids),
            spawner: self.world.executor.spawner(self.number),
            metrics: Arc::clone(&ports.metrics),
        };
        let transport: Arc<dyn AgentTransport> = Arc::new(Agent(Arc::clone(&self.world)));
        let agents = hosted(self.number).map(|id| HostedAgent {
            principal: Principal {
                id: PrincipalId::from_bytes(*id.as_bytes()),
                // they serve every tenant
                tenant: TenantId::SYSTEM,
                kind: PrincipalKind::Agent,
                roles: BTreeSet::from([Role::Agent]),
                agent: Some(id),
                kinds: None,
                highest_band: Band::HIGHEST,
            },
            agent: id,
            slots: SLOTS,
            transport: Arc::clone(&transport),
        });
        Dispatcher::new(wired, agents.collect(), FairScheduler::new(self.fair.clone()))
    }

    /// Starts the loops. They end with the node.
    fn run(
        &self,
        ports: &Ports,
        dispatcher: Dispatcher,
        allocation: Arc<Allocation>,
        registry: Arc<dyn AgentRegistry>,
    ) {
        let spawner = self.world.executor.spawner(self.number);
        let timer = DueTimer {
            store: Arc::clone(&ports.store),
            clock: Arc::clone(&ports.clock),
            wakeups: Arc::clone(&ports.wakeups),
            metrics: Arc::clone(&ports.metrics),
        };
        let never = Stopper::default();
        let (stop, drain) = (never.signal(), never.signal());
        let (world, node) = (Arc::clone(&self.world), self.number);
        spawner.spawn("timer", Box::pin(async move { timer.run(stop).await }));
        let stop = never.signal();
        spawner.spawn(
            "dispatcher",
            Box::pin(async move { dispatcher.run(stop, drain).await }),
        );
        let beats = async move {
            // holds the stopper, whose end would be a stop
            let _never = never;
            loop {
                world.sleep(Duration::from_secs(5)).await;
                let beats = hosted(node).map(|agent| AgentBeat {
                    agent,
                    able: true,
                    cpu: None,
                    memory: None,
                });
                // what fails now is tried again in the next round
                let _ = registry.beat(beats.collect()).await;
                let _ = allocation.refresh().await;
            }
        };
        spawner.spawn("registry", Box::pin(beats));
    }
}
