//! The checks that this package makes itself.

pub(crate) mod bans;
pub(crate) mod layers;
pub(crate) mod readme;
pub(crate) mod tidy;

use crate::finding::{self, Finding};

/// Prints the findings of one check.
///
/// # Errors
/// When there is at least one.
pub(crate) fn report(findings: &[Finding]) -> anyhow::Result<()> {
    for finding in findings {
        println!("{finding}");
    }
    anyhow::ensure!(findings.is_empty(), finding::count(findings.len()));
    Ok(())
}

#[cfg(test)]
pub(crate) mod fixtures {
    //! Reads what `xtask/fixtures` holds.

    use std::path::{Path, PathBuf};

    use crate::finding::Finding;

    /// The path of a fixture.
    pub(crate) fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
    }

    /// The text of a fixture.
    pub(crate) fn text(name: &str) -> String {
        let path = path(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Compares the findings, sorted, with the lines of a fixture.
    pub(crate) fn assert_findings(found: &[Finding], expected: &str) {
        let mut lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        lines.sort();
        assert_eq!(
            lines,
            text(expected).lines().collect::<Vec<_>>(),
            "findings differ from {expected}"
        );
    }
}
