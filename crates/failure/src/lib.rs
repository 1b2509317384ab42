#![doc = include_str!("../README.md")]

mod actions;
pub mod agents;
mod classify;
pub mod component;
pub mod escalation;
pub mod incident;
mod intake;
mod manager;
pub mod notify;
mod records;
pub mod recovery;
mod settings;
mod word;

pub use actions::{Action, Actions, InvalidActions};
pub use classify::{
    Tier, kind_of_attempt, kind_of_exit, kind_of_infrastructure, kind_of_registry, kind_of_status,
    kind_of_store, kind_of_transport, severity,
};
pub use manager::{FailureManager, InvalidManager, ManagerPorts};
pub use records::FailureError;
pub use settings::{ComponentSettings, Flapping, InvalidSettings, Settings};
