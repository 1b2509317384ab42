//! The history of measurements: samples of what this node measures, and what becomes of old ones.

mod age;
mod sampler;

pub use age::{Aged, TelemetryAge};
pub use sampler::TelemetrySampler;
