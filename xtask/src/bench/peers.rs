//! `bench peers`: us, the server's own limit and other queues over one PostgreSQL, in the same rounds.

mod measure;
mod raw;
mod server;
mod side;
mod table;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;

use crate::services::Session;
use crate::workspace::Workspace;
use measure::Results;
use raw::Raw;
use server::Server;
use side::Side;

/// Every caller of every side has as many tasks when their number is a multiple of this.
const STEP: usize = 3_200;

/// How much to measure, and where to put the result.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Rounds; the sides take turns in each
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Tasks of a drain, a multiple of 3200; batches submit twice as many, single calls a quarter
    #[arg(long, default_value_t = 6 * STEP)]
    tasks: usize,
    /// Also writes the result as JSON to this file
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Measures all sides and prints the table.
///
/// # Errors
/// When a program is missing (the message says what to install), when the server keeps commits in memory only or has
/// schemas that a side would use, or when a side fails.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0, "at least one round is needed");
    ensure!(
        options.tasks > 0 && options.tasks.is_multiple_of(STEP),
        "--tasks must be a multiple of {STEP}"
    );
    let sides = side::prepare(workspace)?;
    let session = Session::start(workspace)?;
    session.notes().iter().for_each(|note| println!("{note}"));
    let measured = measure_all(&session, &sides, options);
    let stopped = session.stop();
    let (server, results) = measured?;
    stopped?;
    println!("{}", table::text(&server, &sides, &results));
    if let Some(path) = &options.json {
        let document = table::json(&server, &sides, &results)?;
        fs::write(path, document).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn measure_all(session: &Session, sides: &[Side], options: &Options) -> anyhow::Result<(Server, Results)> {
    let variables = session.variables();
    let server = Server::find(&variables)?;
    server.check()?;
    let mut results = Results::default();
    for round in 0..options.rounds {
        // another one begins in every round
        for turn in 0..=sides.len() {
            let place = (round + turn) % (sides.len() + 1);
            let (name, lines) = match sides.get(place) {
                Some(side) => (side.name, side.round(&variables, options.tasks)?),
                None => (raw::NAME, Raw::new(&server).round(options.tasks)?),
            };
            println!("round {} of {}: {name}", round + 1, options.rounds);
            for line in lines {
                println!("  {line}");
                results.add(name, &line);
            }
        }
    }
    Ok((server, results))
}
