//! Developer commands of the workspace: `cargo xtask help`.
#![expect(
    clippy::print_stdout,
    reason = "a developer command speaks on standard output"
)]
#![expect(
    clippy::print_stderr,
    reason = "failures of a developer command go to standard error"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "developer commands time their steps, read the environment and wait for servers; \
              none of this code runs in the product"
)]

mod bench;
mod campaign;
mod checks;
mod ci;
mod cli;
mod coverage;
#[cfg(test)]
mod deployment;
mod environment;
mod finding;
mod fix;
mod generate;
mod node;
mod packaged;
mod python;
mod seed;
mod services;
mod shell;
mod simulate;
mod steps;
mod suite;
mod tools;
mod unpack;
mod verify;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
