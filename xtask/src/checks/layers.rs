//! Compares the dependencies of each crate with the layer table.
//!
//! Normal and build dependencies must be edges of the table. Development dependencies may add the
//! test kit and the adapters that tests embed, unless those lead back to the crate itself, which
//! would give its unit tests two copies of its types.

mod table;

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::DependencyKind;
use serde::Deserialize;

use crate::finding::Finding;
use crate::workspace::Workspace;

pub(crate) use table::{OWNERS, domain_crates, is_ours};

/// A crate of the workspace with what its manifest declares.
#[derive(Debug, Deserialize)]
pub(crate) struct Member {
    /// The package name.
    pub(crate) name: String,
    /// The folder of its manifest, relative to the root.
    pub(crate) folder: String,
    /// Its dependencies of all kinds.
    #[serde(default)]
    pub(crate) dependencies: Vec<Dependency>,
}

/// One declared dependency.
#[derive(Debug, Deserialize)]
pub(crate) struct Dependency {
    /// The package depended on.
    pub(crate) name: String,
    /// What needs it.
    #[serde(default)]
    pub(crate) kind: DependencyKind,
    /// The features that the manifests switch on.
    #[serde(default)]
    pub(crate) features: Vec<String>,
}

/// Checks the manifests of the workspace, and that `deny.toml` names the same owners.
pub(crate) fn check_workspace(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let members: Vec<Member> = workspace
        .members
        .iter()
        .map(|package| Member {
            name: package.name.to_string(),
            folder: workspace.folder(package).display().to_string(),
            dependencies: package
                .dependencies
                .iter()
                .map(|dependency| Dependency {
                    name: dependency.name.clone(),
                    kind: dependency.kind,
                    features: dependency.features.clone(),
                })
                .collect(),
        })
        .collect();
    let mut findings = check(&members);
    findings.extend(super::bans::check_wrappers_of(workspace)?);
    Ok(findings)
}

/// Checks members against the table.
pub(crate) fn check(members: &[Member]) -> Vec<Finding> {
    let reach = Reach::new(members);
    let mut findings = Vec::new();
    for member in members {
        let Some(row) = table::row(&member.name) else {
            findings.push(Finding::new(
                "layers::unknown-crate",
                &member.name,
                "is not in the layer table; add its row with the edges that it may have",
            ));
            continue;
        };
        if member.folder != row.folder {
            let text = format!(
                "lies in `{}`, its name belongs to `{}`",
                member.folder, row.folder
            );
            findings.push(Finding::new("layers::folder", &member.name, text));
        }
        for dependency in &member.dependencies {
            findings.extend(check_dependency(&row, member, dependency, &reach));
        }
    }
    findings
}

fn check_dependency(
    row: &table::Row,
    member: &Member,
    dependency: &Dependency,
    reach: &Reach,
) -> Option<Finding> {
    let edge = format!("{} -> {}", member.name, dependency.name);
    let development = dependency.kind == DependencyKind::Development;
    if table::is_ours(&dependency.name) {
        if row.edges.allow(&dependency.name) {
            return None;
        }
        if !development {
            return Some(Finding::new("layers::edge", edge, row.rule));
        }
        if !table::DEVELOPMENT.contains(&dependency.name.as_str()) {
            let text = format!(
                "a development dependency may add only {}",
                table::DEVELOPMENT.join(", ")
            );
            return Some(Finding::new("layers::development-edge", edge, text));
        }
        if reach.leads(&dependency.name, &member.name) {
            let text = "leads back to the crate, whose unit tests would see two copies of its types";
            return Some(Finding::new("layers::development-cycle", edge, text));
        }
        return None;
    }
    if let Some((driver, owners)) = OWNERS.iter().find(|(driver, _)| *driver == dependency.name)
        && !owners.contains(&member.name.as_str())
    {
        let text = format!("`{driver}` belongs to {} only", owners.join(", "));
        return Some(Finding::new("layers::owner", edge, text));
    }
    if development {
        return None;
    }
    check_purity(row, edge, dependency)
}

fn check_purity(row: &table::Row, edge: String, dependency: &Dependency) -> Option<Finding> {
    if row.purity == table::Purity::Any {
        return None;
    }
    if dependency.name == "tokio" && row.purity == table::Purity::TokioSync {
        let extra: Vec<&str> = dependency
            .features
            .iter()
            .map(String::as_str)
            .filter(|feature| *feature != "sync")
            .collect();
        if extra.is_empty() {
            return None;
        }
        let text = format!(
            "domain crates use tokio with the feature `sync` alone, not `{}`",
            extra.join("`, `")
        );
        return Some(Finding::new("layers::tokio-features", edge, text));
    }
    if table::RUNTIME_OR_IO.contains(&dependency.name.as_str()) {
        let text = "is a runtime or does input and output; this crate reaches the outside through ports";
        return Some(Finding::new("layers::runtime", edge, text));
    }
    None
}

/// Which of our crates lead to which, over normal and build dependencies.
#[derive(Debug)]
struct Reach<'a> {
    edges: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Reach<'a> {
    fn new(members: &'a [Member]) -> Self {
        let edges = members.iter().map(|member| {
            let targets = member
                .dependencies
                .iter()
                .filter(|dependency| dependency.kind != DependencyKind::Development)
                .map(|dependency| dependency.name.as_str());
            (member.name.as_str(), targets.collect())
        });
        Self {
            edges: edges.collect(),
        }
    }

    fn leads(&self, from: &str, to: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![from];
        while let Some(name) = open.pop() {
            if name == to {
                return true;
            }
            if seen.insert(name) {
                open.extend(self.edges.get(name).into_iter().flatten());
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::{Member, check, check_workspace, table};
    use crate::checks::fixtures;
    use crate::workspace::Workspace;

    #[derive(Deserialize)]
    struct Fixture {
        member: Vec<Member>,
    }

    #[test]
    fn the_workspace_keeps_its_layers() {
        let found = check_workspace(&Workspace::load().unwrap()).unwrap();
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn each_broken_rule_is_named_with_its_edge() {
        let fixture: Fixture = toml::from_str(&fixtures::text("layers/broken.toml")).unwrap();
        fixtures::assert_findings(&check(&fixture.member), "layers/broken.expected");
    }

    #[test]
    fn the_allowed_edges_pass() {
        let fixture: Fixture = toml::from_str(&fixtures::text("layers/allowed.toml")).unwrap();
        assert_eq!(check(&fixture.member), []);
    }

    #[test]
    fn every_owner_is_a_crate_of_the_table() {
        for (driver, owners) in table::OWNERS {
            for owner in *owners {
                assert!(
                    table::row(owner).is_some(),
                    "{driver} belongs to `{owner}`, which has no row"
                );
            }
        }
    }
}
