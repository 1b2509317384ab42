#![doc = include_str!("../README.md")]

mod config;
mod deliverer;
mod delivery;
mod message;
mod secret;
mod signature;
mod transport;

pub use config::WebhookConfig;
pub use deliverer::WebhookDeliverer;
pub use delivery::{Delivery, Trouble};
pub use message::{Endpoint, InvalidEndpoint, InvalidMessage, MAX_SECRETS, Message};
pub use secret::{InvalidSecret, WebhookSecret};
pub use signature::{Signed, VerifyError, sign, verify};
