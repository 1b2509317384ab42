//! Completion webhooks of tenants: what is kept of them, which messages an audit entry makes, and their delivery.

mod courier;
mod desk;
mod events;
mod feeder;
mod log;
mod record;
mod service;
mod url;

pub use courier::{Courier, CourierSettings};
pub use events::{Events, messages};
pub(crate) use feeder::read_again;
pub use feeder::{FeedError, Feeder, FeederPorts, Place};
pub use log::{DeliveryRecord, DeliveryStatus};
pub use record::{Disabled, Hook, HookChange, HookEvent, NewHook, NewSecret};
pub use service::{HookSettings, Hooks};

/// The outbox topic of hook messages.
pub const TOPIC: &str = "hook";
