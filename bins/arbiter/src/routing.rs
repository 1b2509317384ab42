//! Who could do a task now: by the index that this node chooses from, over the agents that it could give work to.

use std::sync::Arc;

use arbiter_allocation::{Allocation, Explanation, Question};
use arbiter_api::RoutingSource;
use arbiter_core::model::{Shape, TaskSpec, TenantId};
use arbiter_core::ports::RegistryError;
use arbiter_orchestration::Dispatcher;
use async_trait::async_trait;

/// Explains.
pub(crate) struct Routing {
    pub(crate) allocation: Arc<Allocation>,
    pub(crate) dispatcher: Arc<Dispatcher>,
}

#[async_trait]
impl RoutingSource for Routing {
    async fn explain(&self, tenant: TenantId, spec: &TaskSpec) -> Result<Explanation, RegistryError> {
        self.allocation.refresh().await?;
        Ok(self.allocation.explain(&Question {
            tenant,
            shape: &Shape::of(spec),
            priority: spec.priority,
            budget: spec.constraints.budget,
            deadline: spec.constraints.deadline,
            offers: &self.dispatcher.offered(),
            running: &[],
            only_offered: false,
        }))
    }
}
