//! The configuration: flag, then environment, then file, then default.

mod allocation;
mod check;
mod file;
mod hooks;
mod identity;
mod paths;
mod reference;
mod registry;
mod server;
mod show;
mod store;
mod telemetry;
mod upkeep;

pub(crate) use file::FileConfig;
pub(crate) use hooks::HooksConfig;
pub(crate) use identity::IdentityConfig;
pub(crate) use reference::reference;
pub(crate) use registry::RegistryElsewhere;
pub(crate) use server::ServerConfig;
pub(crate) use show::show;
pub(crate) use store::{SharedStore, StoreConfig};
pub(crate) use telemetry::TelemetryConfig;
pub(crate) use upkeep::UpkeepConfig;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arbiter_core::lifecycle::Rules;
use arbiter_core::mechanism::RedactionRules;
use arbiter_core::model::{TaskKind, TenantId};
use arbiter_queue::{RateLimit, Settings, SuspicionPolicy};

use crate::cli::{Global, LogFormat};
use crate::exit::Failure;

/// The environment, read once, in `main`.
pub(crate) trait Environment {
    /// A variable, if it is set and not empty.
    fn get(&self, name: &str) -> Option<String>;
}

/// Everything that can be set, checked.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where the configuration file is, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The folder of the store, and what says so.
    pub(crate) data_dir: PathBuf,
    pub(crate) data_dir_from: &'static str,
    /// Where tasks and everything else are kept.
    pub(crate) store: StoreConfig,
    pub(crate) log: LogConfig,
    pub(crate) queue: Settings,
    /// How long leases last.
    pub(crate) rules: Rules,
    pub(crate) redaction: RedactionRules,
    pub(crate) policies: Vec<PathBuf>,
    pub(crate) exec: ExecConfig,
    pub(crate) server: ServerConfig,
    pub(crate) identity: IdentityConfig,
    pub(crate) hooks: HooksConfig,
    /// The registry of agents, where it is not in the store.
    pub(crate) registry: Option<RegistryElsewhere>,
    pub(crate) allocation: arbiter_allocation::Settings,
    pub(crate) upkeep: UpkeepConfig,
    pub(crate) telemetry: TelemetryConfig,
}

/// The log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogConfig {
    pub(crate) format: LogFormat,
    pub(crate) level: tracing::Level,
}

/// Exec agents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExecConfig {
    /// Under which user commands run when we are root.
    pub(crate) uid: u32,
    /// Memory of a command unless its agent says otherwise.
    pub(crate) memory_bytes: u64,
    /// Standard output of a command unless its agent says otherwise.
    pub(crate) output_bytes: u64,
    /// Processes of a command.
    pub(crate) processes: u32,
    /// Threads of all of these.
    pub(crate) threads: u32,
    /// Whether control groups hold memory and processes where they can.
    pub(crate) cgroup: Cgroup,
}

/// Use of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cgroup {
    /// Where they work.
    Auto,
    /// Never.
    Off,
}

impl Cgroup {
    /// Its word in the configuration.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
        }
    }
}

impl Config {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// A configuration failure that lists every problem.
    pub(crate) fn load(global: &Global, environment: &dyn Environment) -> Result<Self, Failure> {
        let (path, file) = file::read(global, environment)?;
        let mut problems = Vec::new();
        let config = Self::of(global, environment, path, &file, &mut problems);
        match (config, problems.is_empty()) {
            (Some(config), true) => Ok(config),
            _ => Err(Failure::configuration(check::list(&problems))),
        }
    }

    fn of(
        global: &Global,
        environment: &dyn Environment,
        path: Option<PathBuf>,
        file: &FileConfig,
        problems: &mut Vec<String>,
    ) -> Option<Self> {
        let data = paths::data_dir(global, environment, file)
            .map_err(|problem| problems.push(problem))
            .ok();
        let folder = path
            .as_deref()
            .and_then(Path::parent)
            .unwrap_or(Path::new(""))
            .to_path_buf();
        let store = StoreConfig::of(file, environment, &folder, problems);
        let queue = queue(file, problems);
        let rules = rules(file, problems);
        let log = log(global, environment, file, problems);
        let exec = exec(file, problems);
        let server = ServerConfig::of(&file.server, &folder, problems);
        let clients = server.client_ca.is_some();
        let identity = IdentityConfig::of(&file.oidc, &file.identity, &folder, clients, problems);
        let hooks = HooksConfig::of(&file.hooks, problems);
        let registry = RegistryElsewhere::of(&file.registry, &folder, problems);
        let allocation = allocation::settings(&file.allocation, problems);
        let upkeep = UpkeepConfig::of(&file.agents, &file.backup, &file.retention, &folder, problems);
        let telemetry = TelemetryConfig::of(&file.telemetry, problems);
        let (data_dir, data_dir_from) = data?;
        Some(Self {
            policies: file.policies.files.iter().map(|name| folder.join(name)).collect(),
            redaction: RedactionRules {
                extra_keys: file.redaction.keys.clone(),
                emails: file.redaction.emails,
                extra_patterns: file.redaction.patterns.clone(),
            },
            file: path,
            data_dir,
            data_dir_from,
            store,
            log,
            queue,
            rules,
            exec,
            server,
            identity,
            hooks,
            registry,
            allocation,
            upkeep,
            telemetry,
        })
    }
}

fn queue(file: &FileConfig, problems: &mut Vec<String>) -> Settings {
    let mut settings = Settings::default();
    let section = &file.queue;
    let mut rate = |name: &str, given: Option<file::Rate>, default: RateLimit| match given {
        Some(rate) if rate.per_second == 0 || rate.burst == 0 => {
            problems.push(format!("queue.{name}: per_second and burst must be at least 1"));
            default
        }
        Some(rate) => RateLimit {
            per_second: rate.per_second,
            burst: rate.burst,
        },
        None => default,
    };
    settings.submit_per_principal = rate(
        "submit_per_principal",
        section.submit_per_principal,
        settings.submit_per_principal,
    );
    settings.submit_per_tenant = rate(
        "submit_per_tenant",
        section.submit_per_tenant,
        settings.submit_per_tenant,
    );
    settings.calls_per_principal = rate(
        "calls_per_principal",
        section.calls_per_principal,
        settings.calls_per_principal,
    );
    match section.open_tasks_per_tenant {
        Some(0) => problems.push("queue.open_tasks_per_tenant: must be at least 1".into()),
        Some(limit) => settings.open_tasks_per_tenant = limit,
        None => {}
    }
    let mut kinds = BTreeSet::new();
    for kind in &section.extra_kinds {
        match TaskKind::new(kind) {
            Ok(kind) => {
                kinds.insert(kind);
            }
            Err(error) => problems.push(format!("queue.extra_kinds: {error}")),
        }
    }
    settings.extra_kinds = kinds;
    settings.tenant_kinds = tenant_kinds(file, problems);
    settings.suspicious = match section.suspicious.as_deref() {
        None | Some("flag") => SuspicionPolicy::Flag,
        Some("refuse") => SuspicionPolicy::Refuse,
        Some(other) => {
            problems.push(format!(
                "queue.suspicious: `{other}` is neither `flag` nor `refuse`"
            ));
            SuspicionPolicy::Flag
        }
    };
    settings
}

fn tenant_kinds(file: &FileConfig, problems: &mut Vec<String>) -> BTreeMap<TenantId, BTreeSet<TaskKind>> {
    let mut all = BTreeMap::new();
    for (tenant, words) in &file.queue.tenant_kinds {
        let kinds: Result<BTreeSet<_>, _> = words.iter().map(|word| TaskKind::new(word)).collect();
        match (tenant.parse::<TenantId>(), kinds) {
            (Ok(tenant), Ok(kinds)) => {
                all.insert(tenant, kinds);
            }
            (Err(error), _) => problems.push(format!("queue.tenant_kinds: {error}")),
            (_, Err(error)) => problems.push(format!("queue.tenant_kinds: {error}")),
        }
    }
    all
}

fn rules(file: &FileConfig, problems: &mut Vec<String>) -> Rules {
    let mut rules = Rules::default();
    let mut seconds = |name: &str, given: Option<u32>, range: RangeInclusive<u32>, into: &mut Duration| {
        let Some(value) = given else { return };
        if range.contains(&value) {
            *into = Duration::from_secs(value.into());
        } else {
            let (least, most) = range.into_inner();
            problems.push(format!("queue.{name}: must lie in {least}..={most}, not {value}"));
        }
    };
    let section = &file.queue;
    // Three heartbeats fit into a lease; shorter ones would be lost to a slow disk.
    seconds(
        "lease_seconds",
        section.lease_seconds,
        3..=3_600,
        &mut rules.lease,
    );
    seconds(
        "acknowledge_seconds",
        section.acknowledge_seconds,
        1..=3_600,
        &mut rules.acknowledge_within,
    );
    rules
}

fn log(
    global: &Global,
    environment: &dyn Environment,
    file: &FileConfig,
    problems: &mut Vec<String>,
) -> LogConfig {
    let word = environment
        .get("ARBITER_LOG_FORMAT")
        .or_else(|| file.log.format.clone());
    let format = match (global.log_format, word.as_deref()) {
        (Some(format), _) => format,
        (None, None | Some("text")) => LogFormat::Text,
        (None, Some("json")) => LogFormat::Json,
        (None, Some(other)) => {
            problems.push(format!("log.format: `{other}` is neither `text` nor `json`"));
            LogFormat::Text
        }
    };
    let word = environment.get("ARBITER_LOG").or_else(|| file.log.level.clone());
    let configured = match word.as_deref().map(str::parse) {
        None => tracing::Level::WARN,
        Some(Ok(level)) => level,
        Some(Err(_)) => {
            problems.push(format!(
                "log.level: `{}` is none of error, warn, info, debug, trace",
                word.as_deref().unwrap_or_default()
            ));
            tracing::Level::WARN
        }
    };
    let level = match global.verbose {
        0 => configured,
        1 => configured.max(tracing::Level::INFO),
        2 => configured.max(tracing::Level::DEBUG),
        _ => tracing::Level::TRACE,
    };
    LogConfig { format, level }
}

fn exec(file: &FileConfig, problems: &mut Vec<String>) -> ExecConfig {
    let default = ExecConfig {
        uid: 65_534,
        memory_bytes: 1 << 30,
        output_bytes: 1 << 20,
        processes: 64,
        threads: 1_024,
        cgroup: Cgroup::Auto,
    };
    let section = &file.exec;
    if section.uid == Some(0) {
        problems
            .push("exec.uid: commands of agents never run as root; name an unprivileged user's id".into());
    }
    for (name, value) in [
        ("memory_bytes", section.memory_bytes),
        ("output_bytes", section.output_bytes),
    ] {
        if value == Some(0) {
            problems.push(format!("exec.{name}: must be at least 1"));
        }
    }
    for (name, value) in [("processes", section.processes), ("threads", section.threads)] {
        if value == Some(0) {
            problems.push(format!("exec.{name}: must be at least 1"));
        }
    }
    let cgroup = match section.cgroup.as_deref() {
        None => default.cgroup,
        Some("auto") => Cgroup::Auto,
        Some("off") => Cgroup::Off,
        Some(other) => {
            problems.push(format!("exec.cgroup: `{other}` is neither `auto` nor `off`"));
            default.cgroup
        }
    };
    ExecConfig {
        uid: section.uid.unwrap_or(default.uid),
        memory_bytes: section.memory_bytes.unwrap_or(default.memory_bytes),
        output_bytes: section.output_bytes.unwrap_or(default.output_bytes),
        processes: section.processes.unwrap_or(default.processes),
        threads: section.threads.unwrap_or(default.threads),
        cgroup,
    }
}
