//! The command line of `arbiter hook`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum HookCommand {
    /// List webhooks
    List,
    /// Show a webhook
    Get {
        /// The hook's id
        id: String,
    },
    /// Make a webhook; the secret that signs its messages is shown once
    Create {
        /// Where messages go: https (`-` reads it from standard input, for an address that holds a token)
        url: String,
        /// What it is told of (repeat for more)
        #[arg(long, value_enum, required = true)]
        event: Vec<EventWord>,
        /// Only of tasks of this kind (repeat for more)
        #[arg(long)]
        kind: Vec<String>,
        /// Write the secret to this file (created with mode 0600) instead of printing it
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Change a webhook; what is not named stays as it is
    Update(HookUpdate),
    /// Pause a webhook: nothing is made for it, and what waited is skipped
    Pause(WhichHook),
    /// Let a paused webhook go on, or switch on one that was switched off
    Resume(WhichHook),
    /// Delete a webhook and its log; messages that wait for it are dropped
    Delete(WhichHook),
    /// Give a webhook a new secret, which is shown once; the former one signs beside it for a while
    Rotate {
        #[command(flatten)]
        which: WhichHook,
        /// For how long the former secret signs too, in seconds, up to 7 days
        #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
        overlap_seconds: u64,
        /// Write the secret to this file (created with mode 0600) instead of printing it
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show the log of a webhook's last deliveries
    Deliveries {
        /// The hook's id
        id: String,
    },
    /// Send a delivery of the log again, under the same message id
    Replay {
        /// The hook's id
        id: String,
        /// The delivery's id, as the log names it
        delivery: String,
    },
}

/// Which hook.
#[derive(Debug, Args)]
pub(crate) struct WhichHook {
    /// The hook's id
    pub(crate) id: String,
    /// Refuse unless the hook has this revision
    #[arg(long, value_name = "N")]
    pub(crate) if_revision: Option<u64>,
}

/// A change of a hook.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("change").required(true).multiple(true).args([
    "url", "event", "kind", "all_kinds",
]))]
pub(crate) struct HookUpdate {
    #[command(flatten)]
    pub(crate) which: WhichHook,
    /// Another address (`-` reads it from standard input)
    #[arg(long)]
    pub(crate) url: Option<String>,
    /// Other events, in the place of all that it has (repeat for more)
    #[arg(long, value_enum)]
    pub(crate) event: Vec<EventWord>,
    /// Other kinds, in the place of all that it has (repeat for more)
    #[arg(long, conflicts_with = "all_kinds")]
    pub(crate) kind: Vec<String>,
    /// Of tasks of all kinds from now on
    #[arg(long)]
    pub(crate) all_kinds: bool,
}

/// What a hook can be told of.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum EventWord {
    /// A task ended: succeeded, failed or cancelled
    Closed,
    /// A task is held for a person
    Held,
    /// A task was given up
    #[value(alias = "dead_lettered")]
    DeadLettered,
    /// A task is held because its review came to no verdict
    #[value(alias = "review_needed")]
    ReviewNeeded,
}
