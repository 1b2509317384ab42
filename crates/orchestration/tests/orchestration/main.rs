//! Dispatcher, attempts, reviews, timer and retries over the store in memory, on a clock that the tests move.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a world that cannot be made, or does not answer, fails the test"
)]

mod agents;
mod attempt;
mod context;
mod deaf;
mod desk;
mod dispatcher;
mod drain;
mod due;
mod events;
mod fairness;
mod given;
mod panel;
mod pull;
mod retention;
mod retry;
mod review;
mod sequencer;
mod silent;
mod supervisor;
mod watch;
mod world;
