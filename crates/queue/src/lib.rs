#![doc = include_str!("../README.md")]

mod agents;
mod bulk;
mod content;
pub mod erasures;
mod error;
mod fingerprint;
pub mod hooks;
mod identities;
mod keys;
mod operate;
pub mod policies;
mod principals;
mod rates;
mod read;
mod records;
mod refusals;
mod repeats;
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

pub use agents::ModeChange;
pub use bulk::{BulkFilter, BulkOutcome, BulkRequest};
pub use content::{ContentPolicy, SuspicionPolicy};
pub use error::QueueError;
pub use fingerprint::FingerprintKey;
pub use identities::Identities;
pub use keys::{ApiKeys, KeyDesk, KeyError, KeyInfo, MadeKey, NewKey, Rotation};
pub use principals::{
    Directory, KnownPrincipal, NewPrincipal, PrincipalChange, PrincipalRecord, Principals, roles_count_in,
};
pub use rates::RateState;
pub use records::RecordError;
pub use repeats::Made;
pub use service::{QueuePorts, SecureQueue};
pub use settings::{FieldLimits, RateLimit, Settings};
pub use submission::{Accepted, Prerequisite, Submission};
