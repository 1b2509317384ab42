//! `arbiter agent run`: a command as an agent that pulls its work from a server.

mod agent;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arbiter_adapter_system::UuidV7Ids;
use arbiter_client::Client;
use arbiter_client::pull::RemoteArtifacts;
use arbiter_core::model::{
    AgentCost, AgentId, AgentProfile, Capabilities, SecurityLevel, TaskKind, Transport,
};
use arbiter_core::ports::{ArtifactStore, IdSource};
use arbiter_net::HttpPorts;
use arbiter_wire::http::AgentForm;
use serde_json::json;

use self::agent::{Agent, Parts};
use crate::batch::AgentEntry;
use crate::cli::AgentRunArgs;
use crate::config::{Config, Environment};
use crate::exec;
use crate::exit::Failure;
use crate::reach::{self, Choice};
use crate::{output, signals};

/// Registers, pulls and works until a signal comes.
pub(crate) async fn run(
    choice: &Choice,
    config: &Config,
    arguments: &AgentRunArgs,
    json: bool,
    environment: &dyn Environment,
) -> Result<(), Failure> {
    let client = connect(choice, config)?;
    let form = form(arguments)?;
    let ports = reach::ports();
    let stop = signals::first(ports.spawner.as_ref());
    let registered = agent::register(&client, &form, &ports, &stop).await?;
    let Some(id) = registered else { return Ok(()) };
    let artifacts: Arc<dyn ArtifactStore> = Arc::new(RemoteArtifacts::new(client.clone()));
    let groups = exec::groups(config, ports.clock.as_ref()).await;
    sweep(config);
    let around = exec::Surroundings {
        config,
        artifacts: &artifacts,
        clock: &ports.clock,
        environment,
        groups: &groups,
    };
    let transport = exec::transport(&around, &entry(arguments, id)?)?;
    let ids: Arc<dyn IdSource> = Arc::new(UuidV7Ids::new());
    let HttpPorts {
        clock,
        entropy,
        metrics,
        ..
    } = ports;
    if json {
        output::json(&json!({"agent": id.to_string(), "server": client.origin(), "pid": std::process::id()}));
    } else {
        output::line(&format!(
            "agent {id} pulls its work from {}; stop with Ctrl-C",
            client.origin()
        ));
    }
    let agent = Agent::new(Parts {
        client,
        id,
        form,
        transport,
        drain: Duration::from_secs(arguments.drain_seconds.into()),
        clock,
        entropy,
        ids,
        metrics,
    });
    let worked = agent.run(stop).await?;
    if json {
        output::json(
            &json!({"succeeded": worked.succeeded, "failed": worked.failed, "given_back": worked.given_back}),
        );
    } else {
        output::line(&format!(
            "{} attempts succeeded, {} failed, {} were given back or ended from outside",
            worked.succeeded, worked.failed, worked.given_back
        ));
    }
    Ok(())
}

/// The server, with a key of the agent's own.
fn connect(choice: &Choice, config: &Config) -> Result<Client, Failure> {
    if !choice.has_token() {
        return Err(Failure::usage(
            "an agent has a key of its own: make one with `arbiter key create --name NAME --role agent --output FILE`, \
             and name its file with --token-file",
        ));
    }
    choice.client(config)?.ok_or_else(|| {
        Failure::usage(
            "there is no server to pull work from: name it with --server, or start `arbiter serve`",
        )
    })
}

fn name(arguments: &AgentRunArgs) -> String {
    let program = arguments.program();
    let program = program.first().map(String::as_str).unwrap_or_default();
    let own = program.rsplit('/').next().unwrap_or(program);
    arguments.name.clone().unwrap_or_else(|| own.to_owned())
}

fn set(words: &[String]) -> BTreeSet<String> {
    words.iter().cloned().collect()
}

/// What the server is told of the agent.
fn form(arguments: &AgentRunArgs) -> Result<AgentForm, Failure> {
    for kind in &arguments.kind {
        TaskKind::new(kind).map_err(|error| Failure::usage(format!("--kind: {error}")))?;
    }
    Ok(AgentForm {
        id: None,
        name: name(arguments),
        model_family: arguments.model_family.clone(),
        model_version: arguments.model_version.clone(),
        kinds: set(&arguments.kind),
        languages: set(&arguments.language),
        specialisations: set(&arguments.specialisation),
        tools: set(&arguments.tool),
        slots: arguments.slots,
        clearance: None,
        cost_per_task_micros: None,
        cost_per_1k_tokens_micros: None,
        labels: std::collections::BTreeMap::new(),
        tenant: None,
        transport: None,
    })
}

/// What runs the command. The server alone keeps the profile: of this one only the id and the name count.
fn entry(arguments: &AgentRunArgs, id: AgentId) -> Result<AgentEntry, Failure> {
    let kinds = arguments.kind.iter().map(|kind| TaskKind::new(kind));
    let profile = AgentProfile {
        id,
        tenant: None,
        name: name(arguments),
        model_family: arguments.model_family.clone(),
        model_version: arguments.model_version.clone(),
        capabilities: Capabilities {
            kinds: kinds
                .collect::<Result<_, _>>()
                .map_err(|error| Failure::usage(format!("--kind: {error}")))?,
            languages: set(&arguments.language),
            specialisations: set(&arguments.specialisation),
            tools: set(&arguments.tool),
        },
        transport: Transport::Pull,
        slots: arguments.slots,
        clearance: SecurityLevel::Internal,
        cost: AgentCost::default(),
        labels: std::collections::BTreeMap::new(),
    };
    let command = arguments.program();
    let mut words = command.into_iter();
    // Commands run in folders of their own.
    let program = words.next().map(|program| {
        if program.contains('/') {
            absolute(program)
        } else {
            program
        }
    });
    let words = words.map(|word| {
        if word.starts_with("./") || word.starts_with("../") {
            absolute(word)
        } else {
            word
        }
    });
    Ok(AgentEntry {
        profile,
        command: program.into_iter().chain(words).collect(),
        env: arguments.env.clone(),
        memory_bytes: None,
        output_bytes: None,
    })
}

/// A path of the command line, made absolute.
fn absolute(path: String) -> String {
    std::path::absolute(&path).map_or(path, |absolute| absolute.to_string_lossy().into_owned())
}

/// Removes the folders of attempts whose processes are dead.
fn sweep(config: &Config) {
    if let Err(error) = arbiter_adapter_process::sweep(&exec::work_root(config)) {
        tracing::warn!(event = "work_folders_left", error = %error, "folders of dead attempts could not be removed");
    }
}
