//! The background services of one process: dispatcher, timer, checkpoints. Started in order, stopped in reverse.

use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_process::{AgentCommand, Enforced, ExecTransport, Launcher, Limits};
use arbiter_allocation::Allocation;
use arbiter_core::mechanism::Redactor;
use arbiter_core::model::{
    AgentBeat, AgentId, Band, NodeId, Principal, PrincipalId, PrincipalKind, RecordDraft, Role, TenantId,
};
use arbiter_core::ports::{AgentRegistry, AgentTransport, Clock, Spawner, TaskHandle, TaskReader, TaskStore};
use arbiter_core::services::{Allocator, WorkDesk};
use arbiter_orchestration::fair::{FairScheduler, FairSettings};
use arbiter_orchestration::{
    AttemptRunner, Dispatcher, DispatcherParts, DueTimer, HostedAgent, Reviewer, Stop, Stopper,
};

use futures_util::{FutureExt as _, select_biased};
use serde_json::{Map, Value};

use crate::app::App;
use crate::batch::AgentEntry;
use crate::config::{Config, Environment};
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
    pub(crate) async fn start(
        app: &App,
        agents: Vec<AgentEntry>,
        environment: &dyn Environment,
    ) -> Result<Self, Failure> {
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
        let ids: Vec<AgentId> = agents.iter().map(|entry| entry.profile.id).collect();
        let hosted = host(app, agents, environment).await?;
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
        let refresh = keep_registry(allocation, registry, ids, Arc::clone(&app.clock), last.signal());
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

/// Keeps the index of agents fresh, and the hosted ones alive in the registry.
async fn keep_registry(
    allocation: Arc<Allocation>,
    registry: Arc<dyn AgentRegistry>,
    hosted: Vec<AgentId>,
    clock: Arc<dyn Clock>,
    stop: Stop,
) {
    while !stop.is_stopped() {
        let until = clock.monotonic() + REGISTRY_EVERY;
        select_biased! {
            () = stop.wait().fuse() => return,
            () = clock.sleep_until(until).fuse() => {}
        }
        let beats = hosted.iter().map(|agent| AgentBeat {
            agent: *agent,
            able: true,
            cpu: None,
            memory: None,
        });
        let beaten = registry.beat(beats.collect()).await.map(|_| ());
        let refreshed = allocation.refresh().await;
        if let Err(error) = beaten.and(refreshed) {
            tracing::error!(event = "registry_failed", error = %error, "the registry of agents could not be read");
        }
    }
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
async fn host(
    app: &App,
    agents: Vec<AgentEntry>,
    environment: &dyn Environment,
) -> Result<Vec<HostedAgent>, Failure> {
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
            transport: transport(app, &entry, environment)?,
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

/// Runs an agent's command through this binary as its launcher.
fn transport(
    app: &App,
    entry: &AgentEntry,
    environment: &dyn Environment,
) -> Result<Arc<dyn AgentTransport>, Failure> {
    let mut env = std::collections::BTreeMap::new();
    for name in &entry.env {
        let value = environment.get(name).ok_or_else(|| {
            let agent = &entry.profile.name;
            Failure::configuration(format!(
                "the agent `{agent}` wants the variable `{name}`, which is not set"
            ))
        })?;
        env.insert(name.clone(), value);
    }
    let exec = app.config.exec;
    let limits = Limits {
        memory_bytes: entry.memory_bytes.unwrap_or(exec.memory_bytes),
        output_bytes: entry.output_bytes.unwrap_or(exec.output_bytes),
        processes: exec.processes,
        uid: Some(exec.uid),
    };
    let program = std::env::current_exe()
        .map_err(|error| Failure::internal("this program's own file was not found", error))?;
    let redactor = Redactor::new(&app.config.redaction)
        .map_err(|error| Failure::configuration(format!("redaction: {error}")))?;
    Ok(Arc::new(ExecTransport::new(
        AgentCommand {
            agent: entry.profile.id,
            command: entry.command.clone(),
            env,
            limits,
        },
        Launcher {
            program,
            arguments: vec!["__launch".into()],
        },
        Arc::clone(&app.artifacts),
        Arc::clone(&app.clock),
        Arc::new(redactor),
        work_root(&app.config),
    )))
}

/// Where attempts work: outside of the data folder, which commands must not enter.
fn work_root(config: &Config) -> std::path::PathBuf {
    let owner = nix::unistd::Uid::effective();
    let place = arbiter_core::model::Digest::of(config.data_dir.as_os_str().as_encoded_bytes());
    let place: String = place.to_string().chars().take(16).collect();
    std::env::temp_dir().join(format!("arbiter-work-{owner}-{place}"))
}

/// Which limits of commands hold on this machine.
pub(crate) fn enforced(config: &Config) -> Value {
    let limits = Enforced::here(Some(config.exec.uid)).limits;
    Value::Object(
        limits
            .into_iter()
            .map(|(limit, how)| (limit, how.into()))
            .collect::<Map<_, _>>(),
    )
}
