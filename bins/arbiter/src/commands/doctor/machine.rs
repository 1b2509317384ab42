//! The machine: file handles, commands of agents and their limits.

use arbiter_adapter_process::{Enforced, Launcher};
use nix::sys::resource::{Resource, getrlimit};

use super::Finding;
use crate::config::Config;

/// File handles beside those of connections: database, artifacts, commands.
const OTHER_FILES: u64 = 256;

pub(super) fn look(config: &Config) -> Vec<Finding> {
    let mut findings = vec![files(config), launcher(config)];
    findings.extend(limits(config));
    findings
}

fn files(config: &Config) -> Finding {
    const CHECK: &str = "open files";
    let needed = config.server.api.connections as u64 + OTHER_FILES;
    match getrlimit(Resource::RLIMIT_NOFILE) {
        // The server raises its own limit as far as it may.
        Ok((_, most)) if most < needed => Finding::problem(
            CHECK,
            format!(
                "{most} may be open, but {} connections are configured",
                config.server.api.connections
            ),
            format!("raise the limit to {needed} (`LimitNOFILE=` of the unit), or lower server.connections"),
        ),
        Ok((_, most)) => Finding::fine(CHECK, format!("{most} may be open, {needed} are needed")),
        Err(error) => Finding::note(
            CHECK,
            format!("the limit cannot be told: {error}"),
            "look at it with `ulimit -n`",
        ),
    }
}

fn launcher(config: &Config) -> Finding {
    const CHECK: &str = "commands of agents";
    let started = std::env::current_exe()
        .map_err(|error| format!("this program's own file was not found: {error}"))
        .and_then(|program| {
            let launcher = Launcher {
                program,
                arguments: vec!["__launch".into()],
            };
            launcher.check(&crate::exec::work_root(config), Some(config.exec.uid))
        });
    match started {
        Ok(()) => Finding::fine(CHECK, "they can be started"),
        Err(why) => Finding::problem(
            CHECK,
            format!("they cannot be started: {why}"),
            "let the user of exec.uid run this program and enter the folder of temporary files",
        ),
    }
}

fn limits(config: &Config) -> Vec<Finding> {
    let enforced = Enforced::here(Some(config.exec.uid), &crate::exec::mode(config));
    enforced
        .missing()
        .map(|(limit, why)| {
            Finding::note(
                "limits of agents",
                format!("{limit} is not enforced: {why}"),
                "run agents in a container or virtual machine where that matters",
            )
        })
        .collect()
}
