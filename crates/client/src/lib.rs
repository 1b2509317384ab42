#![doc = include_str!("../README.md")]

mod call;
mod client;
mod config;
mod error;
mod events;
mod operations;
pub mod pull;

pub use arbiter_net::{Content, HttpPorts};
pub use client::Client;
pub use config::{ClientConfig, InvalidClient};
pub use error::{ClientError, Refused};
pub use events::TaskWatch;
pub use operations::{ArtifactReader, AuditFilter, Download, OPERATIONS, Operation, TaskFilter};
