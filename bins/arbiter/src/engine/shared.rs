//! What a node does only where others share its store.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{AgentId, NodeId};
use arbiter_core::ports::{BoxError, Clock, LeaseStore, StoreError};
use arbiter_orchestration::supervisor::{Service, service};
use arbiter_orchestration::{Sequencer, Stop};
use async_trait::async_trait;
use futures_util::{FutureExt as _, select_biased};

use super::StartFailure;
use crate::app::App;
use crate::batch::AgentEntry;
use crate::exit::Failure;
#[cfg(feature = "postgres")]
use crate::storage::Handle;

/// How long an agent stays a node's after the node was last heard of.
const HOSTED: Duration = Duration::from_secs(45);

/// How often a node says that it still runs its agents.
const RENEW: Duration = Duration::from_secs(15);

/// How often it is looked whether another node has let an agent go.
const LOOK: Duration = Duration::from_secs(1);

/// How often the time of the store is asked for.
#[cfg(feature = "postgres")]
const ASK_TIME: Duration = Duration::from_secs(10);

/// The services of a node with a shared store; none for one that has its store for itself.
pub(super) fn services(app: &App, agents: &[AgentEntry]) -> Vec<Arc<dyn Service>> {
    let mut services: Vec<Arc<dyn Service>> = Vec::new();
    if !app.handle.is_shared() {
        return services;
    }
    services.push(sequencer(app));
    services.extend(store_time(app));
    if !agents.is_empty() {
        services.push(Arc::new(Hosting {
            leases: app.store.clone(),
            clock: Arc::clone(&app.clock),
            node: app.ids.node(),
            agents: (agents.iter())
                .map(|entry| (entry.profile.id, entry.profile.name.clone()))
                .collect(),
        }));
    }
    services
}

fn sequencer(app: &App) -> Arc<dyn Service> {
    let sequencer = Arc::new(Sequencer {
        tree: app.store.clone(),
        leases: app.store.clone(),
        clock: Arc::clone(&app.clock),
        node: app.ids.node(),
    });
    service("sequencer", move |stop| {
        let sequencer = Arc::clone(&sequencer);
        Box::pin(async move { sequencer.run(stop).await })
    })
}

#[cfg(feature = "postgres")]
fn store_time(app: &App) -> Option<Arc<dyn Service>> {
    let Handle::Shared { time, .. } = &app.handle else {
        return None;
    };
    let time = Arc::clone(time);
    Some(service("store-time", move |stop| {
        let time = Arc::clone(&time);
        Box::pin(async move {
            while !stop.is_stopped() {
                let until = time.monotonic() + ASK_TIME;
                select_biased! {
                    () = stop.wait().fuse() => return,
                    () = time.sleep_until(until).fuse() => {}
                }
                if let Err(error) = time.look().await {
                    tracing::warn!(event = "store_time_unknown", error = %error, "the time of the store could not be read; the last offset is used");
                }
            }
        })
    }))
}

#[cfg(not(feature = "postgres"))]
fn store_time(_: &App) -> Option<Arc<dyn Service>> {
    None
}

/// Says to other nodes which agents this one runs itself: an agent whose commands ran on two nodes would have twice its
/// slots, and the start of one node would end the attempts of the other.
struct Hosting {
    leases: Arc<dyn LeaseStore>,
    clock: Arc<dyn Clock>,
    node: NodeId,
    agents: Vec<(AgentId, String)>,
}

impl Hosting {
    async fn is_taken(&self, agent: AgentId) -> Result<bool, StoreError> {
        let turn = self.leases.take(&lease(agent), self.node, HOSTED).await?;
        Ok(turn.is_none())
    }
}

fn lease(agent: AgentId) -> String {
    format!("host/{agent}")
}

#[async_trait]
impl Service for Hosting {
    fn name(&self) -> &'static str {
        "hosting"
    }

    /// Waits as long as a node that was killed may still count as the agents' own.
    async fn start(&self) -> Result<(), BoxError> {
        let give_up = self.clock.monotonic() + HOSTED + RENEW;
        for (agent, name) in &self.agents {
            while self.is_taken(*agent).await? {
                let now = self.clock.monotonic();
                if now >= give_up {
                    let text = format!(
                        "the agent `{name}` runs on another node; give it another name here, or take it from that node"
                    );
                    return Err(StartFailure(Failure::configuration(text)).into());
                }
                tracing::info!(event = "agent_hosted_elsewhere", agent.id = %agent, "waiting until another node lets the agent go");
                self.clock.sleep_until(now + LOOK).await;
            }
        }
        Ok(())
    }

    async fn run(&self, stop: Stop) {
        while !stop.is_stopped() {
            let until = self.clock.monotonic() + RENEW;
            select_biased! {
                () = stop.wait().fuse() => break,
                () = self.clock.sleep_until(until).fuse() => {}
            }
            for (agent, _) in &self.agents {
                match self.is_taken(*agent).await {
                    Ok(false) => {}
                    Ok(true) => {
                        tracing::error!(event = "agent_hosted_elsewhere", agent.id = %agent, "another node runs the agent: this one was silent for too long");
                    }
                    Err(error) => {
                        tracing::error!(event = "agent_not_claimed", agent.id = %agent, error = %error, "other nodes could not be told that this one runs the agent");
                    }
                }
            }
        }
        for (agent, _) in &self.agents {
            if let Err(error) = self.leases.give_back(&lease(*agent), self.node).await {
                tracing::warn!(event = "agent_not_given_back", agent.id = %agent, error = %error, "another node can run the agent only after a while");
            }
        }
    }
}
