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
    /// Withdraw every open task that a filter finds
    BulkCancel(Box<BulkArgs>),
    /// Queue every failed task and dead letter that a filter finds again
    BulkRequeue(Box<BulkArgs>),
    /// Delete every closed task that a filter finds, with its input, attempts and outputs
    BulkPurge(Box<BulkArgs>),
}

/// Which tasks, and why.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("filter").required(true).multiple(true).args([
    "state", "kind", "label", "submitted_before", "all",
]))]
pub(crate) struct BulkArgs {
    /// Only those in this state
    #[arg(long)]
    pub(crate) state: Option<String>,
    /// Only those of this kind
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Only those with this label, as name=value
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// Only those that were submitted before (RFC 3339), such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) submitted_before: Option<String>,
    /// All of the tenant that the operation fits
    #[arg(long, conflicts_with_all = ["state", "kind", "label", "submitted_before"])]
    pub(crate) all: bool,
    /// Of this tenant [default: yours]
    #[arg(long, value_name = "ID")]
    pub(crate) in_tenant: Option<String>,
    /// At most so many [default: as many as there are]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// Only those after the place where an earlier call stopped
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<String>,
    /// Only say how many there are and name some of them
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Why; it is kept in the audit log
    #[arg(long)]
    pub(crate) reason: String,
}
