//! Running agents' commands: which limits, which launcher, where.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use arbiter_adapter_process::{AgentCommand, ExecTransport, Launcher, Limits};
use arbiter_core::mechanism::Redactor;
use arbiter_core::model::Digest;
use arbiter_core::ports::{AgentTransport, ArtifactStore, Clock};

use crate::batch::AgentEntry;
use crate::config::{Config, Environment};
use crate::exit::Failure;

/// What commands run with.
pub(crate) struct Surroundings<'a> {
    pub(crate) config: &'a Config,
    /// Where input comes from, and output goes to.
    pub(crate) artifacts: &'a Arc<dyn ArtifactStore>,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) environment: &'a dyn Environment,
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
        threads: Limits::default().threads,
        uid: Some(exec.uid),
    };
    let program = std::env::current_exe()
        .map_err(|error| Failure::internal("this program's own file was not found", error))?;
    let redactor = Redactor::new(&around.config.redaction)
        .map_err(|error| Failure::configuration(format!("redaction: {error}")))?;
    Ok(Arc::new(ExecTransport::new(
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
    )))
}

/// Where attempts work: outside of the data folder, which commands must not enter.
pub(crate) fn work_root(config: &Config) -> PathBuf {
    let owner = nix::unistd::Uid::effective();
    let place = Digest::of(config.data_dir.as_os_str().as_encoded_bytes());
    let place: String = place.to_string().chars().take(16).collect();
    std::env::temp_dir().join(format!("arbiter-work-{owner}-{place}"))
}
