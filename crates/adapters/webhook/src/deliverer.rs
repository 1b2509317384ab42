//! The deliverer.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::ports::Clock;
use arbiter_layers::Classify as _;
use arbiter_net::{HttpClient, HttpPorts, InvalidConfig, retry_after};

use crate::config::WebhookConfig;
use crate::delivery::{Delivery, Trouble, Worth, trouble, worth};
use crate::message::{Endpoint, Message};
use crate::request::signed;

/// Delivers messages, one try per call. Needs a tokio runtime with I/O and time.
#[derive(Debug)]
pub struct WebhookDeliverer {
    client: HttpClient,
    clock: ShownClock,
    refused_tries: u16,
    longest_wait: Duration,
}

/// A clock with a `Debug`.
struct ShownClock(Arc<dyn Clock>);

impl std::fmt::Debug for ShownClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

impl WebhookDeliverer {
    /// A deliverer with a client of its own.
    ///
    /// # Errors
    /// [`InvalidConfig`] names what cannot work.
    pub fn new(config: &WebhookConfig, ports: HttpPorts) -> Result<Self, InvalidConfig> {
        let clock = ShownClock(Arc::clone(&ports.clock));
        Ok(Self {
            client: HttpClient::new(&config.http(), ports)?,
            clock,
            refused_tries: config.refused_tries,
            longest_wait: config.longest_wait,
        })
    }

    /// Whether it tries again by itself: no, the outbox does.
    pub const fn owns_retries(&self) -> bool {
        self.client.owns_retries()
    }

    /// Makes one try.
    ///
    /// # Cancel safety
    /// The endpoint may get the message although the future is dropped; it drops repeats by the message's id.
    pub async fn deliver(&self, endpoint: &Endpoint, message: &Message) -> Delivery {
        let answer = match signed(endpoint, message, self.clock.0.now()) {
            Ok(request) => self.client.open(request.operation("webhook.deliver")).await,
            Err(error) => Err(error),
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let (after, worth) = (error.retry_after(), worth(&error));
                return self.not_taken(message, error.into(), worth, after);
            }
        };
        let status = answer.status().as_u16();
        if answer.status().is_success() {
            return Delivery::Delivered { status };
        }
        let after = retry_after(answer.headers(), self.clock.0.now());
        let (trouble, worth) = trouble(status);
        self.not_taken(message, trouble, worth, after)
    }

    fn not_taken(&self, message: &Message, why: Trouble, worth: Worth, after: Option<Duration>) -> Delivery {
        let last = message.tries().saturating_add(1) >= self.refused_tries;
        match worth {
            Worth::Nothing => Delivery::GiveUp { why },
            Worth::SomeTries if last => Delivery::GiveUp { why },
            Worth::SomeTries | Worth::AllTries => Delivery::Retry {
                after: after.map(|wait| wait.min(self.longest_wait)),
                why,
            },
        }
    }
}
