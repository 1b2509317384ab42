#![doc = include_str!("../README.md")]

mod agent_registry;
mod artifacts;
mod audit_log;
mod audit_tree;
mod config;
mod connect;
mod documents;
mod error;
mod lease_store;
mod leaves;
mod line;
mod names;
mod number;
mod outbox;
mod schema;
mod session;
mod store;
mod tasks;
mod telemetry;
mod tls;
mod transaction;
mod transfer;
mod wakeups;
mod write;

pub use artifacts::PostgresArtifacts;
pub use config::PostgresConfig;
pub use error::OpenError;
pub use store::{PostgresParts, PostgresStore};
pub use wakeups::PostgresWakeups;
