#![doc = include_str!("../README.md")]

mod agent_registry;
mod artifacts;
mod audit_log;
mod documents;
mod lease_store;
mod limiter;
mod outbox;
mod store;
mod table;
mod tables;
mod task_reader;
mod tasks;
mod telemetry;
mod wakeups;

pub use artifacts::InMemoryArtifacts;
pub use limiter::InProcessRateLimiter;
pub use store::InMemoryStore;
pub use telemetry::InMemoryTelemetry;
pub use wakeups::InProcessWakeups;
