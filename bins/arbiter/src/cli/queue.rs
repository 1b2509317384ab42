//! The command line of `arbiter queue`.

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Show what is paused, and how many tasks stand where
    Status {
        /// Of this tenant [default: yours]
        #[arg(value_name = "TENANT")]
        of: Option<String>,
    },
    /// Assign nothing of the queue, a tenant, a kind or to an agent; what runs goes on
    #[command(subcommand)]
    Pause(QueueTarget),
    /// Resume what was paused
    #[command(subcommand)]
    Resume(QueueTarget),
}

/// What to pause or to resume.
#[derive(Debug, Subcommand)]
pub(crate) enum QueueTarget {
    /// The whole queue
    All(Why),
    /// The tasks of a tenant
    Tenant {
        /// The tenant's id [default: yours]
        id: Option<String>,
        #[command(flatten)]
        why: Why,
    },
    /// The tasks of a kind
    Kind {
        /// The kind
        kind: String,
        /// In this tenant [default: yours]
        #[arg(long, value_name = "ID")]
        in_tenant: Option<String>,
        /// In every tenant
        #[arg(long, conflicts_with = "in_tenant")]
        everywhere: bool,
        #[command(flatten)]
        why: Why,
    },
    /// What is assigned to an agent
    Agent {
        /// The agent's id
        id: String,
        #[command(flatten)]
        why: Why,
    },
}

/// Why something is done.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// Why; it is kept in the audit log
    #[arg(long)]
    pub(crate) reason: String,
}
