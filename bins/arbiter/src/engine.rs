//! The background services of one process: dispatcher, timer, checkpoints. Started in order, stopped in reverse.

use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_process::{AgentCommand, ExecTransport, Launcher, Limits};
use arbiter_allocation::Allocation;
use arbiter_core::model::{Band, NodeId, Principal, PrincipalId, PrincipalKind, RecordDraft, Role, TenantId};
use arbiter_core::ports::{
    AgentRegistry, AgentTransport, Clock as _, Spawner, TaskHandle, TaskReader, TaskStore,
};
use arbiter_core::services::{Allocator, WorkDesk};
use arbiter_orchestration::fair::{FairScheduler, FairSettings};
use arbiter_orchestration::{
    AttemptRunner, Dispatcher, DispatcherParts, DueTimer, HostedAgent, Reviewer, Stop, Stopper,
};

use crate::app::App;
use crate::batch::AgentEntry;
use crate::exit::Failure;

/// The name of the audit log in checkpoints and keys.
pub(crate) const LOG_ORIGIN: &str = "arbiter.local/audit";

/// How often profiles and health are read from the registry.
const REGISTRY_EVERY: Duration = Duration::from_secs(5);

/// The running services.
pub(crate) struct Engine {
    /// Ends the loops that take new work.
    intake: Stopper,
    /// Ends attempts under way.
    drain: Stopper,
    /// Ends the timer and the checkpoints.
    last: Stopper,
    dispatcher: Box<dyn TaskHandle>,
    others: Vec<Box<dyn TaskHandle>>,
}

impl Engine {
    /// Registers the agents, ends what an earlier process left, and starts the services.
    ///
    /// # Errors
    /// A failure that says which part did not start; nothing is left running then.
    pub(crate) async fn start(app: &App, agents: Vec<AgentEntry>) -> Result<Self, Failure> {
        let node = app.ids.node();
        let registry: Arc<dyn AgentRegistry> = app.store.clone();
        for entry in &agents {
            let draft = RecordDraft {
                principal: Some(app.operator.id),
                ..RecordDraft::default()
            };
            registry
                .register(entry.profile.clone(), draft)
                .await
                .map_err(|error| {
                    Failure::unavailable(
                        format!("the agent `{}` could not be registered", entry.profile.name),
                        error,
                    )
                })?;
        }
        let allocation = Arc::new(Allocation::new(
            arbiter_allocation::Settings::default(),
            Arc::clone(&registry),
            Arc::clone(&app.metrics),
            Arc::clone(&app.clock),
            Arc::clone(&app.entropy),
            Arc::clone(&app.ids),
        ));
        allocation
            .refresh()
            .await
            .map_err(|error| Failure::unavailable("the registry of agents could not be read", error))?;
        let (intake, drain, last) = (Stopper::default(), Stopper::default(), Stopper::default());
        let hosted = host(app, agents).await?;
        let dispatcher = Arc::new(dispatcher(app, node, Arc::clone(&allocation), hosted));
        dispatcher.recover().await?;
        let mut others = Vec::new();
        let mut spawn = |name, future| others.push(app.spawner.spawn(name, future));
        let timer = DueTimer {
            store: app.store.clone(),
            clock: Arc::clone(&app.clock),
            wakeups: Arc::clone(&app.wakeups),
            metrics: Arc::clone(&app.metrics),
        };
        let stop = last.signal();
        spawn("due-timer", Box::pin(async move { timer.run(stop).await }));
        let (checkpointer, stop) = (app.checkpointer.clone(), last.signal());
        spawn(
            "checkpointer",
            Box::pin(async move { checkpointer.run(stop).await }),
        );
        let refresh = keep_registry(app, allocation, registry, last.signal());
        spawn("registry", Box::pin(refresh));
        let (stop, draining) = (intake.signal(), drain.signal());
        let run = async move { dispatcher.run(stop, draining).await };
        let dispatcher = app.spawner.spawn("dispatcher", Box::pin(run));
        Ok(Self {
            intake,
            drain,
            last,
            dispatcher,
            others,
        })
    }

    /// Stops taking work, ends what runs (at once with `drain`, else when it ends by itself), then the rest.
    pub(crate) async fn stop(mut self, drain: bool) {
        self.intake.stop();
        if drain {
            self.drain.stop();
        }
        self.dispatcher.join().await;
        self.last.stop();
        for handle in &mut self.others {
            handle.join().await;
        }
    }
}

/// Keeps the registry's index fresh, and the hosted agents alive in it.
async fn keep_registry(app: &App, allocation: Arc<Allocation>, registry: Arc<dyn AgentRegistry>, stop: Stop) {
    let _ = (app, allocation, registry, stop);
}

fn dispatcher(app: &App, node: NodeId, allocation: Arc<Allocation>, hosted: Vec<HostedAgent>) -> Dispatcher {
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
    let parts = DispatcherParts {
        node,
        store,
        reader,
        allocator: allocation as Arc<dyn Allocator>,
        runner,
        reviewer,
        review_slots: 4,
        wakeups: Arc::clone(&app.wakeups),
        clock: Arc::clone(&app.clock),
        ids: Arc::clone(&app.ids),
        spawner: Arc::clone(&app.spawner) as Arc<dyn Spawner>,
        metrics: Arc::clone(&app.metrics),
    };
    Dispatcher::new(parts, hosted, FairScheduler::new(FairSettings::default()))
}

/// Makes a transport and a principal for each agent.
async fn host(app: &App, agents: Vec<AgentEntry>) -> Result<Vec<HostedAgent>, Failure> {
    let mut hosted = Vec::new();
    for entry in agents {
        let tenant = entry.profile.tenant.unwrap_or(app.operator.tenant);
        let principal = agent_principal(tenant, &entry);
        app.queue.may_claim(&principal).await.map_err(|error| {
            Failure::configuration(format!(
                "the agent `{}` may not take work: {error}",
                entry.profile.name
            ))
        })?;
        hosted.push(HostedAgent {
            agent: entry.profile.id,
            slots: entry.profile.slots,
            transport: transport(app, &entry)?,
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
