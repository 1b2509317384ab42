//! Real faults: processes that are killed, stopped, overtaken, stores that fail, starts that go wrong.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests fail the test")]

mod clock;
mod kill;
mod paused;
mod signals;
mod starts;
mod storage;
