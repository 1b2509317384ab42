//! The command line of `arbiter hook`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum HookCommand {
    /// List webhooks
    List,
    /// Show a webhook
    Get {
        /// The hook's id
        id: String,
    },
    /// Show the log of a webhook's last deliveries
    Deliveries {
        /// The hook's id
        id: String,
    },
}
