//! The reference of all settings, from which `docs/configuration.md` is generated.

/// A setting.
struct Setting {
    key: &'static str,
    default: &'static str,
    meaning: &'static str,
}

const SETTINGS: &[Setting] = &[
    Setting {
        key: "data_dir",
        default: "`$XDG_DATA_HOME/arbiter`",
        meaning: "Folder of the store, the artifacts and the keys.",
    },
    Setting {
        key: "store.url",
        default: "none",
        meaning: "PostgreSQL database that many nodes share, `postgres://user:password@host:port/database`; without it the store is in the data folder. Better in `ARBITER_STORE_URL`, for it carries a password.",
    },
    Setting {
        key: "store.reader_url",
        default: "`store.url`",
        meaning: "Login of readers, if it is another one; also `ARBITER_STORE_READER_URL`.",
    },
    Setting {
        key: "store.reader_role",
        default: "`arbiter_reader`",
        meaning: "Role under which what one tenant may see is read; it is held back by row-level security.",
    },
    Setting {
        key: "store.schema",
        default: "`arbiter`",
        meaning: "Schema of the database that holds the tables.",
    },
    Setting {
        key: "store.ca_file",
        default: "the system's",
        meaning: "PEM file of the authorities that vouch for the database's server, relative to the configuration file; with `sslmode=require` in the URL nothing is sent without TLS.",
    },
    Setting {
        key: "store.connections",
        default: "8",
        meaning: "Connections of this node that write, and read for all tenants.",
    },
    Setting {
        key: "store.reader_connections",
        default: "4",
        meaning: "Connections of this node that read for one tenant.",
    },
    Setting {
        key: "log.level",
        default: "`warn`",
        meaning: "`error`, `warn`, `info`, `debug` or `trace`.",
    },
    Setting {
        key: "log.format",
        default: "`text`",
        meaning: "`text` for people, `json` for machines: one object a line, on standard error.",
    },
    Setting {
        key: "queue.lease_seconds",
        default: "45",
        meaning: "How long an agent keeps a task without a heartbeat, 3–3600; this node sends three while a lease lasts.",
    },
    Setting {
        key: "queue.acknowledge_seconds",
        default: "10",
        meaning: "How long an agent has to acknowledge an assignment, 1–3600.",
    },
    Setting {
        key: "queue.open_tasks_per_tenant",
        default: "10000",
        meaning: "How many tasks of a tenant may be open.",
    },
    Setting {
        key: "queue.extra_kinds",
        default: "`[]`",
        meaning: "Kinds of tasks that may be submitted beside the built-in ones.",
    },
    Setting {
        key: "queue.tenant_kinds",
        default: "`{}`",
        meaning: "Kinds of tasks that a tenant may submit, by its id, instead of the built-in and extra ones.",
    },
    Setting {
        key: "queue.suspicious",
        default: "`flag`",
        meaning: "What happens to suspicious text: `flag` stores and audits it, `refuse` refuses it.",
    },
    Setting {
        key: "queue.submit_per_principal",
        default: "`{ per_second = 10, burst = 100 }`",
        meaning: "Submit calls of one principal. A call carries up to 1000 tasks.",
    },
    Setting {
        key: "queue.submit_per_tenant",
        default: "`{ per_second = 10, burst = 100 }`",
        meaning: "Submit calls of one tenant.",
    },
    Setting {
        key: "queue.calls_per_principal",
        default: "`{ per_second = 1000, burst = 2000 }`",
        meaning: "All other calls of one principal.",
    },
    Setting {
        key: "redaction.emails",
        default: "`false`",
        meaning: "Whether e-mail addresses are replaced like secrets.",
    },
    Setting {
        key: "redaction.keys",
        default: "`[]`",
        meaning: "Names of keys whose values are replaced, beside the built-in ones.",
    },
    Setting {
        key: "redaction.patterns",
        default: "`[]`",
        meaning: "Regular expressions whose matches are replaced, beside the built-in ones.",
    },
    Setting {
        key: "policies.files",
        default: "`[]`",
        meaning: "Cedar policy files, relative to the configuration file, added to the default policies.",
    },
    Setting {
        key: "exec.uid",
        default: "65534",
        meaning: "User id under which commands of agents run when arbiter runs as root.",
    },
    Setting {
        key: "exec.memory_bytes",
        default: "1073741824",
        meaning: "Memory of a command and its children, unless its agent says otherwise.",
    },
    Setting {
        key: "exec.output_bytes",
        default: "1048576",
        meaning: "Standard output of a command, unless its agent says otherwise.",
    },
    Setting {
        key: "exec.processes",
        default: "64",
        meaning: "Processes of a command and its children.",
    },
    Setting {
        key: "exec.threads",
        default: "1024",
        meaning: "Threads of a command and its children, one for each process at least; never fewer than `exec.processes`.",
    },
    Setting {
        key: "exec.cgroup",
        default: "`auto`",
        meaning: "`auto` holds memory, processes and threads by control groups where they work, `off` only measures them.",
    },
    Setting {
        key: "server.listen",
        default: "`127.0.0.1:7700`",
        meaning: "Address and port of the server. Another address than this machine's own needs TLS.",
    },
    Setting {
        key: "server.tls_certificate",
        default: "none",
        meaning: "PEM file of the certificate chain, relative to the configuration file.",
    },
    Setting {
        key: "server.tls_key",
        default: "none",
        meaning: "PEM file of its private key.",
    },
    Setting {
        key: "server.tls_client_ca",
        default: "none",
        meaning: "PEM file of the authorities whose certificates clients may show instead of a key; see `docs/identity.md`.",
    },
    Setting {
        key: "server.agents",
        default: "none",
        meaning: "File of agents that the server runs itself, in the form of `arbiter run --agents`.",
    },
    Setting {
        key: "server.body_bytes",
        default: "4194304",
        meaning: "Bytes of a request's body; a submit of many tasks may have 33554432.",
    },
    Setting {
        key: "server.artifact_bytes",
        default: "268435456",
        meaning: "Bytes of an artifact.",
    },
    Setting {
        key: "server.connections",
        default: "10000",
        meaning: "Open connections.",
    },
    Setting {
        key: "server.calls",
        default: "1024",
        meaning: "Calls under way; more are refused with `unavailable`.",
    },
    Setting {
        key: "server.waiting",
        default: "8192",
        meaning: "Long polls and streams under way.",
    },
    Setting {
        key: "server.call_seconds",
        default: "30",
        meaning: "How long a call may take, long polls and streams aside.",
    },
    Setting {
        key: "server.head_seconds",
        default: "30",
        meaning: "How long the head of a request may take, an idle connection's included.",
    },
    Setting {
        key: "server.body_seconds",
        default: "30",
        meaning: "How long a body may take to arrive.",
    },
    Setting {
        key: "server.write_seconds",
        default: "30",
        meaning: "How long an answer may wait for its reader to take more of it.",
    },
    Setting {
        key: "server.drain_seconds",
        default: "20",
        meaning: "How long open calls may take to end at shutdown.",
    },
    Setting {
        key: "oidc.issuer",
        default: "none",
        meaning: "Address of the OpenID Connect provider whose tokens are accepted, exactly as its tokens name it; see `docs/identity.md`.",
    },
    Setting {
        key: "oidc.audience",
        default: "`[]`",
        meaning: "A token must be meant for one of these; at least one with `oidc.issuer`.",
    },
    Setting {
        key: "oidc.jwks_url",
        default: "none",
        meaning: "Address of the provider's keys; where its discovery document says, when it is absent.",
    },
    Setting {
        key: "oidc.algorithms",
        default: "`[\"RS256\", \"ES256\", \"EdDSA\"]`",
        meaning: "Signature algorithms that are accepted: `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`, `EdDSA`.",
    },
    Setting {
        key: "oidc.leeway_seconds",
        default: "30",
        meaning: "How far the provider's clock may differ from this machine's, 0–300.",
    },
    Setting {
        key: "oidc.max_age_seconds",
        default: "300",
        meaning: "When the provider's keys are fetched anew, 10–86400; a key that it withdrew is refused from then on.",
    },
    Setting {
        key: "oidc.max_stale_seconds",
        default: "3600",
        meaning: "How long keys serve while the provider cannot be reached, at least `oidc.max_age_seconds` and at most 604800; then no token is accepted.",
    },
    Setting {
        key: "oidc.refetch_seconds",
        default: "10",
        meaning: "How long it is at least from one fetch to the next when tokens name keys that are not known, 1–3600.",
    },
    Setting {
        key: "oidc.single_use",
        default: "`false`",
        meaning: "Whether each token is accepted once, by this process; it needs a `jti` then, and a stream ends at once.",
    },
    Setting {
        key: "oidc.ca_file",
        default: "none",
        meaning: "PEM file of further authorities for the provider's own certificate, relative to the configuration file.",
    },
    Setting {
        key: "oidc.hosts",
        default: "`[]`",
        meaning: "Hosts in private networks that the provider may have.",
    },
    Setting {
        key: "oidc.networks",
        default: "`[]`",
        meaning: "Private networks that the provider may be in, such as `10.1.0.0/16`.",
    },
    Setting {
        key: "oidc.loopback_http",
        default: "`false`",
        meaning: "Whether the provider may be on this machine, without TLS.",
    },
    Setting {
        key: "identity.rules",
        default: "`[]`",
        meaning: "Who gets which rights by a token or a certificate: `{ claim = \"groups\", value = \"staff\", roles = [\"submitter\"] }`, or `certificate = \"uri\"`, `\"dns\"` or `\"email\"` instead of `claim`; with `tenant`, `kind`, `kinds` and `highest_band` where they differ. The first one that fits counts.",
    },
    Setting {
        key: "hooks.per_tenant",
        default: "100",
        meaning: "Webhooks that a tenant may have, 1–1000.",
    },
    Setting {
        key: "hooks.hosts",
        default: "`[]`",
        meaning: "Hosts in private networks that receivers of webhooks may have.",
    },
    Setting {
        key: "hooks.networks",
        default: "`[]`",
        meaning: "Private networks that receivers of webhooks may be in, such as `10.1.0.0/16`.",
    },
    Setting {
        key: "hooks.loopback_http",
        default: "`false`",
        meaning: "Whether receivers may be on this machine, without TLS.",
    },
    Setting {
        key: "allocation.strategy",
        default: "`match_score`",
        meaning: "How one of the able agents is chosen: `round_robin`, `least_loaded`, `weighted`, `priority`, `random` or `match_score`.",
    },
    Setting {
        key: "allocation.by_kind",
        default: "`{}`",
        meaning: "Strategies by kind of task, such as `{ analysis = \"least_loaded\" }`.",
    },
    Setting {
        key: "allocation.heartbeat_seconds",
        default: "15",
        meaning: "How often an agent should be heard of; silent for three it is degraded, for ten offline.",
    },
    Setting {
        key: "allocation.stale_seconds",
        default: "300",
        meaning: "When the registry has not answered for so long, nobody is chosen any more; profiles that were read before then may be. It is read every 5 s, so more than that, at most 86400, and not less than `allocation.heartbeat_seconds`.",
    },
    Setting {
        key: "allocation.running",
        default: "`[]`",
        meaning: "How many tasks may run at once: `{ most = 8 }` of the tenant `default`, `{ tenant = \"id\", most = 8 }` of another, with `kind` of one kind.",
    },
    Setting {
        key: "agents.remove_after_hours",
        default: "168",
        meaning: "How long an agent may be silent before the server removes it and its record, 2–8760.",
    },
    Setting {
        key: "agents.most",
        default: "10000",
        meaning: "How many agents the registry takes, 1–1000000; one more is refused with `registry_full`.",
    },
    Setting {
        key: "registry.url",
        default: "none",
        meaning: "Address of another arbiter that is the registry of agents, such as `https://registry.example`; without it agents are in the store. See `docs/agent-registry.md`.",
    },
    Setting {
        key: "registry.key_file",
        default: "none",
        meaning: "File of the key that the registry knows this arbiter by, mode 0600, relative to the configuration file; needed with `registry.url`.",
    },
    Setting {
        key: "registry.ca_file",
        default: "none",
        meaning: "PEM file of further authorities for the registry's certificate, relative to the configuration file.",
    },
    Setting {
        key: "registry.timeout_seconds",
        default: "5",
        meaning: "How long one attempt of a call of the registry may take, 1–60.",
    },
    Setting {
        key: "backup.folder",
        default: "none",
        meaning: "Folder in which a running server writes backups; without it, `system.backup` is disabled.",
    },
    Setting {
        key: "retention.tasks_days",
        default: "none",
        meaning: "How long closed tasks are kept, dead letters among them, with their inputs, attempts and outputs, 1–36500 days; for good, when it is absent.",
    },
    Setting {
        key: "retention.audit_details_days",
        default: "none",
        meaning: "How long the details of audit entries are kept, 1–36500 days; for good, when it is absent. The entries themselves are kept for good, and every proof stays valid.",
    },
    Setting {
        key: "telemetry.sample_seconds",
        default: "15",
        meaning: "How often a server adds what it measures to the history, 1–3600; 0 adds nothing.",
    },
    Setting {
        key: "telemetry.whole_hours",
        default: "24",
        meaning: "How long every sample of the history is kept, 1–8760 hours, no longer than `telemetry.keep_days`; older ones are summed up by five minutes.",
    },
    Setting {
        key: "telemetry.keep_days",
        default: "15",
        meaning: "How long the history of measurements is kept, 1–3650 days.",
    },
];

const HEAD: &str = "\
# Configuration

<!-- Generated by `cargo xtask gen` from the settings themselves; do not edit. -->

Each value is taken from the first of these that gives it: a flag, an environment variable, the configuration file, the
default. Unknown keys are errors; `arbiter config check` prints every problem at once, `arbiter config show` what is in
force.

The configuration file is the one that `--config` names, else `ARBITER_CONFIG`, else
`$XDG_CONFIG_HOME/arbiter/config.toml` (or `$HOME/.config/arbiter/config.toml`). The working directory is never searched.

The data folder is the one that `--data-dir` names, else `ARBITER_DATA_DIR`, else `data_dir` of the file, else
`$XDG_DATA_HOME/arbiter`, else `$HOME/.local/share/arbiter`.

| variable | same as |
| --- | --- |
| `ARBITER_CONFIG` | `--config` |
| `ARBITER_DATA_DIR` | `--data-dir` |
| `ARBITER_LOG` | `log.level` |
| `ARBITER_LOG_FORMAT` | `log.format`, `--log-format` |
| `NO_COLOR` | no colours, whatever its value |

| setting | default | meaning |
| --- | --- | --- |
";

const TAIL: &str = "
## Example

```toml
data_dir = \"/var/lib/arbiter\"

[log]
level = \"info\"
format = \"json\"

[queue]
extra_kinds = [\"acme/label-images\"]
submit_per_principal = { per_second = 50, burst = 200 }

[allocation]
by_kind = { analysis = \"least_loaded\" }
running = [{ most = 8 }, { kind = \"analysis\", most = 2 }]

[redaction]
emails = true

[policies]
files = [\"policies/extra.cedar\"]
```
";

/// The reference as Markdown.
pub(crate) fn reference() -> String {
    let rows: Vec<String> = SETTINGS
        .iter()
        .map(|setting| {
            format!(
                "| `{}` | {} | {} |\n",
                setting.key, setting.default, setting.meaning
            )
        })
        .collect();
    let rows = rows.concat();
    format!("{HEAD}{rows}{TAIL}")
}

#[cfg(test)]
mod tests {
    use super::super::FileConfig;
    use super::*;

    #[test]
    fn the_example_is_valid_and_every_setting_is_known_to_the_file() {
        let example = TAIL
            .split("```toml\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .expect("example");
        toml::from_str::<FileConfig>(example).expect("valid example");
        for setting in SETTINGS {
            // No setting is a fraction: it is refused for its type, an unknown key for its name.
            let (table, key) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
            let text = if table.is_empty() {
                format!("{key} = 1.5")
            } else {
                format!("[{table}]\n{key} = 1.5")
            };
            let error = toml::from_str::<FileConfig>(&text).expect_err(setting.key);
            assert!(
                !error.message().contains("unknown field"),
                "{}: {}",
                setting.key,
                error.message()
            );
        }
    }
}
