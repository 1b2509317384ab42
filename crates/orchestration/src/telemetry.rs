//! The history of measurements: samples of what this node measures, and what becomes of old ones.

mod age;
mod outcomes;
mod sampler;

pub use age::{Aged, TelemetryAge};
pub use outcomes::{OutcomeHistory, Performed, PerformedError, performed};
pub use sampler::TelemetrySampler;
