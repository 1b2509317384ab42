//! Several nodes on one PostgreSQL, as processes.

#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod cluster;
mod faults;
mod life;
mod moves;
mod registry;
mod restore;
mod rolling;
mod servers;
