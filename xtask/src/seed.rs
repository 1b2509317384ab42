//! `seed`: fills a server with things to look at, through the program `seed` of the package `arbiter-tests`.

use crate::shell;
use crate::workspace::Workspace;

/// Builds the program and hands it the arguments.
///
/// # Errors
/// When it cannot be built, or ends without success.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> anyhow::Result<()> {
    let program = [
        "run",
        "--quiet",
        "--locked",
        "-p",
        "arbiter-tests",
        "--bin",
        "seed",
        "--",
    ];
    shell::run(workspace.cargo()?.args(program).args(arguments))
}
