//! What to run, and under which limits.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use arbiter_core::model::AgentId;

/// An agent's command.
#[derive(Clone)]
pub struct AgentCommand {
    /// The agent.
    pub agent: AgentId,
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// Environment variables that the command sees beside the fixed ones, which they may replace.
    pub env: BTreeMap<String, String>,
    /// Its limits.
    pub limits: Limits,
}

impl std::fmt::Debug for AgentCommand {
    /// Values of the environment may be secrets: only the names are shown.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AgentCommand")
            .field("agent", &self.agent)
            .field("command", &self.command)
            .field("env", &self.env.keys())
            .field("limits", &self.limits)
            .finish()
    }
}

/// Limits of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Memory of all its processes together; 1 GiB by default.
    pub memory_bytes: u64,
    /// What it may write to standard output; 1 MiB by default.
    pub output_bytes: u64,
    /// How many processes it may have at once; 64 by default.
    pub processes: u32,
    /// How many threads all its processes together may have, each of them one at least; 1024 by default, 16 for each
    /// of 64 processes. Fewer than `processes` means as many as these.
    pub threads: u32,
    /// The user and group that it becomes when this process is root; 65534 (nobody) by default. `None`: it stays root.
    pub uid: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 1 << 30,
            output_bytes: 1 << 20,
            processes: 64,
            threads: 1_024,
            uid: Some(65_534),
        }
    }
}

impl Limits {
    /// The limit of threads in force.
    pub(crate) fn most_threads(&self) -> u32 {
        self.threads.max(self.processes)
    }
}

/// How to start [`launcher::main`](crate::launcher::main): a program and the arguments before the launcher's own.
///
/// The program runs as this process's user; only the command itself runs as [`Limits::uid`].
#[derive(Debug, Clone)]
pub struct Launcher {
    /// The program.
    pub program: PathBuf,
    /// Arguments that make it the launcher.
    pub arguments: Vec<OsString>,
}
