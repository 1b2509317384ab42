//! Real faults: processes that are killed, stopped, overtaken.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod clock;
mod kill;
mod paused;
mod signals;
