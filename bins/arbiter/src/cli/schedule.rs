//! The command line of `arbiter schedule`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Make a schedule that submits a task again and again, as you
    Create(ScheduleArgs),
    /// List schedules
    List {
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Only those after the page with this cursor
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Show a schedule
    Get {
        /// The schedule's id
        id: String,
    },
    /// Pause a schedule; what comes meanwhile is passed over
    Pause {
        /// The schedule's id
        id: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        /// Refuse unless the schedule has this revision
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
    },
    /// Let a paused schedule go on
    Resume {
        /// The schedule's id
        id: String,
        /// Refuse unless the schedule has this revision
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
    },
    /// Delete a schedule; tasks that it made stay
    Delete {
        /// The schedule's id
        id: String,
        /// Refuse unless the schedule has this revision
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
    },
    /// Show what a schedule, or an expression, comes to next
    Next {
        /// The schedule's id
        #[arg(required_unless_present = "cron")]
        id: Option<String>,
        /// An expression instead
        #[arg(long, conflicts_with = "id")]
        cron: Option<String>,
        /// The time zone of the expression
        #[arg(long, default_value = "UTC", conflicts_with = "id")]
        zone: String,
        /// So many instants
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
        count: u16,
    },
}

/// A schedule to make.
#[derive(Debug, Args)]
pub(crate) struct ScheduleArgs {
    /// The task that it submits, as one JSON object (`-` reads standard input)
    pub(crate) task: PathBuf,
    /// A name for people
    #[arg(long)]
    pub(crate) name: String,
    /// When: minute, hour, day of month, month and day of week, such as '30 2 * * mon-fri'
    #[arg(long)]
    pub(crate) cron: String,
    /// In which time zone, such as Europe/Berlin
    #[arg(long, default_value = "UTC")]
    pub(crate) zone: String,
    /// What happens with times that were missed because nothing ran
    #[arg(long, value_enum, default_value_t = CatchUpWord::Last)]
    pub(crate) catch_up: CatchUpWord,
    /// How many missed times `all` makes up for at most [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub(crate) catch_up_limit: Option<u16>,
    /// What happens while the task of the run before has not ended
    #[arg(long, value_enum, default_value_t = OverlapWord::Skip)]
    pub(crate) overlap: OverlapWord,
    /// The longest delay of a run, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub(crate) jitter: u32,
    /// Recognises a repeated call
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
}

/// What happens with times that were missed because nothing ran.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum CatchUpWord {
    /// They are passed over.
    Skip,
    /// The last one is made up for.
    Last,
    /// Each is made up for, up to a limit.
    All,
}

/// What happens while the task of the run before has not ended.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum OverlapWord {
    /// The next one is submitted all the same.
    Allow,
    /// The time is passed over.
    Skip,
}
