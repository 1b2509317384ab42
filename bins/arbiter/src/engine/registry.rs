//! Keeps the index of agents fresh, and the hosted ones alive in the registry.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arbiter_allocation::Allocation;
use arbiter_core::model::{AgentBeat, AgentId, AgentProfile, Operation, Principal, RecordDraft, Target};
use arbiter_core::ports::{AgentRegistry, BoxError, Clock, Hint, RegistryError, Wakeups};
use arbiter_orchestration::supervisor::Service;
use arbiter_orchestration::{HEARTBEAT, Stop};
use arbiter_queue::SecureQueue;
use async_trait::async_trait;
use futures_util::{FutureExt as _, select_biased};

use super::StartFailure;
use crate::exit::Failure;

/// How often profiles and health are read from the registry, beside hints.
pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// The service.
pub(super) struct Keeper {
    pub(super) allocation: Arc<Allocation>,
    pub(super) registry: Arc<dyn AgentRegistry>,
    /// Whether the registry was told of the hosted ones.
    pub(super) registered: AtomicBool,
    pub(super) queue: Arc<SecureQueue>,
    /// Agents that this process runs itself.
    pub(super) hosted: Vec<AgentProfile>,
    /// As whom they are registered.
    pub(super) operator: Principal,
    pub(super) wakeups: Arc<dyn Wakeups>,
    pub(super) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Service for Keeper {
    fn name(&self) -> &'static str {
        "registry"
    }

    async fn start(&self) -> Result<(), BoxError> {
        for profile in &self.hosted {
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
        let mut fenced = BTreeSet::new();
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
            if let Err(error) = self.look(beat, &mut fenced).await {
                tracing::error!(
                    event = "registry_failed",
                    error = chain(&error),
                    "the registry of agents could not be read"
                );
            }
            if told {
                self.wakeups.publish(&[Hint::Agents]);
            }
        }
    }
}

impl Keeper {
    /// Registers the hosted agents and reads the registry for the first time. Says what did not work.
    async fn begin(&self) -> Result<(), (String, RegistryError)> {
        for profile in &self.hosted {
            let what = |error| {
                let what = format!("the agent `{}` could not be registered", profile.name);
                (what, error)
            };
            self.register(profile).await.map_err(what)?;
        }
        self.registered.store(true, Ordering::Relaxed);
        let what = |error| ("the registry of agents could not be read".to_owned(), error);
        self.allocation.refresh().await.map_err(what)
    }

    async fn register(&self, profile: &AgentProfile) -> Result<(), RegistryError> {
        let draft = RecordDraft {
            principal: Some(self.operator.id),
            operation: Some(Operation::AgentRegister),
            ..RecordDraft::default()
        };
        self.registry.register(profile.clone(), draft).await.map(|_| ())
    }

    async fn look(&self, beat: bool, fenced: &mut BTreeSet<AgentId>) -> Result<(), RegistryError> {
        if !self.registered.load(Ordering::Relaxed) {
            // The registry was away when we started, or the profiles have changed since it knew them.
            for profile in &self.hosted {
                self.register(profile).await?;
            }
            self.registered.store(true, Ordering::Relaxed);
        }
        if beat && !self.hosted.is_empty() {
            let alive = |profile: &AgentProfile| AgentBeat {
                agent: profile.id,
                able: true,
                cpu: None,
                memory: None,
            };
            let gone = self
                .registry
                .beat(self.hosted.iter().map(alive).collect())
                .await?;
            // Somebody removed it while we run it.
            for profile in self.hosted.iter().filter(|profile| gone.contains(&profile.id)) {
                self.register(profile).await?;
            }
        }
        self.allocation.refresh().await?;
        // A claim that was under way when an agent was put into quarantine may have given it more work.
        let quarantined = self.allocation.quarantined();
        for agent in quarantined.difference(fenced) {
            if let Err(error) = self.queue.fence_agent(*agent).await {
                tracing::error!(event = "agent_not_fenced", agent.id = %agent, error = %error, "the leases of a quarantined agent could not be ended; it is tried again");
                return Ok(());
            }
        }
        *fenced = quarantined;
        Ok(())
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
