#![doc = include_str!("../README.md")]

mod agent_registry;
mod asked;
mod cache;
mod client;
mod codec;
mod config;
mod error;
mod status;

pub use agent_registry::HttpAgentRegistry;
pub use config::{InvalidRegistry, RegistryConfig};
pub use error::CallError;
pub use status::RegistryStatus;
