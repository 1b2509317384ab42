//! The command line of `arbiter tenant`.

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum TenantCommand {
    /// List tenants, by id: yours, or all for an admin
    List {
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Only those after the page with this cursor
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Show a tenant
    Get {
        /// The tenant's id
        id: String,
    },
    /// Make a tenant
    Create {
        /// A name for people
        #[arg(long)]
        name: String,
        /// Its share inside a band, against those of other tenants
        #[arg(long, default_value_t = 1, value_name = "1-1000")]
        weight: u32,
        #[command(flatten)]
        limits: LimitArgs,
    },
    /// Change a tenant's name, weight or limits; what is not named stays as it is
    Update(Box<TenantUpdate>),
    /// Refuse every call of a tenant's principals, and assign none of its tasks
    Suspend(TenantOperate),
    /// Let a suspended tenant go on
    Resume(TenantOperate),
    /// Delete a suspended tenant with everything of it: it cannot be undone
    Delete(TenantOperate),
}

/// A change of a tenant.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args([
    "name", "weight", "open_tasks", "submit_rate", "submit_burst", "running", "running_per_kind", "kind", "unset",
]))]
pub(crate) struct TenantUpdate {
    /// The tenant's id
    pub(crate) id: String,
    /// Another name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Another weight
    #[arg(long, value_name = "1-1000")]
    pub(crate) weight: Option<u32>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    /// Take a limit back: it is as the settings of the deployment say again (repeat for more)
    #[arg(long, value_enum, value_name = "LIMIT")]
    pub(crate) unset: Vec<LimitWord>,
    /// Refuse unless the tenant has this revision
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
}

/// What a tenant may use, where that differs from the settings of the deployment.
#[derive(Debug, Args)]
pub(crate) struct LimitArgs {
    /// So many of its tasks may be open
    #[arg(long, value_name = "N")]
    pub(crate) open_tasks: Option<u64>,
    /// It may submit so often in a second
    #[arg(long, value_name = "N", requires = "submit_burst")]
    pub(crate) submit_rate: Option<u32>,
    /// It may submit so often at once
    #[arg(long, value_name = "N", requires = "submit_rate")]
    pub(crate) submit_burst: Option<u32>,
    /// So many of its tasks may run at once
    #[arg(long, value_name = "N")]
    pub(crate) running: Option<u32>,
    /// So many of its tasks of a kind may run at once (repeat for more kinds)
    #[arg(long, value_name = "KIND=N")]
    pub(crate) running_per_kind: Vec<String>,
    /// It may submit this kind of tasks, and no other that is not named (repeat for more)
    #[arg(long)]
    pub(crate) kind: Vec<String>,
}

/// A limit of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LimitWord {
    /// How many of its tasks may be open.
    OpenTasks,
    /// How fast it may submit.
    SubmitRate,
    /// How many of its tasks may run at once.
    Running,
    /// How many of its tasks of a kind may run at once.
    RunningPerKind,
    /// Which kinds it may submit.
    Kind,
}

/// Which tenant, and why.
#[derive(Debug, Args)]
pub(crate) struct TenantOperate {
    /// The tenant's id
    pub(crate) id: String,
    /// Why; it is kept in the audit log
    #[arg(long)]
    pub(crate) reason: String,
    /// Refuse unless the tenant has this revision
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
}
