//! The `arbiter` binary: parse, read the configuration, start telemetry, run a command, map its error to an exit code.

mod access;
mod agent_registry;
mod app;
mod backup;
mod batch;
mod bootstrap;
mod checkpoint;
mod cli;
mod commands;
mod config;
mod engine;
mod erasing;
mod exec;
mod exit;
mod guarded;
mod health;
mod history;
mod identities;
mod listening;
mod log_key;
mod output;
mod owner;
mod pulling;
mod reach;
mod routing;
mod schedules;
mod serving;
mod signals;
mod storage;
mod telemetry;
mod traffic;
mod trust;
mod view;
mod webhooks;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::config::Config;

/// The system's allocator took a tenth of the time of a busy node.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The environment of the process, read here and nowhere else.
struct Process;

impl config::Environment for Process {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

/// The allocator asks for huge pages, of which an idle node would use a part and keep the rest: 18 of 49 MiB, for no
/// gain that could be measured. Agents' commands get the system's way back from the launcher.
fn small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!(error = %error, "huge pages could not be turned off");
    }
}

fn main() -> ExitCode {
    // The launcher and the demo's agent run with an empty environment and must stay small: no configuration, no runtime.
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _printed = error.print();
            return ExitCode::from(if error.use_stderr() {
                arbiter_wire::codes::EXIT_USAGE
            } else {
                0
            });
        }
    };
    match cli.command {
        Command::Launch { arguments } => return arbiter_adapter_process::launcher::main(arguments),
        Command::DemoAgent { crash_on } => return commands::demo_agent::main(&crash_on),
        Command::Completions { shell } => {
            commands::completions::run(shell);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    small_pages();
    let json = cli.global.json;
    let mut global = cli.global.clone();
    if matches!(cli.command, Command::Demo(_)) {
        // It makes a folder of its own there: it needs neither HOME nor a setting.
        global.data_dir = Some(std::env::temp_dir());
    }
    let result = match (Config::load(&global, &Process), &cli.command) {
        (Ok(config), _) => telemetry::start(config.log).and_then(|()| commands::run(cli, config, &Process)),
        // What cannot be read is what it is for.
        (Err(failure), Command::Doctor(_)) => commands::doctor::unconfigured(&failure, json),
        (Err(failure), _) => Err(failure),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(json),
    }
}
