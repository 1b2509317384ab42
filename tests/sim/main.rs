//! Deterministic simulation: the whole control plane on one thread, with time, chance and faults from a seed.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a schedule that breaks a rule fails, and reports are printed"
)]

mod agents;
mod crash;
mod executor;
mod fairness;
mod history;
mod link;
mod node;
mod people;
mod schedule;
mod seeds;
mod whole;
mod world;
