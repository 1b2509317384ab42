//! Bodies that stores keep: one codec for all of them.
//!
//! Each body carries a version. Unknown fields are ignored, so that an older program reads what a newer one wrote
//! with additions; an unknown version is an error, never a guess.

mod agent;
mod attempt;
mod columns;
mod common;
mod lane;
mod primitive;
mod scope;
mod series;
mod spec;
mod status;
mod token;

pub use agent::{decode_agent, encode_agent};
pub use attempt::{decode_attempt, decode_stage_report, encode_attempt, encode_stage_report};
pub use columns::{TaskColumns, holder_key, stage_code, state_codes, tally_place};
pub use lane::{decode_lane, encode_lane};
pub use scope::scope_key;
pub use series::{decode_labels, encode_labels, label_part};
pub use spec::{StoredSpecs, decode_spec, encode_spec};
pub use status::{decode_status, encode_status};

/// A stored body that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// It is not JSON of the expected form.
    #[error("the stored body is malformed")]
    Malformed(#[from] serde_json::Error),
    /// It was written by a newer version.
    #[error("the stored body has version {0}, which is newer than this program")]
    Version(u32),
    /// A value in it is out of its range or unknown.
    #[error("the stored body holds the value `{value}` for {what}")]
    Value {
        /// What the value is.
        what: &'static str,
        /// The value.
        value: String,
    },
}

#[cfg(test)]
#[path = "stored/tests/laws.rs"]
mod laws;
#[cfg(test)]
mod tests;
