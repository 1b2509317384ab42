//! Checks sources and manifests for what no lint covers: module docs, sizes, ignored tests,
//! unfinished code, inherited lints and versions, order of the dependency table, telemetry that no table names.

mod manifests;
pub(crate) mod sources;
mod telemetry;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::finding::Finding;
use crate::shell;
use crate::workspace::Workspace;

/// The text files of a tree by their path relative to its root, `/` between folders.
pub(crate) type Tree = BTreeMap<String, String>;

/// Recorded inputs are kept as they are: files below a folder of this name are not checked.
const FIXTURES: &str = "fixtures";

const TEXT: &[&str] = &[
    "rs", "toml", "md", "sh", "py", "json", "yml", "yaml", "html", "css", "js", "sql",
];

/// Checks the files that git tracks or would track.
pub(crate) fn check_workspace(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let mut findings = check(&tracked(&workspace.root)?);
    findings.extend(super::bans::check_duplicates_of(workspace)?);
    Ok(findings)
}

/// Checks a tree.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, text) in tree {
        if let Some(line) = first_trailing_blank(text) {
            let place = format!("{path}:{line}");
            findings.push(Finding::new(
                "tidy::trailing-blank",
                place,
                "the line ends in a blank",
            ));
        }
        if !text.is_empty() && !text.ends_with('\n') {
            findings.push(Finding::new(
                "tidy::final-newline",
                path,
                "the last line has no end",
            ));
        }
        if is_source(path) {
            findings.extend(sources::check(path, text));
        } else if path == "Cargo.toml" {
            findings.extend(manifests::check_root(path, text));
        } else if path.ends_with("/Cargo.toml") {
            findings.extend(manifests::check_member(path, text, tree));
        }
    }
    findings.extend(telemetry::check(tree));
    findings
}

fn is_source(path: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|extension| extension == "rs")
}

fn first_trailing_blank(text: &str) -> Option<usize> {
    text.split('\n')
        .position(|line| line.ends_with([' ', '\t', '\r']))
        .map(|index| index + 1)
}

fn tracked(root: &Path) -> anyhow::Result<Tree> {
    let mut list = Command::new("git");
    list.current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let mut tree = Tree::new();
    for path in shell::output(&mut list)?
        .split('\0')
        .filter(|path| is_checked(path))
    {
        let file = root.join(path);
        // A file that is deleted but not yet committed is still in the list.
        if file.is_file() {
            let text = fs::read_to_string(&file).with_context(|| format!("reading {path}"))?;
            tree.insert(path.to_owned(), text);
        }
    }
    Ok(tree)
}

fn is_checked(path: &str) -> bool {
    let path = Path::new(path);
    let text = path.extension().and_then(|extension| extension.to_str());
    text.is_some_and(|extension| TEXT.contains(&extension)) && !path.iter().any(|part| part == FIXTURES)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Tree, check, check_workspace, is_checked};
    use crate::checks::fixtures;
    use crate::workspace::Workspace;

    #[test]
    fn the_workspace_is_tidy() {
        let found = check_workspace(&Workspace::load().unwrap()).unwrap();
        assert!(found.is_empty(), "{found:#?}");
    }

    #[test]
    fn each_fault_is_named_with_its_place() {
        let mut tree = Tree::new();
        let root = fixtures::path("tidy/workspace");
        collect(&root, &root, &mut tree);
        fixtures::assert_findings(&check(&tree), "tidy/workspace.expected");
    }

    #[test]
    fn recorded_inputs_are_left_alone() {
        assert!(is_checked("crates/core/src/lib.rs"));
        assert!(!is_checked("tests/fixtures/report.json"));
        assert!(!is_checked("docs/picture.png"));
    }

    /// Fixture files carry `.txt` behind their names, so that no other tool takes them for its own.
    fn collect(root: &Path, folder: &Path, tree: &mut Tree) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(root, &path, tree);
                continue;
            }
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            let text = std::fs::read_to_string(&path).unwrap();
            tree.insert(name.strip_suffix(".txt").unwrap().to_owned(), text);
        }
    }
}
