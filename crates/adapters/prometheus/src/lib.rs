#![doc = include_str!("../README.md")]

mod descriptions;
mod registry;

pub use registry::PrometheusMetrics;
