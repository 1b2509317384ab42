//! The port `HookTransport`.

use arbiter_core::ports::{HookAnswer, HookEndpoint, HookMessage, HookTransport, HookTrouble};
use async_trait::async_trait;

use crate::deliverer::WebhookDeliverer;
use crate::delivery::{Delivery, Trouble, Worth, worth};
use crate::message::{Endpoint, Message};
use crate::secret::WebhookSecret;

#[async_trait]
impl HookTransport for WebhookDeliverer {
    async fn deliver(&self, endpoint: &HookEndpoint, message: &HookMessage) -> HookAnswer {
        let Some((endpoint, message)) = prepare(endpoint, message) else {
            return HookAnswer::GiveUp {
                trouble: HookTrouble::NotAllowed,
            };
        };
        match self.deliver(&endpoint, &message).await {
            Delivery::Delivered { status } => HookAnswer::Delivered { status },
            Delivery::Retry { after, why } => HookAnswer::Retry {
                after,
                trouble: told(&why),
            },
            Delivery::GiveUp { why } => HookAnswer::GiveUp { trouble: told(&why) },
        }
    }
}

/// Reads address, secrets and id; nothing, if one of them has a wrong form.
fn prepare(endpoint: &HookEndpoint, message: &HookMessage) -> Option<(Endpoint, Message)> {
    let secrets = endpoint.secrets.iter().map(WebhookSecret::parse);
    let secrets = secrets.collect::<Result<_, _>>().ok()?;
    let endpoint = Endpoint::new(&endpoint.url, secrets).ok()?;
    let (tries, trace) = (message.tries, message.trace.clone());
    let message = Message::new(message.id.clone(), message.body.clone()).ok()?;
    let message = message.tried(tries);
    Some((endpoint, trace.into_iter().fold(message, Message::trace)))
}

fn told(why: &Trouble) -> HookTrouble {
    match why {
        Trouble::Gone => HookTrouble::Gone,
        Trouble::Redirect { status } => HookTrouble::Redirect { status: *status },
        Trouble::Refused { status } => HookTrouble::Refused { status: *status },
        Trouble::Unavailable { status } => HookTrouble::Unavailable { status: *status },
        Trouble::Net(error) if worth(error) == Worth::Nothing => HookTrouble::NotAllowed,
        Trouble::Net(_) => HookTrouble::Unreachable,
    }
}
