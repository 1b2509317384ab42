//! The configuration file: TOML, unknown keys are errors.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Environment, paths};
use crate::cli::Global;
use crate::exit::Failure;

/// The file's content.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FileConfig {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) store: StoreSection,
    pub(crate) log: LogSection,
    pub(crate) queue: QueueSection,
    pub(crate) redaction: RedactionSection,
    pub(crate) policies: PolicySection,
    pub(crate) exec: ExecSection,
    pub(crate) server: ServerSection,
    pub(crate) oidc: OidcSection,
    pub(crate) identity: IdentitySection,
    pub(crate) hooks: HooksSection,
    pub(crate) allocation: AllocationSection,
    pub(crate) agents: AgentsSection,
    pub(crate) registry: RegistrySection,
    pub(crate) backup: BackupSection,
    pub(crate) retention: RetentionSection,
    pub(crate) telemetry: TelemetrySection,
}

/// Its URLs carry passwords, so it shows nothing of itself.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StoreSection {
    pub(crate) url: Option<String>,
    pub(crate) reader_url: Option<String>,
    pub(crate) reader_role: Option<String>,
    pub(crate) schema: Option<String>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) connections: Option<usize>,
    pub(crate) reader_connections: Option<usize>,
}

impl StoreSection {
    /// Whether anything is set in it.
    pub(super) fn is_set(&self) -> bool {
        *self != Self::default()
    }
}

impl std::fmt::Debug for StoreSection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreSection").finish_non_exhaustive()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AllocationSection {
    pub(crate) strategy: Option<String>,
    pub(crate) by_kind: BTreeMap<String, String>,
    pub(crate) heartbeat_seconds: Option<u32>,
    pub(crate) stale_seconds: Option<u32>,
    pub(crate) running: Vec<RunningLimit>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunningLimit {
    pub(crate) tenant: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) most: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AgentsSection {
    pub(crate) remove_after_hours: Option<u32>,
    pub(crate) most: Option<usize>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RegistrySection {
    pub(crate) url: Option<String>,
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) timeout_seconds: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct BackupSection {
    pub(crate) folder: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RetentionSection {
    pub(crate) tasks_days: Option<u32>,
    pub(crate) audit_details_days: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TelemetrySection {
    pub(crate) sample_seconds: Option<u32>,
    pub(crate) whole_hours: Option<u32>,
    pub(crate) keep_days: Option<u32>,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct OidcSection {
    pub(crate) issuer: Option<String>,
    pub(crate) audience: Vec<String>,
    pub(crate) jwks_url: Option<String>,
    pub(crate) algorithms: Option<Vec<String>>,
    pub(crate) leeway_seconds: Option<u32>,
    pub(crate) max_age_seconds: Option<u32>,
    pub(crate) max_stale_seconds: Option<u32>,
    pub(crate) refetch_seconds: Option<u32>,
    pub(crate) single_use: bool,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) hosts: Vec<String>,
    pub(crate) networks: Vec<String>,
    pub(crate) loopback_http: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct IdentitySection {
    pub(crate) rules: Vec<IdentityRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdentityRule {
    pub(crate) claim: Option<String>,
    pub(crate) certificate: Option<String>,
    pub(crate) value: String,
    pub(crate) roles: Vec<String>,
    pub(crate) tenant: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) kinds: Option<Vec<String>>,
    pub(crate) highest_band: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HooksSection {
    pub(crate) loopback_http: bool,
    pub(crate) hosts: Vec<String>,
    pub(crate) networks: Vec<String>,
    pub(crate) per_tenant: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerSection {
    pub(crate) listen: Option<String>,
    pub(crate) tls_certificate: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) tls_client_ca: Option<PathBuf>,
    pub(crate) agents: Option<PathBuf>,
    pub(crate) body_bytes: Option<usize>,
    pub(crate) artifact_bytes: Option<u64>,
    pub(crate) connections: Option<usize>,
    pub(crate) calls: Option<usize>,
    pub(crate) waiting: Option<usize>,
    pub(crate) call_seconds: Option<u32>,
    pub(crate) head_seconds: Option<u32>,
    pub(crate) body_seconds: Option<u32>,
    pub(crate) write_seconds: Option<u32>,
    pub(crate) drain_seconds: Option<u32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct LogSection {
    pub(crate) level: Option<String>,
    pub(crate) format: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QueueSection {
    pub(crate) lease_seconds: Option<u32>,
    pub(crate) acknowledge_seconds: Option<u32>,
    pub(crate) open_tasks_per_tenant: Option<u64>,
    pub(crate) extra_kinds: Vec<String>,
    pub(crate) tenant_kinds: BTreeMap<String, Vec<String>>,
    pub(crate) suspicious: Option<String>,
    pub(crate) submit_per_principal: Option<Rate>,
    pub(crate) submit_per_tenant: Option<Rate>,
    pub(crate) calls_per_principal: Option<Rate>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RedactionSection {
    pub(crate) emails: bool,
    pub(crate) keys: Vec<String>,
    pub(crate) patterns: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PolicySection {
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ExecSection {
    pub(crate) uid: Option<u32>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) output_bytes: Option<u64>,
    pub(crate) processes: Option<u32>,
    pub(crate) threads: Option<u32>,
    pub(crate) cgroup: Option<String>,
}

/// Reads the file that is in force; none is fine unless one was named.
pub(super) fn read(
    global: &Global,
    environment: &dyn Environment,
) -> Result<(Option<PathBuf>, FileConfig), Failure> {
    let Some((path, named)) = paths::config_file(global, environment) else {
        return Ok((None, FileConfig::default()));
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {
            return Ok((None, FileConfig::default()));
        }
        Err(error) => {
            let message = format!(
                "the configuration file `{}` cannot be read: {error}",
                path.display()
            );
            return Err(Failure::configuration(message));
        }
    };
    match toml::from_str(&text) {
        Ok(config) => Ok((Some(path), config)),
        Err(error) => {
            let place = error.span().map_or_else(String::new, |span| {
                let line = text
                    .get(..span.start)
                    .map_or(1, |before| before.matches('\n').count() + 1);
                format!(" line {line}:")
            });
            let message = format!(
                "the configuration file `{}`:{place} {}",
                path.display(),
                error.message()
            );
            Err(Failure::configuration(message))
        }
    }
}
