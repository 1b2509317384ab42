//! The launcher as a program of its own, for tests and for embedders without a binary that can play it.

use std::process::ExitCode;

fn main() -> ExitCode {
    arbiter_adapter_process::launcher::main(std::env::args_os().skip(1).collect())
}
