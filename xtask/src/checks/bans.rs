//! Keeps `deny.toml` and the lock file in step with our own tables.
//!
//! Wrappers in `deny.toml` must be the owners of the layer table (crates of others may be listed
//! beside them), and no direct dependency may be in the lock file twice.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::Context;
use serde::Deserialize;

use super::layers;
use crate::finding::Finding;
use crate::workspace::Workspace;

#[derive(Debug, Deserialize)]
struct DenyFile {
    bans: Bans,
}

#[derive(Debug, Deserialize)]
struct Bans {
    deny: Vec<Ban>,
    #[serde(default)]
    skip: Vec<Skip>,
}

#[derive(Debug, Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    #[serde(default)]
    wrappers: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Skip {
    #[serde(rename = "crate")]
    name: String,
    #[serde(default)]
    reason: String,
}

#[derive(Debug, Deserialize)]
struct RootManifest {
    workspace: WorkspaceTable,
}

#[derive(Debug, Deserialize)]
struct WorkspaceTable {
    dependencies: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Deserialize)]
struct LockFile {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
}

/// Checks `deny.toml` against the owners of the layer table.
pub(crate) fn check_wrappers_of(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    check_wrappers(&read(workspace, "deny.toml")?)
}

/// Checks the lock file for direct dependencies that it holds twice.
pub(crate) fn check_duplicates_of(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let [deny, manifest, lock] = ["deny.toml", "Cargo.toml", "Cargo.lock"].map(|name| read(workspace, name));
    check_duplicates(&deny?, &manifest?, &lock?)
}

fn check_wrappers(deny: &str) -> anyhow::Result<Vec<Finding>> {
    let deny: DenyFile = toml::from_str(deny).context("reading deny.toml")?;
    let mut findings = Vec::new();
    for (driver, owners) in layers::OWNERS {
        let Some(ban) = deny.bans.deny.iter().find(|ban| ban.name == *driver) else {
            let text = format!(
                "no ban with wrappers for `{driver}`, which belongs to {}",
                owners.join(", ")
            );
            findings.push(Finding::new("bans::missing", "deny.toml", text));
            continue;
        };
        let ours: BTreeSet<&str> = ban
            .wrappers
            .iter()
            .map(String::as_str)
            .filter(|name| layers::is_ours(name))
            .collect();
        if ours != owners.iter().copied().collect() {
            let text = format!(
                "the wrappers of `{driver}` are {}, its owners are {}",
                ban.wrappers.join(", "),
                owners.join(", ")
            );
            findings.push(Finding::new("bans::wrappers", "deny.toml", text));
        }
    }
    Ok(findings)
}

fn check_duplicates(deny: &str, manifest: &str, lock: &str) -> anyhow::Result<Vec<Finding>> {
    let deny: DenyFile = toml::from_str(deny).context("reading deny.toml")?;
    let manifest: RootManifest = toml::from_str(manifest).context("reading the root manifest")?;
    let lock: LockFile = toml::from_str(lock).context("reading the lock file")?;
    let mut findings = Vec::new();
    for skip in deny.bans.skip.iter().filter(|skip| skip.reason.is_empty()) {
        let text = format!("the skip of `{}` gives no reason", skip.name);
        findings.push(Finding::new("bans::skip-reason", "deny.toml", text));
    }
    for name in manifest.workspace.dependencies.keys() {
        let versions: Vec<&str> = lock
            .package
            .iter()
            .filter(|package| package.name == *name)
            .map(|package| package.version.as_str())
            .collect();
        let skipped = deny
            .bans
            .skip
            .iter()
            .any(|skip| skip.name == *name || skip.name.starts_with(&format!("{name}@")));
        if versions.len() > 1 && !skipped {
            let text = format!(
                "the direct dependency `{name}` is there as {}",
                versions.join(" and ")
            );
            findings.push(Finding::new("bans::duplicate", "Cargo.lock", text));
        }
    }
    Ok(findings)
}

fn read(workspace: &Workspace, name: &str) -> anyhow::Result<String> {
    fs::read_to_string(workspace.root.join(name)).with_context(|| format!("reading {name}"))
}

#[cfg(test)]
mod tests {
    use super::{check_duplicates, check_duplicates_of, check_wrappers, check_wrappers_of};
    use crate::checks::fixtures;
    use crate::workspace::Workspace;

    #[test]
    fn the_workspace_passes() {
        let workspace = Workspace::load().unwrap();
        assert_eq!(check_wrappers_of(&workspace).unwrap(), []);
        assert_eq!(check_duplicates_of(&workspace).unwrap(), []);
    }

    #[test]
    fn missing_and_wrong_wrappers_are_named() {
        let found = check_wrappers(&fixtures::text("bans/deny.toml")).unwrap();
        fixtures::assert_findings(&found, "bans/wrappers.expected");
    }

    #[test]
    fn a_direct_dependency_in_two_versions_is_named() {
        let [deny, manifest, lock] =
            ["bans/deny.toml", "bans/root-manifest.toml", "bans/lock.toml"].map(fixtures::text);
        let found = check_duplicates(&deny, &manifest, &lock).unwrap();
        fixtures::assert_findings(&found, "bans/duplicates.expected");
    }
}
