#![doc = include_str!("../README.md")]

mod agents;
mod content;
mod error;
mod fingerprint;
pub mod hooks;
mod keys;
mod operate;
mod principals;
mod rates;
mod read;
mod records;
mod refusals;
mod sample;
pub mod schedules;
mod service;
mod settings;
mod standing;
mod submission;
mod submit;
mod template;
pub mod tenants;
pub mod traffic;
mod validate;
mod work;

pub use content::{ContentPolicy, SuspicionPolicy};
pub use error::QueueError;
pub use fingerprint::FingerprintKey;
pub use keys::{ApiKeys, KeyError, KeyInfo, NewKey};
pub use principals::{PrincipalRecord, Principals};
pub use rates::RateState;
pub use records::RecordError;
pub use service::{QueuePorts, SecureQueue};
pub use settings::{FieldLimits, RateLimit, Settings};
pub use submission::{Accepted, Prerequisite, Submission};
