//! `bench`: every benchmark of the workspace, one by its name, or us beside other queues.

mod peers;

use anyhow::ensure;
use cargo_metadata::TargetKind;
use clap::{Args, Subcommand};

use crate::steps::Steps;
use crate::workspace::Workspace;

/// What to run.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    comparison: Option<Comparison>,
    /// Name of one bench target
    name: Option<String>,
    /// Arguments for the benchmark program, after `--`
    #[arg(last = true)]
    arguments: Vec<String>,
}

#[derive(Debug, Subcommand)]
enum Comparison {
    /// Measures us, the server's own limit and other queues over one PostgreSQL, in the same rounds
    Peers(peers::Options),
}

/// Runs the benchmarks.
///
/// # Errors
/// When there is none, or none of this name, or when one fails.
pub(crate) fn run(workspace: &Workspace, options: Options) -> anyhow::Result<()> {
    match options.comparison {
        Some(Comparison::Peers(options)) => peers::run(workspace, &options),
        None => run_targets(workspace, options.name.as_deref(), &options.arguments),
    }
}

fn run_targets(workspace: &Workspace, name: Option<&str>, arguments: &[String]) -> anyhow::Result<()> {
    let all = targets(workspace);
    let known: Vec<&str> = all.iter().map(|(_, bench)| bench.as_str()).collect();
    let wanted: Vec<&(String, String)> = all
        .iter()
        .filter(|(_, bench)| name.is_none_or(|name| name == bench))
        .collect();
    ensure!(
        !wanted.is_empty(),
        "no such benchmark; there are: {}",
        known.join(", ")
    );
    let mut steps = Steps::default();
    for (package, bench) in wanted {
        let mut command = workspace.cargo()?;
        command
            .args(["bench", "--package", package, "--bench", bench, "--"])
            .args(arguments);
        steps.command("bench", &mut command);
    }
    steps.finish()
}

/// The benchmark targets, as package and target name.
fn targets(workspace: &Workspace) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for package in &workspace.members {
        for target in package
            .targets
            .iter()
            .filter(|target| target.kind.contains(&TargetKind::Bench))
        {
            found.push((package.name.to_string(), target.name.clone()));
        }
    }
    found
}
