//! `tests/compose.yaml` starts the servers that `cargo xtask services` starts: the same version, settings and roles.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::checks::fixtures;
use crate::finding::Finding;
use crate::services;
use crate::services::postgres::{ADMIN, INITDB, OLDEST, SETTINGS, ready_arguments, role_script};
use crate::workspace::Workspace;

const FILE: &str = "tests/compose.yaml";

/// What such a file may hold here; anything else is an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Compose {
    #[serde(rename = "name")]
    _name: String,
    services: BTreeMap<String, Service>,
    configs: BTreeMap<String, Config>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Service {
    image: String,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    configs: Vec<Mount>,
    ports: Vec<String>,
    #[serde(rename = "tmpfs")]
    _tmpfs: Vec<String>,
    healthcheck: Health,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mount {
    source: String,
    target: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Health {
    test: Vec<String>,
    #[serde(rename = "interval")]
    _interval: String,
    #[serde(rename = "timeout")]
    _timeout: String,
    #[serde(rename = "retries")]
    _retries: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    content: String,
}

fn check(text: &str, needed: &[String]) -> Vec<Finding> {
    let compose: Compose = match serde_saphyr::from_str(text) {
        Ok(compose) => compose,
        Err(error) => {
            let first = error.to_string();
            let first = first.lines().next().unwrap_or_default();
            return vec![Finding::new("compose::form", FILE, first)];
        }
    };
    let mut found = Vec::new();
    let mut same = |rule: &str, what: &str, here: &dyn std::fmt::Debug, ours: &dyn std::fmt::Debug| {
        let (here, ours) = (format!("{here:?}"), format!("{ours:?}"));
        if here != ours {
            let text = format!("{what} is {here}, of `cargo xtask services` {ours}");
            found.push(Finding::new(rule, FILE, text));
        }
    };
    let names: Vec<&String> = compose.services.keys().collect();
    same("compose::services", "the list of servers", &names, &needed);
    let Some(postgres) = compose.services.get("postgres") else {
        return found;
    };
    let image = format!("docker.io/library/postgres:{OLDEST}");
    same("compose::version", "the image", &postgres.image, &image);
    let settings = SETTINGS.iter().flat_map(|setting| ["-c", setting]);
    let command: Vec<&str> = ["postgres"].into_iter().chain(settings).collect();
    same("compose::settings", "the command", &postgres.command, &command);
    let variable = |name: &str| postgres.environment.get(name).map_or("", String::as_str);
    same(
        "compose::initdb",
        "POSTGRES_INITDB_ARGS",
        &variable("POSTGRES_INITDB_ARGS"),
        &INITDB.join(" "),
    );
    same("compose::owner", "the owner", &variable("POSTGRES_USER"), &ADMIN);
    let ready: Vec<&str> = ["CMD", "pg_isready"]
        .into_iter()
        .chain(ready_arguments("5432"))
        .collect();
    same(
        "compose::ready",
        "the check of health",
        &postgres.healthcheck.test,
        &ready,
    );
    let password = variable("POSTGRES_PASSWORD");
    let scripts = (postgres.configs.iter())
        .filter(|mount| mount.target.starts_with("/docker-entrypoint-initdb.d/"))
        .map(|mount| (compose.configs.get(&mount.source)).map_or("", |config| &config.content));
    same(
        "compose::roles",
        "the list of scripts",
        &scripts.collect::<Vec<_>>(),
        &[role_script(password)],
    );
    if !(password.starts_with("${") && password.contains(":?")) {
        let text = "the password must come from outside, and be missed when it is not given";
        found.push(Finding::new("compose::password", FILE, text));
    }
    for port in (postgres.ports.iter()).filter(|port| !port.starts_with("127.0.0.1:")) {
        let text = format!("`{port}` is open to other machines");
        found.push(Finding::new("compose::port", FILE, text));
    }
    found
}

fn needed() -> Vec<String> {
    let needed = services::needed(&Workspace::load().unwrap());
    needed.iter().map(ToString::to_string).collect()
}

#[test]
fn compose_starts_what_services_starts() {
    assert_eq!(check(&super::read(FILE), &needed()), []);
}

#[test]
fn the_guide_makes_the_same_roles() {
    for guide in ["docs/deployment.md", "crates/adapters/postgres/README.md"] {
        let text = super::read(guide);
        let block = format!("```sql\n{}```\n", role_script("…"));
        assert!(text.contains(&block), "{guide} has not\n{block}");
        assert!(text.contains(&format!("PostgreSQL {OLDEST} or later")), "{guide}");
    }
}

#[test]
fn each_difference_from_services_is_named() {
    let found = check(
        &fixtures::text("deployment/compose.yaml"),
        &["postgres".to_owned()],
    );
    fixtures::assert_findings(&found, "deployment/compose.expected");
}

#[test]
fn a_field_that_is_not_known_is_refused() {
    let text = super::read(FILE).replace("    command:", "    comand:");
    let found = check(&text, &needed());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].check, "compose::form");
    assert!(found[0].text.contains("comand"), "{found:?}");
}
