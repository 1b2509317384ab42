//! `gen`: documents that a program of ours writes; the repository keeps a copy, CI compares it.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::checks;
use crate::environment::{self, Build};
use crate::finding::Finding;
use crate::shell;
use crate::workspace::Workspace;

/// A document and the arguments of the program whose standard output it is.
struct Document {
    path: &'static str,
    arguments: &'static [&'static str],
}

const DOCUMENTS: &[Document] = &[
    Document {
        path: "docs/configuration.md",
        arguments: &["config", "show", "--reference"],
    },
    Document {
        path: "docs/api/agent-registry.yaml",
        arguments: &["openapi", "--group", "agent"],
    },
];

/// Writes the documents, or only compares them.
pub(crate) fn run(workspace: &Workspace, only_check: bool) -> anyhow::Result<()> {
    if only_check {
        return checks::report(&check(workspace)?);
    }
    for document in DOCUMENTS {
        write(&workspace.root.join(document.path), &text(workspace, document)?)?;
    }
    Ok(())
}

/// Compares every document with what its program writes now.
pub(crate) fn check(workspace: &Workspace) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for document in DOCUMENTS {
        let expected = text(workspace, document)?;
        findings.extend(compare(
            document.path,
            &workspace.root.join(document.path),
            &expected,
        )?);
    }
    Ok(findings)
}

fn text(workspace: &Workspace, document: &Document) -> anyhow::Result<String> {
    // the program that the tests use, so that nothing is built twice
    let program = environment::binary(workspace, Build::Debug)?;
    let text = shell::output(Command::new(program).args(document.arguments))?;
    anyhow::ensure!(
        !text.trim().is_empty(),
        "nothing was written for {}",
        document.path
    );
    Ok(text)
}

fn compare(name: &str, file: &Path, expected: &str) -> anyhow::Result<Option<Finding>> {
    if !file.exists() {
        return Ok(Some(Finding::new(
            "gen::missing",
            name,
            "is not there; run `cargo xtask gen`",
        )));
    }
    let actual = fs::read_to_string(file).with_context(|| format!("reading {name}"))?;
    if actual == expected {
        return Ok(None);
    }
    let same = actual
        .lines()
        .zip(expected.lines())
        .take_while(|(actual, expected)| actual == expected);
    let place = format!("{name}:{}", same.count() + 1);
    Ok(Some(Finding::new(
        "gen::stale",
        place,
        "differs from what is generated; run `cargo xtask gen`",
    )))
}

fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    if fs::read_to_string(file).is_ok_and(|old| old == text) {
        println!("unchanged {}", file.display());
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    fs::write(file, text).with_context(|| format!("writing {}", file.display()))?;
    println!("wrote {}", file.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{compare, write};
    use crate::checks::fixtures;

    #[test]
    fn a_stale_document_is_named_with_its_first_wrong_line() {
        let file = fixtures::path("generate/stale.md");
        let found = compare("docs/a.md", &file, &fixtures::text("generate/fresh.md"))
            .unwrap()
            .unwrap();
        assert_eq!(
            found.to_string(),
            "gen::stale: docs/a.md:3: differs from what is generated; run `cargo xtask gen`"
        );
        assert_eq!(
            compare("docs/a.md", &file, &fixtures::text("generate/stale.md")).unwrap(),
            None
        );
    }

    #[test]
    fn an_absent_document_is_a_finding() {
        let found = compare("docs/b.md", &fixtures::path("generate/absent.md"), "text")
            .unwrap()
            .unwrap();
        assert_eq!(found.check, "gen::missing");
    }

    #[test]
    fn what_is_written_compares_equal() {
        let folder = std::env::temp_dir().join(format!("xtask-generate-{}", std::process::id()));
        let file = folder.join("docs/c.md");
        write(&file, "# C\n").unwrap();
        assert_eq!(compare("docs/c.md", &file, "# C\n").unwrap(), None);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
