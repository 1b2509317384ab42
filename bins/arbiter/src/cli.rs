//! The command line.

mod agent;
mod erasure;
mod hook;
mod queue;
mod schedule;
mod task;
mod tenant;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use agent::{AgentCommand, AgentOperate, AgentPerformanceArgs, AgentRunArgs};
pub(crate) use erasure::{ErasureCommand, ErasureSort};
pub(crate) use hook::{EventWord, HookCommand, HookUpdate, WhichHook};
pub(crate) use queue::{QueueCommand, QueueTarget, Why};
pub(crate) use schedule::{CatchUpWord, OverlapWord, ScheduleArgs, ScheduleCommand};
pub(crate) use task::{BulkArgs, Decision, Operate, TaskCommand};
pub(crate) use tenant::{LimitArgs, LimitWord, TenantCommand, TenantOperate, TenantUpdate};

/// The control plane for fleets of AI agents.
#[derive(Debug, Parser)]
#[command(name = "arbiter", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Global {
    /// Configuration file [default: $ARBITER_CONFIG, else $XDG_CONFIG_HOME/arbiter/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Folder of the store [default: $ARBITER_DATA_DIR, else $XDG_DATA_HOME/arbiter]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Work against this server [default: $ARBITER_SERVER, else the process that serves this machine's store, if one does]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// File of the key for the server [default: $ARBITER_TOKEN_FILE; the operator's for this machine's server]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// PEM file of further authorities that may vouch for the server [default: $ARBITER_CA_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Refuse to act in another tenant of this machine's store
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) tenant: Option<String>,
    /// Work on the store of this machine, whoever serves it
    #[arg(long, global = true, conflicts_with = "server")]
    pub(crate) local: bool,
    /// Print JSON instead of text for people
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say more in the log on standard error (repeat for more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Form of the log
    #[arg(long, global = true, value_enum, value_name = "FORM")]
    pub(crate) log_format: Option<LogFormat>,
}

/// Form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a batch of tasks on this machine and write a result file
    Run(RunArgs),
    /// Serve the HTTP interface
    Serve(ServeArgs),
    /// Show the main job on a fresh store: real tasks, an honest agent and one that crashes
    Demo(DemoArgs),
    /// Look at tasks and operate on them
    #[command(subcommand)]
    Task(TaskCommand),
    /// Run an agent, look at agents and operate on them
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Look at the queue, pause and resume what it gives out
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Make, look at and change completion webhooks
    #[command(subcommand)]
    Hook(HookCommand),
    /// Make tasks at given times, again and again
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Erase what was kept about a task or a person
    #[command(subcommand)]
    Erasure(ErasureCommand),
    /// Verify, prove and export the audit log, and redact its details
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Make, list and revoke API keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Make, list, limit and suspend tenants
    #[command(subcommand)]
    Tenant(TenantCommand),
    /// Make, list and change principals
    #[command(subcommand)]
    Principal(PrincipalCommand),
    /// Check, compare and activate policies
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Copy the store, its artifacts and keys: into a new folder, or through a server into its folder of backups
    Backup {
        /// The folder, which must not be there yet; a server has its own (`backup.folder`)
        folder: Option<PathBuf>,
    },
    /// Restore a backup into the store of the configuration, after checking all of it: into a new data folder (named by
    /// --data-dir), or into an empty shared store, and its keys into the folder
    Restore(RestoreArgs),
    /// Look for problems of configuration, data and machine, and say what to do
    Doctor(DoctorArgs),
    /// Check and show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the document of the HTTP interface (OpenAPI 3.1) as YAML
    Openapi {
        /// Only of this group: the first word of the operations' ids, such as `agent`
        #[arg(long, value_name = "WORD")]
        group: Option<String>,
    },
    /// Print a completion script
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Start an exec agent's command under its limits (used by arbiter itself)
    #[command(name = "__launch", hide = true, disable_help_flag = true)]
    Launch {
        /// Limits and command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// One of the demo's agents (used by arbiter itself)
    #[command(name = "__demo-agent", hide = true)]
    DemoAgent {
        /// Crash on the first attempt of tasks about this document
        #[arg(long, value_name = "NAME")]
        crash_on: Vec<String>,
    },
}

/// Run a batch.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// One task a line, as JSON (`-` reads standard input)
    pub(crate) tasks: PathBuf,
    /// The agents that may work on them
    #[arg(long, value_name = "FILE")]
    pub(crate) agents: PathBuf,
    /// Where to write one result a line (beside the tasks as .results.jsonl, or standard output for `-`, unless given)
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Start anew although this batch was run before
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Show no progress bars
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

/// Serve.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address and port to listen on; port 0 takes a free one [default: 127.0.0.1:7700]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// File of agents that the server runs itself
    #[arg(long, value_name = "FILE")]
    pub(crate) agents: Option<PathBuf>,
}

/// Restore a backup.
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    pub(crate) folder: PathBuf,
    /// Trust this verifier key of the audit log instead of the keys in the backup
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
}

/// Look for problems.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Write what helps others to help into a file: versions, configuration, measurements; no keys, inputs or outputs
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
    /// A log file of the server, whose last lines go into the bundle, redacted
    #[arg(long, value_name = "FILE", requires = "bundle")]
    pub(crate) log: Option<PathBuf>,
}

/// Run the demo.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep the store and results, and say where they are
    #[arg(long)]
    pub(crate) keep: bool,
    /// Changes the order of the tasks, and on which of them an agent crashes
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Verify the store's audit log, or an exported one, and name the first bad entry
    Verify {
        /// An export; without it the store is verified, or what a server exports
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Trust this verifier key (needed for what was exported elsewhere)
        #[arg(long, value_name = "KEY")]
        key: Vec<String>,
    },
    /// Print an entry with its inclusion proof and the signed checkpoint
    Proof {
        /// The entry's place in the log, from 0
        index: u64,
    },
    /// Write the whole log, with checkpoint and keys, to a file
    Export {
        /// The file (`-` writes to standard output)
        file: PathBuf,
    },
    /// Find entries, newest first
    Search {
        /// Only those about this resource, such as a task's id
        #[arg(long)]
        resource: Option<String>,
        /// Only those with this action
        #[arg(long)]
        action: Option<String>,
        /// Only those with this outcome: done or refused
        #[arg(long)]
        outcome: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Only those after the page with this cursor
        #[arg(long, value_name = "CURSOR")]
        before: Option<String>,
    },
    /// Remove the detail of an entry; the entry and every proof stay as they are
    Redact {
        /// The entry's place in the log, from 0
        index: u64,
        /// Why; it is kept in the audit log
        #[arg(long)]
        reason: String,
    },
    /// Print the verifier key that signed checkpoints are checked with
    Key,
    /// Replace the key that signs checkpoints; the old one vouches for the new one
    Rotate,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a principal with a key, or another key for a principal; the key is shown once
    Create {
        /// An existing principal's id; without it a new one is made
        #[arg(long, conflicts_with_all = ["name", "role"])]
        principal: Option<String>,
        /// Name of the new principal
        #[arg(long, required_unless_present = "principal")]
        name: Option<String>,
        /// Roles of the new principal
        #[arg(long, required_unless_present = "principal")]
        role: Vec<String>,
        /// Kinds of tasks that the new principal may submit, where they differ from its tenant's
        #[arg(long, conflicts_with = "principal")]
        kind: Vec<String>,
        /// Most urgent band that the new principal may use: 0 (priorities 0–24), 1 (25–49), 2 (50–74) or 3 (75–100)
        #[arg(long, value_name = "BAND", conflicts_with = "principal", default_value_t = 3,
              value_parser = clap::value_parser!(u8).range(0..=3))]
        highest_band: u8,
        /// Days until the key expires
        #[arg(long, value_name = "DAYS")]
        expires_in_days: Option<u32>,
        /// Write the key to this file (created with mode 0600) instead of printing it
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// List the keys of a principal (yours, unless another is named)
    List {
        /// The principal's id
        #[arg(long)]
        principal: Option<String>,
    },
    /// Revoke a key
    Revoke {
        /// The key's id: the 16 digits after `arb_`
        id: String,
        /// The principal's id, which a server wants to know
        #[arg(long)]
        principal: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PrincipalCommand {
    /// List principals, by id
    List {
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Only those after the page with this cursor
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Show a principal
    Get {
        /// The principal's id
        id: String,
    },
    /// Make a principal; `arbiter key create --principal` makes its key
    Create {
        /// A name for people
        #[arg(long)]
        name: String,
        /// What sort it is: user, agent or service
        #[arg(long, default_value = "service")]
        kind: String,
        /// Its roles
        #[arg(long, required = true)]
        role: Vec<String>,
        /// Which agent it is [default: a new one, for agents]
        #[arg(long, value_name = "ID")]
        agent: Option<String>,
        /// The highest band that it may use
        #[arg(long, default_value_t = 3, value_name = "0-3")]
        highest_band: u8,
    },
    /// Change, disable or enable a principal
    Update {
        /// The principal's id
        id: String,
        /// Another name
        #[arg(long)]
        name: Option<String>,
        /// Other roles, in the place of all that it has
        #[arg(long)]
        role: Vec<String>,
        /// Another highest band
        #[arg(long, value_name = "0-3")]
        highest_band: Option<u8>,
        /// Refuse its keys from now on
        #[arg(long, conflicts_with = "enable")]
        disable: bool,
        /// Accept its keys again
        #[arg(long)]
        enable: bool,
        /// Refuse unless the principal has this revision
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Print every problem of policy files, by file and line
    Check {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Print which policies would change, by id
    Diff {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Show the set that was put into force
    Show,
    /// List the stored sets, by number
    List {
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=100))]
        limit: u16,
        /// Only those after the page with this cursor
        #[arg(long, value_name = "CURSOR")]
        after: Option<String>,
    },
    /// Store files as a new set and put it into force
    Activate {
        /// The files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Refuse unless what is in force has this revision
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
    },
    /// Put an earlier set into force again; 0 takes all of them back
    RollBack {
        /// Its number
        number: u64,
        /// Refuse unless what is in force has this revision
        #[arg(long, value_name = "N")]
        if_revision: Option<u64>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every problem of the configuration at once
    Check,
    /// Print the configuration in force, where each value comes from, and which limits hold here
    Show {
        /// Print the reference of all settings as Markdown instead
        #[arg(long, hide = true)]
        reference: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
