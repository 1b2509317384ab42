//! Completion webhooks, here or there: what can be read of them.

use arbiter_core::model::HookId;
use arbiter_wire::http::{DeliveryView, HookView};

use super::Reach;
use crate::exit::Failure;
use crate::webhooks;

impl Reach {
    /// The hooks of the tenant, by id.
    pub(crate) async fn hooks(&self) -> Result<Vec<HookView>, Failure> {
        match self {
            Self::Store(app) => {
                let service = webhooks::hooks(app);
                let hooks = service.list(&app.operator, app.operator.tenant).await?;
                Ok(hooks.iter().map(arbiter_api::view::hook).collect())
            }
            Self::Server(client) => Ok(client.hook_list().await?.hooks),
        }
    }

    /// A hook.
    pub(crate) async fn hook(&self, id: HookId) -> Result<HookView, Failure> {
        match self {
            Self::Store(app) => {
                let service = webhooks::hooks(app);
                let hook = service.get(&app.operator, app.operator.tenant, id).await?;
                Ok(arbiter_api::view::hook(&hook))
            }
            Self::Server(client) => Ok(client.hook_get(id).await?),
        }
    }

    /// The log of a hook's last deliveries.
    pub(crate) async fn deliveries(&self, id: HookId) -> Result<Vec<DeliveryView>, Failure> {
        match self {
            Self::Store(app) => {
                let service = webhooks::hooks(app);
                let found = service.deliveries(&app.operator, app.operator.tenant, id).await?;
                Ok(found.iter().map(arbiter_api::view::delivery).collect())
            }
            Self::Server(client) => Ok(client.hook_deliveries(id).await?.deliveries),
        }
    }
}
