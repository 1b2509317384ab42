//! `arbiter completions`.

use clap::CommandFactory as _;

use crate::cli::Cli;

/// Prints the completion script of a shell.
pub(crate) fn run(shell: clap_complete::Shell) {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "arbiter", &mut script);
    crate::output::line(String::from_utf8_lossy(&script).trim_end());
}
