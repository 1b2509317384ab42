//! The command line: one subcommand per developer task.

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;
use crate::{bench, campaign, checks, ci, coverage, fix, generate, seed, services, simulate, suite, verify};

/// Developer commands of the Arbiter workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Applies what can be fixed by a tool: clippy's suggestions, then formatting
    Fix,
    /// Checks without writing: format, clippy, layers, tidy, deny, docs, fast tests
    Verify,
    /// Starts what the suites need and runs every test
    Test {
        /// The nextest profile; `ci` when the variable CI is set, else `default`
        #[arg(long)]
        profile: Option<String>,
        /// Arguments for nextest, after `--`
        #[arg(last = true)]
        nextest: Vec<String>,
    },
    /// What continuous integration runs: verify, the test command of README.md, gen --check
    Ci,
    /// The long run outside CI; writes its result under docs/campaigns
    Campaign(campaign::Options),
    /// Compares the dependencies between crates with the layer table
    CheckLayers,
    /// Checks sources and manifests: module docs, sizes, lints, names of dependencies
    Tidy,
    /// Writes the generated documents, or only compares them
    Gen {
        /// Compare, write nothing, fail on a difference
        #[arg(long)]
        check: bool,
    },
    /// Runs the benchmarks, all or one, or compares us with other queues
    Bench(bench::Options),
    /// Measures the branch coverage of the domain crates; fails below the floor
    Coverage,
    /// Runs the deterministic simulation over many seeded schedules
    Simulate(simulate::Options),
    /// Fills a server with three tenants, five topics and twenty agents; safe to repeat
    Seed {
        /// `--server URL --token-file FILE`, as `seed --help` says
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Starts, stops or lists the private servers that the contract suites use
    Services {
        #[command(subcommand)]
        action: services::Action,
    },
}

/// Runs one command from the workspace root.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<()> {
    let workspace = Workspace::load()?;
    match arguments.command {
        Command::Fix => fix::run(&workspace),
        Command::Verify => verify::run(&workspace),
        Command::Test { profile, nextest } => suite::run(&workspace, profile, &nextest),
        Command::Ci => ci::run(&workspace),
        Command::Campaign(options) => campaign::run(&workspace, &options),
        Command::CheckLayers => checks::report(&checks::layers::check_workspace(&workspace)?),
        Command::Tidy => checks::report(&checks::tidy::check_workspace(&workspace)?),
        Command::Gen { check } => generate::run(&workspace, check),
        Command::Bench(options) => bench::run(&workspace, options),
        Command::Coverage => coverage::run(&workspace),
        Command::Simulate(options) => simulate::run(&workspace, &options),
        Command::Seed { arguments } => seed::run(&workspace, &arguments),
        Command::Services { action } => services::run(&workspace, action),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Arguments;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
