//! The command line of `arbiter erasure`.

use clap::{Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum ErasureCommand {
    /// Erase a task, or a principal with every task that it submitted: it cannot be undone
    Request {
        /// What is erased
        #[arg(value_enum)]
        sort: ErasureSort,
        /// Its id
        id: String,
        /// Why; it is kept in the audit log
        #[arg(long)]
        reason: String,
        /// In this tenant, which is not yours
        #[arg(long, value_name = "ID")]
        in_tenant: Option<String>,
    },
    /// List erasures that go on or were finished in the last 30 days, by id
    List {
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Only those after the page with this cursor
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
        /// Those of this tenant, which is not yours
        #[arg(long, value_name = "ID")]
        in_tenant: Option<String>,
    },
    /// Show how far an erasure is
    Get {
        /// The erasure's id
        id: String,
        /// In this tenant, which is not yours
        #[arg(long, value_name = "ID")]
        in_tenant: Option<String>,
    },
}

/// What can be erased by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ErasureSort {
    /// A task.
    Task,
    /// A principal.
    Principal,
}
