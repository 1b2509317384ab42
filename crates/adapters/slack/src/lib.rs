#![doc = include_str!("../README.md")]

mod blocks;
mod config;
mod error;
mod form;
mod interaction;
mod message;
mod notifier;
mod signature;
mod text;

pub use config::{InvalidSlack, SlackConfig, SlackTarget};
pub use interaction::{SlackAction, SlackInteraction};
pub use notifier::SlackNotifier;
pub use signature::{
    CallbackError, InvalidSigningSecret, MAX_CALLBACK_BYTES, REPLAY_WINDOW, Signed, SlackSignature,
};
