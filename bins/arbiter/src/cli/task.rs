//! The command line of `arbiter task`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Which task, and why.
#[derive(Debug, Args)]
pub(crate) struct Operate {
    /// The task's id
    pub(crate) id: String,
    /// Why; it is kept in the audit log
    #[arg(long)]
    pub(crate) reason: String,
    /// Refuse unless the task has this version
    #[arg(long, value_name = "N")]
    pub(crate) if_version: Option<u64>,
}

/// What a person decides about a held task.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Decision {
    /// Go on where it was held.
    Resume,
    /// Accept the output.
    Accept,
    /// Refuse it.
    Reject,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TaskCommand {
    /// Submit tasks: one JSON object a line (`-` reads standard input)
    Submit {
        /// The file
        tasks: PathBuf,
        /// Store every task or none
        #[arg(long)]
        all_or_nothing: bool,
    },
    /// Show a task with its attempts
    Get {
        /// The task's id
        id: String,
    },
    /// List tasks, oldest first
    List {
        /// Only those in this state
        #[arg(long)]
        state: Option<String>,
        /// Only those of this kind
        #[arg(long)]
        kind: Option<String>,
        /// Only those with this label, as name=value
        #[arg(long)]
        label: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Only those after the page with this cursor
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Follow a task until it has ended
    Watch {
        /// The task's id
        id: String,
    },
    /// Withdraw a task
    Cancel(Operate),
    /// Queue a failed task again
    Retry(Operate),
    /// Decide a held task
    Release {
        #[command(flatten)]
        operate: Operate,
        /// The decision
        #[arg(long, value_enum)]
        decision: Decision,
    },
    /// Give a task up
    DeadLetter(Operate),
    /// Queue a dead letter again
    Requeue(Operate),
}
