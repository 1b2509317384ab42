#![doc = include_str!("../README.md")]

mod alertmanager;
mod answer;
mod config;
mod deliverer;
mod delivery;
mod message;
mod notice;
mod notifier;
mod notifier_config;
mod request;
mod secret;
mod signature;
mod transport;

pub use config::WebhookConfig;
pub use deliverer::WebhookDeliverer;
pub use delivery::{Delivery, Trouble};
pub use message::{Endpoint, InvalidEndpoint, InvalidMessage, MAX_SECRETS, Message};
pub use notifier::WebhookNotifier;
pub use notifier_config::{InvalidNotifier, NoticeFormat, NotifierConfig};
pub use secret::{InvalidSecret, WebhookSecret};
pub use signature::{Signed, VerifyError, sign, verify};
