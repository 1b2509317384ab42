//! End to end, through the binary.
#![expect(clippy::expect_used, reason = "helpers of tests fail the test")]

mod agent_run;
mod audit;
mod backup;
mod batch;
mod client;
mod command_line;
mod demo;
mod deployment;
mod doctor;
mod elsewhere;
mod examples;
mod merkle;
mod openapi;
mod operating;
mod pact;
mod remote;
mod secrets;
mod seed;
mod server;
mod tamper;
