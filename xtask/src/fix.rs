//! `fix`: what a tool can repair.

use crate::shell;
use crate::workspace::Workspace;

/// Applies clippy's suggestions, then formats everything.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let clippy = [
        "clippy",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
        "--workspace",
        "--all-targets",
    ];
    shell::run(workspace.cargo()?.args(clippy))?;
    shell::run(workspace.cargo()?.args(["fmt", "--all"]))
}
