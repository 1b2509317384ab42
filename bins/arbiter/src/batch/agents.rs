//! The agents file: who may work on a batch.

use std::collections::BTreeSet;
use std::path::Path;

use arbiter_core::model::{
    AgentCost, AgentId, AgentProfile, Capabilities, Digest, SecurityLevel, TaskKind, TenantId, Transport,
};
use serde::Deserialize;

use crate::exit::Failure;

/// The agents of a batch.
#[derive(Debug)]
pub(crate) struct Agents(pub(crate) Vec<AgentEntry>);

/// One agent.
#[derive(Debug, Clone)]
pub(crate) struct AgentEntry {
    /// What the registry is told.
    pub(crate) profile: AgentProfile,
    /// The command and its arguments.
    pub(crate) command: Vec<String>,
    /// Names of environment variables that the command sees.
    pub(crate) env: Vec<String>,
    /// Memory limit, where it differs from the configuration's.
    pub(crate) memory_bytes: Option<u64>,
    /// Output limit, where it differs from the configuration's.
    pub(crate) output_bytes: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, rename = "agent")]
    agents: Vec<AgentForm>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentForm {
    name: String,
    command: Vec<String>,
    model_family: String,
    model_version: Option<String>,
    kinds: Vec<String>,
    #[serde(default)]
    languages: BTreeSet<String>,
    #[serde(default)]
    specialisations: BTreeSet<String>,
    #[serde(default)]
    tools: BTreeSet<String>,
    #[serde(default = "one")]
    slots: u32,
    memory: Option<u64>,
    output: Option<u64>,
    cost_per_task_micros: Option<u64>,
    cost_per_1k_tokens_micros: Option<u64>,
    #[serde(default)]
    env: Vec<String>,
    #[serde(default)]
    clearance: Clearance,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Clearance {
    #[default]
    Internal,
    Confidential,
    Restricted,
}

const fn one() -> u32 {
    1
}

impl Agents {
    /// Reads the agents of a tenant. Programs with a `/` and arguments that begin
    /// with `./` or `../` are relative to `folder`.
    ///
    /// # Errors
    /// A configuration failure that names the agent.
    pub(crate) fn read(text: &str, folder: &Path, tenant: TenantId) -> Result<Self, Failure> {
        let form: Form = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.matches('\n').count() + 1);
            Failure::configuration(format!("the agents file: line {line}: {}", error.message()))
        })?;
        if form.agents.is_empty() {
            return Err(Failure::configuration(
                "the agents file names no agent: write [[agent]] with name and command",
            ));
        }
        let mut names = BTreeSet::new();
        let mut entries = Vec::new();
        for agent in form.agents {
            if !names.insert(agent.name.clone()) {
                return Err(Failure::configuration(format!(
                    "two agents have the name `{}`",
                    agent.name
                )));
            }
            let name = agent.name.clone();
            let entry = entry(agent, folder, tenant)
                .map_err(|problem| Failure::configuration(format!("agent `{name}`: {problem}")))?;
            entries.push(entry);
        }
        Ok(Self(entries))
    }
}

fn entry(form: AgentForm, folder: &Path, tenant: TenantId) -> Result<AgentEntry, String> {
    let Some((program, arguments)) = form.command.split_first() else {
        return Err("`command` is empty".to_owned());
    };
    let program = if program.contains('/') {
        below(folder, program)
    } else {
        program.clone()
    };
    let arguments = arguments.iter().map(|argument| {
        if argument.starts_with("./") || argument.starts_with("../") {
            below(folder, argument)
        } else {
            argument.clone()
        }
    });
    let kinds: Result<BTreeSet<TaskKind>, _> = form.kinds.iter().map(|kind| TaskKind::new(kind)).collect();
    let profile = AgentProfile {
        id: agent_id(tenant, &form.name),
        tenant: Some(tenant),
        name: form.name,
        model_family: form.model_family,
        model_version: form.model_version,
        capabilities: Capabilities {
            kinds: kinds.map_err(|error| error.to_string())?,
            languages: form.languages,
            specialisations: form.specialisations,
            tools: form.tools,
        },
        transport: Transport::Exec,
        slots: form.slots,
        clearance: match form.clearance {
            Clearance::Internal => SecurityLevel::Internal,
            Clearance::Confidential => SecurityLevel::Confidential,
            Clearance::Restricted => SecurityLevel::Restricted,
        },
        cost: AgentCost {
            per_task_micros: form.cost_per_task_micros,
            per_1k_tokens_micros: form.cost_per_1k_tokens_micros,
        },
        labels: std::collections::BTreeMap::new(),
    };
    profile.validate().map_err(|error| error.to_string())?;
    if form.memory == Some(0) || form.output == Some(0) {
        return Err("`memory` and `output` must be at least 1 byte".to_owned());
    }
    Ok(AgentEntry {
        profile,
        command: std::iter::once(program).chain(arguments).collect(),
        env: form.env,
        memory_bytes: form.memory,
        output_bytes: form.output,
    })
}

/// A path of the agents file, made absolute: commands run in folders of their own.
fn below(folder: &Path, path: &str) -> String {
    let joined = folder.join(path);
    std::path::absolute(&joined)
        .unwrap_or(joined)
        .to_string_lossy()
        .into_owned()
}

/// The same agent has the same id over restarts: the first 16 bytes of SHA-256(tenant ‖ name).
fn agent_id(tenant: TenantId, name: &str) -> AgentId {
    let digest = Digest::of(&[tenant.as_bytes().as_slice(), name.as_bytes()].concat());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest.as_bytes()[..16]);
    AgentId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: TenantId = TenantId::from_bytes([1; 16]);

    #[test]
    fn an_agent_is_read_with_its_defaults() {
        let text = "[[agent]]\nname = \"a\"\ncommand = [\"./a.sh\", \"-x\", \"../b\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n";
        let agents = Agents::read(text, Path::new("/work"), TENANT).expect("agents");
        assert_eq!(agents.0[0].command, ["/work/a.sh", "-x", "/work/../b"]);
        assert_eq!((agents.0[0].profile.slots, agents.0[0].memory_bytes), (1, None));
        let again = Agents::read(text, Path::new("/other"), TENANT).expect("agents");
        assert_eq!(again.0[0].profile.id, agents.0[0].profile.id);
    }

    #[test]
    fn costs_are_read() {
        let text = "[[agent]]\nname = \"a\"\ncommand = [\"sh\"]\nmodel_family = \"none\"\nkinds = [\"analysis\"]\n\
                    cost_per_task_micros = 20\ncost_per_1k_tokens_micros = 3\n";
        let agents = Agents::read(text, Path::new("/"), TENANT).expect("agents");
        let cost = agents.0[0].profile.cost;
        assert_eq!(cost.per_task_micros, Some(20));
        assert_eq!(cost.per_1k_tokens_micros, Some(3));
    }

    #[test]
    fn mistakes_are_named() {
        let agent = |rest: &str| format!("[[agent]]\nname = \"a\"\nmodel_family = \"none\"\n{rest}");
        for (text, part) in [
            (String::new(), "names no agent"),
            (
                agent("command = []\nkinds = [\"analysis\"]"),
                "`command` is empty",
            ),
            (agent("command = [\"sh\"]\nkinds = []"), "kinds"),
            (
                agent("command = [\"sh\"]\nkinds = [\"analysis\"]\nslots = 0"),
                "slots",
            ),
            (
                agent("command = [\"sh\"]\nkinds = [\"analysis\"]\ncolour = 1"),
                "line 6: unknown field `colour`",
            ),
            (
                agent("command = \"sh -c true\"\nkinds = [\"analysis\"]"),
                "line 4",
            ),
        ] {
            let message = Agents::read(&text, Path::new("/"), TENANT)
                .expect_err(&text)
                .to_string();
            assert!(message.contains(part), "{part}: {message}");
        }
    }
}
