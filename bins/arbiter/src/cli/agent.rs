//! The command line of `arbiter agent`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum AgentCommand {
    /// Make a command into an agent that pulls its work from a server
    Run(Box<AgentRunArgs>),
    /// List agents
    List,
    /// Show an agent with its record by kind of task
    Get {
        /// The agent's id
        id: String,
    },
    /// Show what an agent's work came to, in all and in a span of time
    Performance(AgentPerformanceArgs),
    /// Let an agent finish what it has, and give it nothing new
    Drain(AgentOperate),
    /// Take everything from an agent, and give it nothing new
    Quarantine(AgentOperate),
    /// Let an agent work again
    Activate(AgentOperate),
}

/// Which agent, and when.
#[derive(Debug, Args)]
pub(crate) struct AgentPerformanceArgs {
    /// The agent's id
    pub(crate) id: String,
    /// Only this kind of task
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// From this moment on (RFC 3339), such as 2026-01-31T12:00:00Z [default: as far back as the history goes]
    #[arg(long)]
    pub(crate) from: Option<arbiter_core::model::Timestamp>,
    /// Before this moment (RFC 3339) [default: now]
    #[arg(long)]
    pub(crate) to: Option<arbiter_core::model::Timestamp>,
}

/// Which agent, and why.
#[derive(Debug, Args)]
pub(crate) struct AgentOperate {
    /// The agent's id
    pub(crate) id: String,
    /// Why; it is kept in the audit log
    #[arg(long)]
    pub(crate) reason: String,
}

/// Run an agent. Its key (--token-file) is one of the role `agent`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("program").required(true).args(["command", "words"]))]
pub(crate) struct AgentRunArgs {
    /// The command and its arguments; those that begin with a hyphen stand after `--` instead
    #[arg(long, value_name = "CMD", num_args = 1..)]
    pub(crate) command: Vec<String>,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD")]
    pub(crate) words: Vec<String>,
    /// How many tasks it takes at once
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) slots: u32,
    /// A kind of tasks that it takes (repeat for more)
    #[arg(long, required = true)]
    pub(crate) kind: Vec<String>,
    /// A name for people [default: the command's]
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// The family of the model inside
    #[arg(long, default_value = "none")]
    pub(crate) model_family: String,
    /// The version of the model inside
    #[arg(long)]
    pub(crate) model_version: Option<String>,
    /// A language that it knows (repeat for more)
    #[arg(long)]
    pub(crate) language: Vec<String>,
    /// A specialisation that it has (repeat for more)
    #[arg(long)]
    pub(crate) specialisation: Vec<String>,
    /// A tool that it has (repeat for more)
    #[arg(long)]
    pub(crate) tool: Vec<String>,
    /// A variable of the environment that the command sees (repeat for more)
    #[arg(long, value_name = "NAME")]
    pub(crate) env: Vec<String>,
    /// Seconds that attempts may go on after the first signal, before they are given back
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub(crate) drain_seconds: u32,
}

impl AgentRunArgs {
    /// The command and its arguments, however they were given.
    pub(crate) fn program(&self) -> Vec<String> {
        if self.command.is_empty() {
            self.words.clone()
        } else {
            self.command.clone()
        }
    }
}
