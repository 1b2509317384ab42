#![doc = include_str!("../README.md")]

mod agent_registry;
mod audit_log;
mod audit_tree;
mod backup;
mod claim;
mod config;
mod documents;
mod due;
mod error;
mod group;
mod job;
mod lease_store;
mod leaves;
mod lock;
mod names;
mod number;
mod outbox;
mod purge;
mod reader;
mod row;
mod schema;
mod store;
mod submit;
mod tail;
mod task_reader;
mod task_store;
mod telemetry;
#[cfg(test)]
mod tests;
mod transfer;
mod transition;
mod writer;

pub use backup::{Inspection, inspect};
pub use config::SqliteConfig;
pub use error::OpenError;
pub use job::{Job, JobQueue};
pub use store::SqliteStore;
pub use transfer::import;
pub use writer::Writer;
