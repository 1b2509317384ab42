//! The background services of one process, started in order and stopped in reverse.

mod housekeeping;
pub(crate) mod registry;
mod shared;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arbiter_adapter_process::Enforced;
use arbiter_allocation::Allocation;
use arbiter_core::model::{Band, NodeId, Principal, PrincipalId, PrincipalKind, Role, TenantId};
use arbiter_core::ports::{BoxError, LeaseStore, Spawner, TaskReader, TaskStore};
use arbiter_core::services::{Allocator, Traffic, WorkDesk};
use arbiter_orchestration::fair::{FairScheduler, FairSettings};
use arbiter_orchestration::supervisor::{
    Service, ServiceState, StartError, Supervisor, SupervisorPorts, service,
};
use arbiter_orchestration::{
    AttemptRunner, Dispatcher, DispatcherParts, DueTimer, HostedAgent, Offers, OutcomeHistory, PullDesk,
    PullParts, RetentionSweep, Reviewer, SilentAgents, Stop, Stopper,
};
use async_trait::async_trait;
use serde_json::{Map, Value};

use self::registry::Hosted;
use crate::app::App;
use crate::batch::AgentEntry;
use crate::config::{Config, Environment};
use crate::exec;
use crate::exit::Failure;

/// The name of the audit log in checkpoints and keys.
pub(crate) const LOG_ORIGIN: &str = "arbiter.local/audit";

/// How long services have to end, all together, once they are told to. Agents' commands get 5 s of it to end.
pub(crate) const GRACE: Duration = Duration::from_secs(30);

/// The services of a process before they start, and what others of its parts use of them.
pub(crate) struct Engine {
    /// Those that the others need.
    base: Vec<Arc<dyn Service>>,
    /// Hands out work: it starts last and stops first.
    dispatching: Arc<dyn Service>,
    /// What hands out work.
    pub(crate) dispatcher: Arc<Dispatcher>,
    /// Ends attempts under way.
    drain: Stopper,
    /// Which agent gets which task.
    pub(crate) allocation: Arc<Allocation>,
    /// What agents' attempts come to, for their history, where one is kept.
    pub(crate) outcomes: Option<Arc<OutcomeHistory>>,
    /// The side that agents call.
    pub(crate) work: Arc<PullDesk>,
    /// How the agents that this process runs itself stand with the registry.
    pub(crate) registered: Arc<Hosted>,
}

/// The running services.
pub(crate) struct Running {
    supervisor: Supervisor,
    drain: Stopper,
}

impl Engine {
    /// Makes the services. Nothing runs yet, and nothing was written.
    ///
    /// # Errors
    /// A failure that says which part could not be made.
    pub(crate) async fn new(
        app: &App,
        agents: Vec<AgentEntry>,
        environment: &dyn Environment,
    ) -> Result<Self, Failure> {
        let node = app.ids.node();
        let known = Arc::clone(&app.agents.registry);
        let allocation = Arc::new(Allocation::new(
            app.config.allocation.clone(),
            Arc::clone(&known),
            Arc::clone(&app.metrics),
            Arc::clone(&app.clock),
            Arc::clone(&app.entropy),
            Arc::clone(&app.ids),
        ));
        let plain = Arc::clone(&allocation) as Arc<dyn Allocator>;
        // Sums that nobody reads would only grow.
        let is_read = app.config.telemetry.sample_every.is_some();
        let outcomes = is_read.then(|| Arc::new(OutcomeHistory::new(Arc::clone(&plain))));
        let allocator = outcomes
            .clone()
            .map_or(plain, |outcomes| outcomes as Arc<dyn Allocator>);
        let offers = Arc::new(Offers::new());
        let drain = Stopper::default();
        let registered = Arc::new(Hosted::new(agents.iter().map(|entry| entry.profile.clone())));
        let registry = registry::Keeper {
            allocation: Arc::clone(&allocation),
            registry: Arc::clone(&known),
            is_elsewhere: app.agents.elsewhere.is_some(),
            queue: Arc::clone(&app.queue),
            hosted: Arc::clone(&registered),
            operator: app.operator.clone(),
            wakeups: Arc::clone(&app.wakeups),
            metrics: Arc::clone(&app.metrics),
            entropy: Arc::clone(&app.entropy),
            clock: Arc::clone(&app.clock),
        };
        let shared = shared::services(app, &agents);
        let hosted = host(app, agents, environment).await?;
        let work = Arc::new(PullDesk::new(PullParts {
            desk: Arc::clone(&app.queue) as Arc<dyn WorkDesk>,
            offers: Arc::clone(&offers),
            reader: app.store.clone(),
            allocator: Arc::clone(&allocator),
            registry: known,
            context: Vec::new(),
            failures: Arc::clone(&app.failures),
            clock: Arc::clone(&app.clock),
            metrics: Arc::clone(&app.metrics),
        }));
        let parts = parts(app, node, allocator, offers);
        let fair = FairScheduler::new(FairSettings::default());
        let dispatcher = Arc::new(Dispatcher::new(parts, hosted, fair));
        let mut base = shared;
        base.extend([
            Arc::new(registry) as Arc<dyn Service>,
            timer(app),
            retention(app),
            checkpoints(app),
            housekeeping::housekeeping(app),
        ]);
        // A registry elsewhere says itself who was silent for too long, to all that use it.
        if app.agents.elsewhere.is_none() {
            base.push(silent_agents(app));
        }
        Ok(Self {
            base,
            dispatching: Arc::new(Dispatching {
                dispatcher: Arc::clone(&dispatcher),
                drain: drain.signal(),
                has_started: AtomicBool::new(false),
            }),
            dispatcher,
            drain,
            allocation,
            outcomes,
            work,
            registered,
        })
    }

    /// Starts the services, with `more` between those that the dispatcher needs and the dispatcher itself.
    ///
    /// # Errors
    /// A failure that names the service that did not start; nothing is left running then.
    pub(crate) async fn start(self, app: &App, more: Vec<Arc<dyn Service>>) -> Result<Running, Failure> {
        let mut services = self.base;
        services.extend(more);
        services.push(self.dispatching);
        let ports = SupervisorPorts {
            spawner: Arc::clone(&app.spawner),
            clock: Arc::clone(&app.clock),
            metrics: Arc::clone(&app.metrics),
        };
        let supervisor = Supervisor::start(ports, services, GRACE)
            .await
            .map_err(not_started)?;
        Ok(Running {
            supervisor,
            drain: self.drain,
        })
    }
}

/// A service that says itself what its failure means for the caller is taken at its word.
fn not_started(error: StartError) -> Failure {
    let service = error.service;
    match error.source.downcast::<StartFailure>() {
        Ok(failure) => failure.0,
        Err(source) => {
            let message = format!("the service `{service}` could not be started: {source}");
            Failure::unavailable(message, anyhow::anyhow!(source))
        }
    }
}

/// A failure as an error of a service's start.
#[derive(Debug)]
pub(crate) struct StartFailure(pub(crate) Failure);

impl std::fmt::Display for StartFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for StartFailure {}

impl Running {
    /// How each service stands.
    pub(crate) fn states(&self) -> Arc<dyn Fn() -> Vec<ServiceState> + Send + Sync> {
        self.supervisor.states()
    }

    /// Stops taking work, ends what runs (at once with `drain`, else when it ends by itself), then the rest.
    pub(crate) async fn stop(self, drain: bool) {
        if drain {
            self.drain.stop();
        }
        self.supervisor.stop(GRACE).await;
    }
}

/// Claims and runs work.
struct Dispatching {
    dispatcher: Arc<Dispatcher>,
    drain: Stop,
    has_started: AtomicBool,
}

#[async_trait]
impl Service for Dispatching {
    fn name(&self) -> &'static str {
        "dispatcher"
    }

    /// Ends what an earlier process left. When the loop crashed and is started again, its attempts still run.
    async fn start(&self) -> Result<(), BoxError> {
        if !self.has_started.load(Ordering::Relaxed) {
            self.dispatcher.recover().await?;
            self.has_started.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    async fn run(&self, stop: Stop) {
        self.dispatcher.run(stop, self.drain.clone()).await;
    }
}

fn timer(app: &App) -> Arc<dyn Service> {
    let timer = Arc::new(DueTimer {
        store: app.store.clone(),
        clock: Arc::clone(&app.clock),
        wakeups: Arc::clone(&app.wakeups),
        metrics: Arc::clone(&app.metrics),
    });
    service("due-timer", move |stop| {
        let timer = Arc::clone(&timer);
        Box::pin(async move { timer.run(stop).await })
    })
}

fn silent_agents(app: &App) -> Arc<dyn Service> {
    let silent = Arc::new(SilentAgents {
        registry: Arc::clone(&app.agents.registry),
        clock: Arc::clone(&app.clock),
        wakeups: Arc::clone(&app.wakeups),
        metrics: Arc::clone(&app.metrics),
        after: app.config.upkeep.remove_agents_after,
    });
    service("silent-agents", move |stop| {
        let silent = Arc::clone(&silent);
        Box::pin(async move { silent.run(stop).await })
    })
}

fn retention(app: &App) -> Arc<dyn Service> {
    let sweep = Arc::new(RetentionSweep {
        store: app.store.clone(),
        audit: app.store.clone(),
        clock: Arc::clone(&app.clock),
        metrics: Arc::clone(&app.metrics),
        tasks: app.config.upkeep.keep_tasks,
        details: app.config.upkeep.keep_details,
        turn: (app.handle.is_shared()).then(|| (app.store.clone() as Arc<dyn LeaseStore>, app.ids.node())),
    });
    service("retention", move |stop| {
        let sweep = Arc::clone(&sweep);
        Box::pin(async move { sweep.run(stop).await })
    })
}

fn checkpoints(app: &App) -> Arc<dyn Service> {
    let checkpointer = app.checkpointer.clone();
    service("checkpointer", move |stop| {
        let checkpointer = checkpointer.clone();
        Box::pin(async move { checkpointer.run(stop).await })
    })
}

fn parts(app: &App, node: NodeId, allocator: Arc<dyn Allocator>, offers: Arc<Offers>) -> DispatcherParts {
    let store: Arc<dyn TaskStore> = app.store.clone();
    let reader: Arc<dyn TaskReader> = app.store.clone();
    let runner = AttemptRunner {
        desk: Arc::clone(&app.queue) as Arc<dyn WorkDesk>,
        reader: Arc::clone(&reader),
        context: Vec::new(),
        failures: Arc::clone(&app.failures),
        clock: Arc::clone(&app.clock),
        ids: Arc::clone(&app.ids),
        metrics: Arc::clone(&app.metrics),
    };
    let reviewer = Reviewer {
        node,
        stages: Vec::new(),
        store: Arc::clone(&store),
        reader: Arc::clone(&reader),
        failures: Arc::clone(&app.failures),
        wakeups: Arc::clone(&app.wakeups),
        clock: Arc::clone(&app.clock),
        ids: Arc::clone(&app.ids),
    };
    DispatcherParts {
        node,
        store,
        reader,
        allocator,
        offers,
        traffic: Arc::clone(&app.board) as Arc<dyn Traffic>,
        runner,
        reviewer,
        review_slots: 4,
        wakeups: Arc::clone(&app.wakeups),
        clock: Arc::clone(&app.clock),
        ids: Arc::clone(&app.ids),
        spawner: Arc::clone(&app.spawner) as Arc<dyn Spawner>,
        metrics: Arc::clone(&app.metrics),
    }
}

/// Makes a transport and a principal for each agent.
async fn host(
    app: &App,
    agents: Vec<AgentEntry>,
    environment: &dyn Environment,
) -> Result<Vec<HostedAgent>, Failure> {
    let groups = exec::groups(&app.config, app.clock.as_ref()).await;
    let left = arbiter_adapter_process::sweep(&exec::work_root(&app.config));
    match left {
        Ok(0) => {}
        Ok(count) => {
            tracing::info!(
                event = "work_folders_removed",
                count,
                "folders of attempts of dead processes were removed"
            );
        }
        Err(error) => {
            tracing::warn!(event = "work_folders_left", error = %error, "folders of dead attempts could not be removed");
        }
    }
    let around = exec::Surroundings {
        config: &app.config,
        artifacts: &app.artifacts,
        clock: &app.clock,
        environment,
        groups: &groups,
    };
    let mut hosted = Vec::new();
    for entry in agents {
        let tenant = entry.profile.tenant.unwrap_or(app.operator.tenant);
        let principal = agent_principal(tenant, &entry);
        // The agents of a suspended tenant wait until it goes on.
        if !app.queue.is_suspended(tenant) {
            app.queue.may_claim(&principal).await.map_err(|error| {
                Failure::configuration(format!(
                    "the agent `{}` may not take work: {error}",
                    entry.profile.name
                ))
            })?;
        }
        hosted.push(HostedAgent {
            agent: entry.profile.id,
            slots: entry.profile.slots,
            transport: exec::transport(&around, &entry)?,
            principal,
        });
    }
    Ok(hosted)
}

/// The principal as whom a hosted agent hands in its work: its id is the agent's.
fn agent_principal(tenant: TenantId, entry: &AgentEntry) -> Principal {
    Principal {
        id: PrincipalId::from_bytes(*entry.profile.id.as_bytes()),
        tenant,
        kind: PrincipalKind::Agent,
        roles: [Role::Agent].into(),
        agent: Some(entry.profile.id),
        kinds: None,
        highest_band: Band::HIGHEST,
    }
}

/// Which limits of commands hold on this machine.
pub(crate) fn enforced(config: &Config) -> Value {
    let limits = Enforced::here(Some(config.exec.uid), &exec::mode(config)).limits;
    Value::Object(
        limits
            .into_iter()
            .map(|(limit, how)| (limit, how.into()))
            .collect::<Map<_, _>>(),
    )
}
