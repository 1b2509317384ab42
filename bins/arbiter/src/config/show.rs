//! Showing the configuration in force. It holds no secrets, and values that name any are redacted all the same.

use arbiter_adapter_oidc::{Rule, When};
use serde_json::{Map, Value, json};

use super::{Config, StoreConfig};
use crate::cli::LogFormat;

/// The configuration in force as one JSON value.
pub(crate) fn show(config: &Config) -> Value {
    let rate =
        |limit: arbiter_queue::RateLimit| json!({"per_second": limit.per_second, "burst": limit.burst});
    json!({
        "file": config.file,
        "data_dir": config.data_dir,
        "data_dir_from": config.data_dir_from,
        "store": store(&config.store),
        "log": {
            "level": config.log.level.as_str().to_lowercase(),
            "format": match config.log.format { LogFormat::Text => "text", LogFormat::Json => "json" },
        },
        "queue": {
            "lease_seconds": config.rules.lease.as_secs(),
            "acknowledge_seconds": config.rules.acknowledge_within.as_secs(),
            "open_tasks_per_tenant": config.queue.open_tasks_per_tenant,
            "extra_kinds": config.queue.extra_kinds.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "tenant_kinds": config.queue.tenant_kinds.iter().map(|(tenant, kinds)| {
                (tenant.to_string(), kinds.iter().map(ToString::to_string).collect::<Vec<_>>().into())
            }).collect::<Map<_, _>>(),
            "suspicious": match config.queue.suspicious {
                arbiter_queue::SuspicionPolicy::Flag => "flag",
                arbiter_queue::SuspicionPolicy::Refuse => "refuse",
            },
            "submit_per_principal": rate(config.queue.submit_per_principal),
            "submit_per_tenant": rate(config.queue.submit_per_tenant),
            "calls_per_principal": rate(config.queue.calls_per_principal),
        },
        "redaction": {
            "emails": config.redaction.emails,
            "keys": config.redaction.extra_keys,
            "patterns": config.redaction.extra_patterns.len(),
        },
        "policies": {"files": config.policies},
        "exec": {
            "uid": config.exec.uid,
            "memory_bytes": config.exec.memory_bytes,
            "output_bytes": config.exec.output_bytes,
            "processes": config.exec.processes,
            "threads": config.exec.threads,
            "cgroup": config.exec.cgroup.word(),
        },
        "server": {
            "listen": config.server.listen.to_string(),
            "tls_certificate": config.server.tls.as_ref().map(|(certificate, _)| certificate),
            "tls_key": config.server.tls.as_ref().map(|(_, key)| key),
            "tls_client_ca": config.server.client_ca,
            "agents": config.server.agents,
            "body_bytes": config.server.api.body_bytes,
            "artifact_bytes": config.server.api.artifact_bytes,
            "connections": config.server.api.connections,
            "calls": config.server.api.calls,
            "waiting": config.server.api.waiting,
            "call_seconds": config.server.api.call_timeout.as_secs(),
            "head_seconds": config.server.api.head_timeout.as_secs(),
            "body_seconds": config.server.api.body_timeout.as_secs(),
            "write_seconds": config.server.api.write_timeout.as_secs(),
            "drain_seconds": config.server.api.drain.as_secs(),
        },
        "agents": {
            "most": config.upkeep.most_agents,
            "remove_after_hours": config.upkeep.remove_agents_after.as_secs() / 3_600,
        },
        "registry": config.registry.as_ref().map(|registry| json!({
            "url": registry.url,
            "key_file": registry.key_file,
            "ca_file": registry.ca_file,
            "timeout_seconds": registry.timeout.as_secs(),
        })),
        "backup": {"folder": config.upkeep.backups},
        "retention": {
            "tasks_days": config.upkeep.keep_tasks.map(days),
            "audit_details_days": config.upkeep.keep_details.map(days),
        },
        "telemetry": {
            "sample_seconds": config.telemetry.sample_every.map_or(0, |every| every.as_secs()),
            "whole_hours": config.telemetry.whole.as_secs() / 3_600,
            "keep_days": days(config.telemetry.kept),
        },
        "oidc": config.identity.oidc.as_ref().map(|oidc| json!({
            "issuer": oidc.issuer,
            "audience": oidc.audience,
            "jwks_url": oidc.jwks_url,
            "algorithms": oidc.algorithms.iter().map(|algorithm| algorithm.word()).collect::<Vec<_>>(),
            "leeway_seconds": oidc.leeway.as_secs(),
            "max_age_seconds": oidc.max_age.as_secs(),
            "max_stale_seconds": oidc.max_stale.as_secs(),
            "refetch_seconds": oidc.refetch_after.as_secs(),
            "single_use": oidc.single_use,
            "ca_file": config.identity.ca_file,
            "hosts": config.identity.hosts,
            "networks": config.identity.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "loopback_http": oidc.loopback_http,
        })),
        "identity": {"rules": config.identity.rules.iter().map(rule).collect::<Vec<_>>()},
        "hooks": {
            "per_tenant": config.hooks.settings.per_tenant,
            "hosts": config.hooks.hosts,
            "networks": config.hooks.networks.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "loopback_http": config.hooks.settings.loopback_http,
        },
        "allocation": allocation(&config.allocation),
    })
}

fn store(config: &StoreConfig) -> Value {
    match config {
        StoreConfig::Embedded => json!({"kind": "embedded"}),
        StoreConfig::Shared(shared) => json!({
            "kind": "shared",
            "address": shared.address(),
            "reader_role": shared.reader_role,
            "schema": shared.schema,
            "ca_file": shared.ca_file,
            "connections": shared.connections,
            "reader_connections": shared.reader_connections,
        }),
    }
}

fn rule(rule: &Rule) -> Value {
    let mut shown = json!({
        "roles": rule.grant.roles.iter().map(|role| role.word()).collect::<Vec<_>>(),
        "tenant": rule.grant.tenant.to_string(),
        "kind": rule.grant.kind.word(),
        "kinds": rule.grant.kinds.as_ref().map(|kinds| kinds.iter().map(ToString::to_string).collect::<Vec<_>>()),
        "highest_band": rule.grant.highest_band.get(),
    });
    match &rule.when {
        When::Claim { name, value } => (shown["claim"], shown["value"]) = (json!(name), json!(value)),
        When::Certificate { sort, value } => {
            (shown["certificate"], shown["value"]) = (json!(sort.word()), json!(value));
        }
    }
    shown
}

fn allocation(settings: &arbiter_allocation::Settings) -> Value {
    let by_kind = settings.by_kind.iter();
    let by_kind: Map<String, Value> = by_kind
        .map(|(kind, strategy)| (kind.to_string(), strategy.word().into()))
        .collect();
    let tenants = settings.running_per_tenant.iter();
    let tenants = tenants.map(|(tenant, most)| json!({"tenant": tenant.to_string(), "most": most}));
    let kinds = settings.running_per_kind.iter().map(|((tenant, kind), most)| {
        json!({"tenant": tenant.to_string(), "kind": kind.to_string(), "most": most})
    });
    json!({
        "strategy": settings.strategy.word(),
        "by_kind": by_kind,
        "heartbeat_seconds": settings.heartbeat.as_secs(),
        "stale_seconds": settings.stale_after.as_secs(),
        "running": tenants.chain(kinds).collect::<Vec<_>>(),
    })
}

/// A time in whole days.
const fn days(time: std::time::Duration) -> u64 {
    time.as_secs() / 86_400
}
