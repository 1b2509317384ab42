//! Recoveries: the actions of a failure one after the other, until one restores health.

mod machine;
mod runner;

pub use machine::{Next, Recovery, Seen};
pub(crate) use runner::{Containment, Runner, RunnerPorts, lease_name};
