//! Keeps the index of agents fresh, and the hosted ones alive in the registry.

mod hosted;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arbiter_allocation::Allocation;
use arbiter_core::model::{AgentBeat, AgentId, AgentProfile, Operation, Principal, RecordDraft, Target};
use arbiter_core::ports::{AgentRegistry, BoxError, Clock, Entropy, Hint, Metrics, RegistryError, Wakeups};
use arbiter_orchestration::supervisor::Service;
use arbiter_orchestration::{HEARTBEAT, Stop};
use arbiter_queue::SecureQueue;
use async_trait::async_trait;
use futures_util::{FutureExt as _, select_biased};

pub(crate) use self::hosted::Hosted;
use super::StartFailure;
use crate::exit::Failure;

/// How often profiles and health are read from the registry, beside hints.
pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// The service.
pub(super) struct Keeper {
    pub(super) allocation: Arc<Allocation>,
    pub(super) registry: Arc<dyn AgentRegistry>,
    /// Whether that is another control plane: what it refuses ends no process here.
    pub(super) is_elsewhere: bool,
    pub(super) queue: Arc<SecureQueue>,
    /// Agents that this process runs itself.
    pub(super) hosted: Arc<Hosted>,
    /// As whom they are registered.
    pub(super) operator: Principal,
    pub(super) wakeups: Arc<dyn Wakeups>,
    pub(super) metrics: Arc<dyn Metrics>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) clock: Arc<dyn Clock>,
}

/// What is remembered from one look at the registry to the next.
#[derive(Debug, Default)]
struct Seen {
    /// Quarantined agents whose leases were ended.
    fenced: BTreeSet<AgentId>,
    /// Whether the latest look failed.
    failed: bool,
}

#[async_trait]
impl Service for Keeper {
    fn name(&self) -> &'static str {
        "registry"
    }

    async fn start(&self) -> Result<(), BoxError> {
        for profile in self.hosted.profiles() {
            let target = Target {
                agent: Some(profile.id),
                ..Target::of(profile.tenant.unwrap_or(self.operator.tenant))
            };
            let operation = Operation::AgentRegister;
            let permitted = self.queue.permit_on(&self.operator, operation, &target).await;
            permitted.map_err(|error| StartFailure(error.into()))?;
        }
        match self.begin().await {
            Ok(()) => Ok(()),
            // Without the registry nobody is given work; everything else goes on, and it is asked again.
            Err((what, error @ RegistryError::Unavailable { .. })) => {
                tracing::error!(event = "registry_failed", error = chain(&error), "{what}");
                Ok(())
            }
            Err((what, error)) => Err(StartFailure(Failure::unavailable(what, error)).into()),
        }
    }

    async fn run(&self, stop: Stop) {
        let mut hints = self.wakeups.subscribe();
        let (mut next_look, mut next_beat) = (self.clock.monotonic() + EVERY, self.clock.monotonic());
        let mut seen = Seen::default();
        loop {
            let told = select_biased! {
                () = stop.wait().fuse() => return,
                told = hints.next().fuse() => {
                    if !told.is_empty() && !told.contains(&Hint::Registry) {
                        continue;
                    }
                    true
                }
                () = self.clock.sleep_until(next_look).fuse() => false,
            };
            let now = self.clock.monotonic();
            if !told {
                next_look = now + EVERY;
            }
            let beat = now >= next_beat;
            if beat {
                next_beat = now + HEARTBEAT;
            }
            self.look(beat, &mut seen).await;
            if told {
                self.wakeups.publish(&[Hint::Agents]);
            }
        }
    }
}

impl Keeper {
    /// Registers the hosted agents and reads the registry for the first time. Says what did not work.
    async fn begin(&self) -> Result<(), (String, RegistryError)> {
        for (profile, error) in self.register_due().await {
            if !self.is_elsewhere || is_away(&error) {
                let what = format!("the agent `{}` could not be registered", profile.name);
                return Err((what, error));
            }
            self.refused(&profile, &error);
        }
        let what = |error| ("the registry of agents could not be read".to_owned(), error);
        self.allocation.refresh().await.map_err(what)
    }

    /// Registers the hosted agents that are due, up to one that finds the registry away. Gives those that were not taken.
    async fn register_due(&self) -> Vec<(AgentProfile, RegistryError)> {
        let mut failed = Vec::new();
        for profile in self.hosted.due(self.clock.monotonic()) {
            let id = profile.id;
            match self.register(&profile).await {
                Ok(()) => {
                    if self.hosted.taken(id).is_some() {
                        tracing::info!(event = "agent_accepted", agent.id = %id, "the registry of agents has taken an agent that it refused before");
                        self.measure();
                    }
                }
                Err(error) => {
                    let away = is_away(&error);
                    failed.push((profile, error));
                    if away {
                        break;
                    }
                }
            }
        }
        failed
    }

    async fn register(&self, profile: &AgentProfile) -> Result<(), RegistryError> {
        let draft = RecordDraft {
            principal: Some(self.operator.id),
            operation: Some(Operation::AgentRegister),
            ..RecordDraft::default()
        };
        self.registry.register(profile.clone(), draft).await.map(|_| ())
    }

    /// Tells the registry of the hosted agents, reads it, and takes their work from those in quarantine. None of these waits
    /// for the success of another.
    async fn look(&self, beat: bool, seen: &mut Seen) {
        let beaten = if beat { self.beat().await } else { Ok(()) };
        let failed = self.register_due().await;
        let read = self.allocation.refresh().await;
        self.fence(&mut seen.fenced).await;
        let is_away = read.is_err();
        for (profile, error) in failed {
            if is_away && self::is_away(&error) {
                self.hosted.missed(profile.id, self.clock.monotonic());
            } else {
                // A registry that is read, and does not take this one.
                self.refused(&profile, &error);
            }
        }
        self.tell(read.and(beaten), seen);
    }

    /// Says that the hosted agents are alive. One that the registry does not have is registered again.
    async fn beat(&self) -> Result<(), RegistryError> {
        let alive = |agent: AgentId| AgentBeat {
            agent,
            able: true,
            cpu: None,
            memory: None,
        };
        let beats: Vec<AgentBeat> = self.hosted.registered().into_iter().map(alive).collect();
        if beats.is_empty() {
            return Ok(());
        }
        let gone = self.registry.beat(beats).await?;
        self.hosted
            .gone(&gone.into_iter().collect(), self.clock.monotonic());
        Ok(())
    }

    /// A claim that was under way when an agent was put into quarantine may have given it more work.
    async fn fence(&self, fenced: &mut BTreeSet<AgentId>) {
        let quarantined = self.allocation.quarantined();
        fenced.retain(|agent| quarantined.contains(agent));
        for agent in quarantined {
            if fenced.contains(&agent) {
                continue;
            }
            match self.queue.fence_agent(agent).await {
                Ok(()) => {
                    fenced.insert(agent);
                }
                Err(error) => {
                    tracing::error!(event = "agent_not_fenced", agent.id = %agent, error = %error, "the leases of a quarantined agent could not be ended; it is tried again");
                }
            }
        }
    }

    /// Notes and tells that the registry does not take a hosted agent.
    fn refused(&self, profile: &AgentProfile, error: &RegistryError) {
        let (now, unit) = (self.clock.monotonic(), self.entropy.number());
        let why = chain(error);
        let (is_news, wait) = self.hosted.refused(profile.id, why.clone(), now, unit);
        if is_news {
            tracing::warn!(event = "agent_refused", agent.id = %profile.id, error = why, retry_seconds = wait.as_secs(), "the registry of agents does not take an agent that runs here; it is tried again, later each time");
        }
        self.measure();
    }

    fn measure(&self) {
        let refused = self.hosted.refusals();
        self.metrics
            .gauge("agent_registry.refused_agents", &[], refused as f64);
    }

    /// Tells once that the registry is away, and once that it is back.
    fn tell(&self, looked: Result<(), RegistryError>, seen: &mut Seen) {
        match looked {
            Ok(()) if seen.failed => {
                tracing::info!(event = "registry_back", "the registry of agents is read again");
                self.hosted.back(self.clock.monotonic());
                seen.failed = false;
            }
            Ok(()) => {}
            Err(error) => {
                if !seen.failed {
                    tracing::error!(
                        event = "registry_failed",
                        error = chain(&error),
                        "the registry of agents could not be read; it is tried again"
                    );
                }
                seen.failed = true;
            }
        }
    }
}

/// Whether an error says nothing about what was asked.
fn is_away(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Unavailable { .. } | RegistryError::Store(_))
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
