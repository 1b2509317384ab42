//! Cargo tools in pinned versions: found, or installed under `target/tools`.

use std::fmt;
use std::path::PathBuf;

use anyhow::Context;

use crate::shell;
use crate::workspace::Workspace;

/// A cargo subcommand that lives in a package of its own.
#[derive(Debug)]
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
}

/// Runs tests, each in its own process.
pub(crate) const NEXTEST: Tool = Tool {
    name: "cargo-nextest",
    version: "0.9.143",
};
/// Checks licences, bans and sources of the dependency tree.
pub(crate) const DENY: Tool = Tool {
    name: "cargo-deny",
    version: "0.20.2",
};

/// A program that is ready for use.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its name, for the reader.
    pub(crate) name: String,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// How it came there.
    pub(crate) origin: Origin,
}

/// Where a program comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// It was there.
    Found,
    /// This run fetched it.
    Fetched,
}

impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let origin = match self.origin {
            Origin::Found => "found",
            Origin::Fetched => "fetched",
        };
        write!(formatter, "{origin:<8} {} ({})", self.name, self.path.display())
    }
}

/// Finds a tool in `target/tools` or on `PATH`, else installs it under `target/tools`.
///
/// # Errors
/// When it cannot be installed; the message holds the command that does.
pub(crate) fn ensure(workspace: &Workspace, tool: &Tool) -> anyhow::Result<Found> {
    let own = workspace.tools().join("bin").join(tool.name);
    let found = if own.is_file() {
        Some(own.clone())
    } else {
        shell::find_program(tool.name)
    };
    let name = tool.name.to_owned();
    if let Some(path) = found {
        return Ok(Found {
            name,
            path,
            origin: Origin::Found,
        });
    }
    let package = format!("{}@{}", tool.name, tool.version);
    let mut install = workspace.cargo()?;
    install
        .args(["install", "--locked", "--root"])
        .arg(workspace.tools())
        .arg(&package);
    // Cargo then builds in a temporary folder and removes it.
    install.env_remove("CARGO_TARGET_DIR");
    shell::run(&mut install)
        .with_context(|| format!("{name} is missing; install it with `cargo install --locked {package}`"))?;
    Ok(Found {
        name,
        path: own,
        origin: Origin::Fetched,
    })
}
