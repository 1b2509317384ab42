#![doc = include_str!("../README.md")]

mod callback;
mod config;
mod details;
mod error;
mod event;
mod notifier;
mod signature;
mod text;

pub use callback::{CallbackAction, PagerDutyCallback, Person};
pub use config::{InvalidPagerDuty, PagerDutyConfig};
pub use notifier::PagerDutyNotifier;
pub use signature::{
    CallbackError, InvalidSigningSecrets, MAX_CALLBACK_BYTES, PagerDutySignature, REPLAY_WINDOW,
};
