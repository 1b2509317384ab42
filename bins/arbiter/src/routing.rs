//! Who could do a task: an index of agents of its own, so that asking changes nothing in the dispatcher's.

use std::sync::Arc;

use arbiter_allocation::{Allocation, Explanation, Settings};
use arbiter_api::RoutingSource;
use arbiter_core::model::{AgentId, AgentMode, Holder, TaskSpec, TenantId, Transport};
use arbiter_core::ports::{AgentRegistry, RegistryError, Revision, TaskReader};
use arbiter_core::services::Offer;
use arbiter_orchestration::Offers;
use async_trait::async_trait;

use crate::app::App;

/// How many agents are read from the registry at once.
const PAGE: usize = 1_000;

/// Explains from what the registry says.
pub(crate) struct Routing {
    allocation: Allocation,
    registry: Arc<dyn AgentRegistry>,
    reader: Arc<dyn TaskReader>,
    offers: Arc<Offers>,
}

impl Routing {
    pub(crate) fn new(app: &App, offers: Arc<Offers>) -> Self {
        let registry: Arc<dyn AgentRegistry> = app.store.clone();
        Self {
            allocation: Allocation::new(
                Settings::default(),
                Arc::clone(&registry),
                Arc::clone(&app.metrics),
                Arc::clone(&app.clock),
                Arc::clone(&app.entropy),
                Arc::clone(&app.ids),
            ),
            registry,
            reader: app.store.clone(),
            offers,
        }
    }

    /// What every active agent of the kind could start now: agents that ask for work offer what they wait for.
    async fn offers(&self, spec: &TaskSpec) -> Result<Vec<Offer>, RegistryError> {
        let mut offers = Vec::new();
        let waiting = self.offers.free();
        let mut after = Revision::default();
        loop {
            let page = self.registry.changes(after, PAGE).await?;
            for agent in page.agents {
                let profile = &agent.profile;
                if agent.mode == AgentMode::Active && profile.capabilities.kinds.contains(&spec.kind) {
                    let free = match profile.transport {
                        Transport::Pull => waiting.get(&profile.id).copied().unwrap_or(0),
                        _ => self.free(profile.id, profile.slots).await?,
                    };
                    offers.push(Offer {
                        agent: profile.id,
                        free,
                        acknowledges: true,
                    });
                }
            }
            after = page.revision;
            if !page.more {
                return Ok(offers);
            }
        }
    }

    async fn free(&self, agent: AgentId, slots: u32) -> Result<u32, RegistryError> {
        let held = self.reader.held_by(Holder::Agent(agent)).await?.len();
        Ok(slots.saturating_sub(u32::try_from(held).unwrap_or(u32::MAX)))
    }
}

#[async_trait]
impl RoutingSource for Routing {
    async fn explain(&self, tenant: TenantId, spec: &TaskSpec) -> Result<Explanation, RegistryError> {
        self.allocation.refresh().await?;
        let offers = self.offers(spec).await?;
        Ok(self.allocation.explain(
            tenant,
            &arbiter_core::model::Shape::of(spec),
            spec.priority,
            spec.constraints.budget,
            spec.constraints.deadline,
            &offers,
        ))
    }
}
