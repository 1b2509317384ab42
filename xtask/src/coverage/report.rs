//! Counts the branches of product code in what `llvm-cov export` writes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::checks::layers::domain_crates;
use crate::checks::tidy::sources;
use crate::finding::Finding;

/// The share of branches that tests must take, in percent, over the domain crates together.
const FLOOR: f64 = 80.0;

/// Branches of each crate.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    crates: BTreeMap<String, Count>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Count {
    taken: u32,
    all: u32,
}

impl Count {
    /// The share that was taken; a crate without branches has taken them all.
    fn percent(self) -> f64 {
        if self.all == 0 {
            100.0
        } else {
            100.0 * f64::from(self.taken) / f64::from(self.all)
        }
    }
}

#[derive(Debug, Deserialize)]
struct Export {
    data: Vec<ExportData>,
}

#[derive(Debug, Deserialize)]
struct ExportData {
    files: Vec<ExportFile>,
}

#[derive(Debug, Deserialize)]
struct ExportFile {
    filename: String,
    /// Line and column of start and end, how often it was true, how often false, and more.
    #[serde(default)]
    branches: Vec<Vec<u64>>,
}

/// Reads an export. Test code and files outside the domain crates do not count; a branch in generic
/// code counts once, however many types it was compiled for.
pub(crate) fn read(export: &str, root: &Path) -> anyhow::Result<Measured> {
    let export: Export = serde_json::from_str(export).context("reading the coverage export")?;
    let mut measured = Measured::default();
    for file in export.data.iter().flat_map(|data| &data.files) {
        let Ok(path) = Path::new(&file.filename).strip_prefix(root) else {
            continue;
        };
        let path = path.to_string_lossy();
        let Some(name) = domain_of(&path) else { continue };
        if sources::is_test_code(&path) {
            continue;
        }
        let text = fs::read_to_string(root.join(&*path)).with_context(|| format!("reading {path}"))?;
        let last = sources::product_lines(&text) as u64;
        let (mut all, mut taken) = (BTreeSet::new(), BTreeSet::new());
        for branch in &file.branches {
            let &[line, column, end_line, end_column, on_true, on_false, ..] = branch.as_slice() else {
                anyhow::bail!("a branch of {path} has {} fields", branch.len());
            };
            if line > last {
                continue;
            }
            for (side, count) in [(true, on_true), (false, on_false)] {
                let place = (line, column, end_line, end_column, side);
                all.insert(place);
                if count > 0 {
                    taken.insert(place);
                }
            }
        }
        let count = measured.crates.entry(name).or_default();
        count.all += all.len() as u32;
        count.taken += taken.len() as u32;
    }
    Ok(measured)
}

impl Measured {
    /// One line per crate and one for their sum.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("branch coverage of product code\n");
        let rows = self.crates.iter().map(|(name, count)| (name.as_str(), *count));
        for (name, count) in rows.chain([("together", self.sum())]) {
            let share = format!(
                "{:>6.1} %  {:>5} of {:>5}",
                count.percent(),
                count.taken,
                count.all
            );
            // Writing into a string cannot fail.
            let _ = writeln!(text, "{name:<28} {share}");
        }
        text
    }

    /// What is below the floor.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let percent = self.sum().percent();
        if percent >= FLOOR {
            return Vec::new();
        }
        let text = format!("tests take {percent:.1} % of the branches, the floor is {FLOOR:.0} %");
        vec![Finding::new("coverage::floor", "domain crates", text)]
    }

    fn sum(&self) -> Count {
        let add = |sum: Count, count: &Count| Count {
            taken: sum.taken + count.taken,
            all: sum.all + count.all,
        };
        self.crates.values().fold(Count::default(), add)
    }
}

fn domain_of(path: &str) -> Option<String> {
    let folder = path.strip_prefix("crates/")?.split('/').next()?;
    domain_crates().find(|name| name.strip_prefix("arbiter-") == Some(folder))
}

#[cfg(test)]
mod tests {
    use super::{Count, Measured, read};
    use crate::checks::fixtures;

    fn measured(export: &str) -> Measured {
        // The names in the fixture are relative; the real ones stand below the workspace root.
        let root = fixtures::path("coverage");
        let export = fixtures::text(export).replace("ROOT", root.to_str().unwrap());
        read(&export, &root).unwrap()
    }

    #[test]
    fn only_product_branches_of_domain_crates_count_and_each_once() {
        let measured = measured("coverage/low.json");
        assert_eq!(measured.crates.len(), 1);
        assert_eq!(measured.crates["arbiter-queue"], Count { taken: 3, all: 4 });
    }

    #[test]
    fn below_the_floor_is_a_finding() {
        let found = measured("coverage/low.json").findings();
        assert_eq!(
            found[0].to_string(),
            "coverage::floor: domain crates: tests take 75.0 % of the branches, the floor is 80 %"
        );
        assert!(measured("coverage/full.json").findings().is_empty());
    }

    #[test]
    fn a_crate_without_branches_is_covered() {
        assert!((Count::default().percent() - 100.0).abs() < f64::EPSILON);
    }
}
