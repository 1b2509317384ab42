//! The events and metrics of the product against the tables of `docs/telemetry.md` and the help texts of the metrics.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Tree;
use super::sources::{is_test_code, product_lines};
use crate::finding::Finding;

const TABLES: &str = "docs/telemetry.md";
const HELP: &str = "crates/adapters/prometheus/src/descriptions.rs";

/// What stands before the name of a metric, blanks aside.
const MEASURES: &[&str] = &[".count(", ".gauge(", ".observe("];
/// What stands before the name of an event.
const EVENT: &str = "event = \"";

/// Names with the place that uses them first.
type Names = BTreeMap<String, String>;

/// Checks a tree; one without the tables promises nothing.
pub(crate) fn check(tree: &Tree) -> Vec<Finding> {
    let Some(tables) = tree.get(TABLES) else {
        return Vec::new();
    };
    let (mut events, mut metrics) = (Names::new(), Names::new());
    for (path, text) in tree.iter().filter(|(path, _)| is_product(path)) {
        collect(path, text, &mut events, &mut metrics);
    }
    let told = named(tables, "## Log");
    let mut findings = compare("tidy::event", &events, &told, TABLES);
    let told = named(tables, "## Metrics");
    findings.extend(compare("tidy::metric", &metrics, &told, TABLES));
    if let Some(help) = tree.get(HELP) {
        findings.extend(compare("tidy::metric-help", &metrics, &described(help), HELP));
    }
    findings
}

fn is_product(path: &str) -> bool {
    let product = ["crates/", "bins/"].iter().any(|folder| path.starts_with(folder));
    product
        && Path::new(path).extension() == Some("rs".as_ref())
        && !path.starts_with("crates/testkit/")
        && !is_test_code(path)
}

/// The names that a source uses outside of its tests.
fn collect(path: &str, text: &str, events: &mut Names, metrics: &mut Names) {
    let product: Vec<&str> = text.lines().take(product_lines(text)).collect();
    let product = product.join("\n");
    let note = |names: &mut Names, at: usize, name: &str| {
        let line = product[..at].matches('\n').count() + 1;
        let place = format!("{path}:{line}");
        names.entry(name.to_owned()).or_insert(place);
    };
    for (at, _) in product.match_indices(EVENT) {
        let rest = &product[at + EVENT.len()..];
        if let Some((name, _)) = rest.split_once('"') {
            note(events, at, name);
        }
    }
    for measure in MEASURES {
        for (at, _) in product.match_indices(measure) {
            let rest = product[at + measure.len()..].trim_start();
            if let Some((name, _)) = rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                note(metrics, at, name);
            }
        }
    }
}

/// The names in the first column of the table below a heading.
fn named(text: &str, heading: &str) -> BTreeSet<String> {
    let below = text.lines().skip_while(|line| *line != heading).skip(1);
    let section = below.take_while(|line| !line.starts_with("## "));
    let rows = section.filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

/// The names on the left of the arms of a `match`.
fn described(text: &str) -> BTreeSet<String> {
    let arms = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>"));
    arms.map(|(name, _)| name.to_owned()).collect()
}

fn compare(check: &str, used: &Names, told: &BTreeSet<String>, file: &str) -> Vec<Finding> {
    let missing = used.iter().filter(|(name, _)| !told.contains(*name));
    let missing =
        missing.map(|(name, place)| Finding::new(check, place, format!("`{name}` is not in {file}")));
    let stale = told.iter().filter(|name| !used.contains_key(*name));
    let stale = stale.map(|name| Finding::new(check, file, format!("`{name}` is used nowhere")));
    missing.chain(stale).collect()
}
