//! Running agents' commands: which limits, which launcher, where.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arbiter_adapter_process::{AgentCommand, ExecTransport, Groups, Launcher, Limits, Mode};
use arbiter_core::mechanism::Redactor;
use arbiter_core::model::Digest;
use arbiter_core::ports::{AgentTransport, ArtifactStore, Clock};

use crate::batch::AgentEntry;
use crate::config::{Cgroup, Config, Environment};
use crate::exit::Failure;

/// What commands run with.
pub(crate) struct Surroundings<'a> {
    pub(crate) config: &'a Config,
    /// Where input comes from, and output goes to.
    pub(crate) artifacts: &'a Arc<dyn ArtifactStore>,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) environment: &'a dyn Environment,
    pub(crate) groups: &'a Arc<Groups>,
}

/// Finds the control groups of this process, and ends what dead processes left in theirs.
pub(crate) async fn groups(config: &Config, clock: &dyn Clock) -> Arc<Groups> {
    let groups = match config.exec.cgroup {
        Cgroup::Auto => Groups::find(),
        Cgroup::Off => Groups::off(),
    };
    if let (Cgroup::Auto, Mode::Measured(why)) = (config.exec.cgroup, groups.mode()) {
        tracing::info!(
            event = "control_groups_unavailable",
            why,
            "no control groups: memory and processes of commands are measured"
        );
    }
    let removed = groups.sweep(clock).await;
    if removed > 0 {
        tracing::info!(
            event = "control_groups_removed",
            count = removed,
            "control groups of attempts of dead processes were emptied and removed"
        );
    }
    Arc::new(groups)
}

/// How memory and processes of commands are held to their limits. Asking changes nothing.
pub(crate) fn mode(config: &Config) -> Mode {
    match config.exec.cgroup {
        Cgroup::Auto => Groups::look(),
        Cgroup::Off => Groups::off().mode().clone(),
    }
}

/// Runs an agent's command through this binary as its launcher.
pub(crate) fn transport(
    around: &Surroundings<'_>,
    entry: &AgentEntry,
) -> Result<Arc<dyn AgentTransport>, Failure> {
    let mut env = BTreeMap::new();
    for name in &entry.env {
        let value = around.environment.get(name).ok_or_else(|| {
            let agent = &entry.profile.name;
            Failure::configuration(format!(
                "the agent `{agent}` wants the variable `{name}`, which is not set"
            ))
        })?;
        env.insert(name.clone(), value);
    }
    let exec = around.config.exec;
    let limits = Limits {
        memory_bytes: entry.memory_bytes.unwrap_or(exec.memory_bytes),
        output_bytes: entry.output_bytes.unwrap_or(exec.output_bytes),
        processes: exec.processes,
        threads: exec.threads,
        uid: Some(exec.uid),
    };
    let program = std::env::current_exe()
        .map_err(|error| Failure::internal("this program's own file was not found", error))?;
    let redactor = Redactor::new(&around.config.redaction)
        .map_err(|error| Failure::configuration(format!("redaction: {error}")))?;
    let transport = ExecTransport::new(
        AgentCommand {
            agent: entry.profile.id,
            command: entry.command.clone(),
            env,
            limits,
        },
        Launcher {
            program,
            arguments: vec!["__launch".into()],
        },
        Arc::clone(around.artifacts),
        Arc::clone(around.clock),
        Arc::new(redactor),
        work_root(around.config),
    );
    Ok(Arc::new(transport.with_groups(Arc::clone(around.groups))))
}

/// Where attempts work: outside of the data folder, which commands must not enter.
pub(crate) fn work_root(config: &Config) -> PathBuf {
    let owner = nix::unistd::Uid::effective();
    let place = Digest::of(config.data_dir.as_os_str().as_encoded_bytes());
    let place: String = place.to_string().chars().take(16).collect();
    std::env::temp_dir().join(format!("arbiter-work-{owner}-{place}"))
}
