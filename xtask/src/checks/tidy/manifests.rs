//! Rules for the manifests.

use toml::{Table, Value};

use super::Tree;
use crate::finding::Finding;

/// Checks the root manifest: each paragraph of the dependency table is in alphabetical order.
pub(crate) fn check_root(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut inside = false;
    let mut previous = "";
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        }
        if line.is_empty() || line.starts_with('[') {
            previous = "";
            continue;
        }
        if !inside || line.starts_with('#') {
            continue;
        }
        let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
        if name < previous {
            let place = format!("{path}:{}", index + 1);
            let text = format!("`{name}` stands behind `{previous}`; keep the table alphabetical");
            findings.push(Finding::new("tidy::order", place, text));
        }
        previous = name;
    }
    findings
}

/// Checks a member: README, inherited lints, inherited versions. A package that is a workspace of its own has nothing to
/// inherit.
pub(crate) fn check_member(path: &str, text: &str, tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    let manifest: Table = match toml::from_str(text) {
        Ok(manifest) => manifest,
        Err(error) => return vec![Finding::new("tidy::manifest", path, error.message())],
    };
    let readme = path.replace("Cargo.toml", "README.md");
    if !tree.contains_key(&readme) {
        let text = "the crate has no README.md (purpose, what it must not know, how to test)";
        findings.push(Finding::new("tidy::readme", path, text));
    }
    if manifest.contains_key("workspace") {
        return findings;
    }
    let inherited = |table: Option<&Value>| {
        table
            .and_then(|value| value.get("workspace"))
            .and_then(Value::as_bool)
            == Some(true)
    };
    if !inherited(manifest.get("lints")) {
        let text = "needs `[lints]` with `workspace = true`";
        findings.push(Finding::new("tidy::lints", path, text));
    }
    for (section, dependencies) in dependency_tables(&manifest) {
        for (name, dependency) in dependencies {
            if !inherited(Some(dependency)) {
                let text =
                    format!("`{name}` in `{section}` has a version of its own; use `workspace = true`");
                findings.push(Finding::new("tidy::dependency", path, text));
            }
        }
    }
    findings
}

fn dependency_tables(manifest: &Table) -> Vec<(String, &Table)> {
    const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];
    let mut tables = Vec::new();
    for kind in KINDS {
        if let Some(table) = manifest.get(kind).and_then(Value::as_table) {
            tables.push((kind.to_owned(), table));
        }
    }
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flatten();
    for (target, parent) in targets {
        for kind in KINDS {
            if let Some(table) = parent.get(kind).and_then(Value::as_table) {
                tables.push((format!("target.{target}.{kind}"), table));
            }
        }
    }
    tables
}
