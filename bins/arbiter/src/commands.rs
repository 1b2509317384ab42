//! The commands, one file each.

mod agent;
pub(crate) mod audit;
mod backup;
pub(crate) mod completions;
mod config;
mod demo;
pub(crate) mod demo_agent;
pub(crate) mod doctor;
mod erasure;
mod hook;
mod key;
mod openapi;
mod policy;
mod principal;
mod queue;
mod run;
mod schedule;
mod serve;
mod task;
mod tenant;

use std::future::Future;

use crate::app::App;
use crate::cli::{Cli, Command};
use crate::config::{Config, Environment};
use crate::exit::Failure;
use crate::reach::{self, Choice};
use crate::{cli, pulling};

pub(crate) use task::submission;

/// Runs the command of a command line.
pub(crate) fn run(cli: Cli, config: Config, environment: &dyn Environment) -> Result<(), Failure> {
    let json = cli.global.json;
    let choice = Choice::of(&cli.global, environment);
    match cli.command {
        Command::Run(arguments) => {
            choice.only_here("arbiter run")?;
            block_on(run::run(config, arguments, json, environment))
        }
        Command::Serve(arguments) => {
            choice.only_here("arbiter serve")?;
            block_on(serve::run(config, arguments, json, environment))
        }
        Command::Demo(arguments) => {
            choice.only_here("arbiter demo")?;
            block_on(demo::run(config, arguments, json, environment))
        }
        Command::Task(command) => block_on(reach::with(&choice, config, async |reach| {
            task::run(reach, command, json).await
        })),
        Command::Agent(cli::AgentCommand::Run(arguments)) => {
            block_on(pulling::run(&choice, &config, &arguments, json, environment))
        }
        Command::Agent(command) => block_on(reach::with(&choice, config, async |reach| {
            agent::run(reach, command, json).await
        })),
        Command::Queue(command) => block_on(reach::with(&choice, config, async |reach| {
            queue::run(reach, command, json).await
        })),
        Command::Hook(command) => block_on(reach::with(&choice, config, async |reach| {
            hook::run(reach, command, json).await
        })),
        Command::Schedule(command) => block_on(reach::with(&choice, config, async |reach| {
            schedule::run(reach, command, json).await
        })),
        Command::Erasure(command) => block_on(reach::with(&choice, config, async |reach| {
            erasure::run(reach, command, json).await
        })),
        Command::Audit(command) => block_on(audit::run(&choice, config, command, json)),
        Command::Key(command) => block_on(reach::with(&choice, config, async |reach| {
            key::run(reach, command, json).await
        })),
        Command::Tenant(command) => block_on(reach::with(&choice, config, async |reach| {
            tenant::run(reach, command, json).await
        })),
        Command::Principal(command) => block_on(reach::with(&choice, config, async |reach| {
            principal::run(reach, command, json).await
        })),
        Command::Policy(command) => block_on(reach::with(&choice, config, async |reach| {
            policy::run(reach, command, json).await
        })),
        Command::Backup { folder: Some(folder) } => {
            choice.only_here("arbiter backup FOLDER")?;
            block_on(with_app(config, async |app| {
                backup::take(app, &folder, json).await
            }))
        }
        Command::Backup { folder: None } => block_on(reach::with(&choice, config, async |reach| {
            backup::ask(reach, json).await
        })),
        Command::Restore(arguments) => {
            choice.only_here("arbiter restore")?;
            block_on(backup::restore(config, arguments, json))
        }
        Command::Doctor(arguments) => {
            choice.only_here("arbiter doctor")?;
            block_on(doctor::run(config, arguments, json))
        }
        Command::Openapi { group } => openapi::run(&config, group.as_deref(), json),
        Command::Config(command) => config::run(&config, &command, json),
        // Handled before the configuration is read.
        Command::Completions { .. } | Command::Launch { .. } | Command::DemoAgent { .. } => Ok(()),
    }
}

fn block_on<F: Future<Output = Result<(), Failure>>>(future: F) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::internal("the runtime could not be started", error))?;
    runtime.block_on(future)
}

/// Opens the store, runs a command, and closes the store whatever came of it.
async fn with_app(
    config: Config,
    command: impl AsyncFnOnce(&App) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let app = App::open(config).await?;
    let done = command(&app).await;
    let closed = app.close().await;
    done.and(closed)
}
