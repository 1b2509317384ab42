//! `simulate`: the deterministic simulation over many seeded schedules.

use clap::Args;

use crate::shell;
use crate::tools;
use crate::workspace::Workspace;

/// How many schedules the simulation runs.
pub(crate) const SEEDS: &str = "ARBITER_SIM_SEEDS";
/// The first seed; the others follow it.
pub(crate) const SEED: &str = "ARBITER_SIM_SEED";

/// What to simulate.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many seeded schedules to run
    #[arg(long, default_value_t = 500)]
    seeds: u64,
    /// The first seed: with `--seeds 1` it replays one schedule
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Runs the simulation; a failing seed is printed by the test that found it.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    println!("{}", tools::ensure(workspace, &tools::NEXTEST)?);
    // Thousands of schedules are worth the longer build; debug assertions stay on in `test`.
    let mut command = workspace.cargo()?;
    command.args([
        "nextest",
        "run",
        "--release",
        "--package",
        "arbiter-tests",
        "--test",
        "sim",
    ]);
    command.args(["--profile", "campaign", "--success-output", "final"]);
    command
        .env(SEEDS, options.seeds.to_string())
        .env(SEED, options.seed.to_string());
    shell::run(&mut command)
}
