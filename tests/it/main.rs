//! End to end, through the binary.
#![expect(clippy::expect_used, reason = "helpers of tests fail the test")]

mod audit;
mod backup;
mod batch;
mod command_line;
mod demo;
mod doctor;
mod examples;
mod merkle;
mod openapi;
mod secrets;
mod server;
mod tamper;
