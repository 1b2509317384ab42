//! The result as a table for people and as JSON.

use serde::Serialize;

use super::measure::{Measure, Rates, Results};
use super::raw;
use super::server::Server;
use super::side::{OURS, Side};

/// What every reader has to know beside the figures.
const NOTES: &str = "\
tasks a second: median (lowest-highest) of the rounds; each measure is described in xtask/peers/README.md
arbiter: each call is authorised, limited and redacted; each task has a fencing token, a lease, and an audit leaf for
each change, in the commit that it tells of. The peers and the raw lines do none of this.
raw: the least statements, by pgbench; a drain is one commit to take and one to end, as for all others. A whole life is
compared with its single submits
-: not measured so. We have no way to take a backlog one by one: a node's dispatcher takes batches for all its agents";

/// One row, with what it compares.
#[derive(Debug, Serialize)]
struct Row {
    measure: Measure,
    title: &'static str,
    sides: Vec<Cell>,
    /// Our median by the server's own of [`Measure::limit`]; none where one of them was not measured.
    to_raw: Option<f64>,
    /// Our median by the best peer's.
    to_best_peer: Option<f64>,
}

#[derive(Debug, Serialize)]
struct Cell {
    side: &'static str,
    /// None where a side has nothing of this kind.
    tasks_per_second: Option<Rates>,
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    server: Vec<Setting<'a>>,
    versions: Vec<Version<'a>>,
    rows: Vec<Row>,
    notes: &'static str,
}

#[derive(Debug, Serialize)]
struct Setting<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Debug, Serialize)]
struct Version<'a> {
    side: &'static str,
    version: &'a str,
}

/// The table, with versions, settings and notes.
pub(crate) fn text(server: &Server, sides: &[Side], results: &Results) -> String {
    let mut lines = vec![String::new()];
    for (name, value) in &server.settings {
        lines.push(format!("{name:<20} {value}"));
    }
    for side in sides {
        lines.push(format!("{:<20} {}", side.name, side.version));
    }
    lines.push(String::new());
    let names = names(sides);
    lines.push(format!(
        "| measure | {} | to raw | to the best peer |",
        names.join(" | ")
    ));
    lines.push(format!("| {} |", vec!["---"; names.len() + 3].join(" | ")));
    for row in rows(&names, results) {
        let mut words = vec![row.title.to_owned()];
        words.extend(
            row.sides
                .iter()
                .map(|cell| figure(cell.tasks_per_second.as_ref())),
        );
        words.extend([ratio(row.to_raw), ratio(row.to_best_peer)]);
        lines.push(format!("| {} |", words.join(" | ")));
    }
    lines.push(String::new());
    lines.push(NOTES.to_owned());
    lines.join("\n")
}

/// The same as JSON.
///
/// # Errors
/// When a figure has no form in JSON.
pub(crate) fn json(server: &Server, sides: &[Side], results: &Results) -> anyhow::Result<String> {
    let settings = server.settings.iter();
    let document = Document {
        server: settings.map(|(name, value)| Setting { name, value }).collect(),
        versions: sides
            .iter()
            .map(|side| Version {
                side: side.name,
                version: &side.version,
            })
            .collect(),
        rows: rows(&names(sides), results),
        notes: NOTES,
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

fn names(sides: &[Side]) -> Vec<&'static str> {
    let mut names = vec![raw::NAME];
    names.extend(sides.iter().map(|side| side.name));
    names
}

fn rows(names: &[&'static str], results: &Results) -> Vec<Row> {
    Measure::all()
        .iter()
        .map(|measure| row(*measure, names, results))
        .collect()
}

fn row(measure: Measure, names: &[&'static str], results: &Results) -> Row {
    let median = |side| results.of(measure, side).map(|rates| rates.median);
    let peers = names.iter().filter(|name| ![raw::NAME, OURS].contains(name));
    let best = peers.filter_map(|name| median(name)).max_by(f64::total_cmp);
    let over = |other: Option<f64>| Some(median(OURS)? / other?);
    let limit = results.of(measure.limit(), raw::NAME).map(|rates| rates.median);
    Row {
        measure,
        title: measure.title(),
        sides: names
            .iter()
            .map(|side| Cell {
                side,
                tasks_per_second: results.of(measure, side),
            })
            .collect(),
        to_raw: over(limit),
        to_best_peer: over(best),
    }
}

fn figure(rates: Option<&Rates>) -> String {
    rates.map_or_else(
        || "-".to_owned(),
        |rates| format!("{:.0} ({:.0}-{:.0})", rates.median, rates.lowest, rates.highest),
    )
}

fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.2}"))
}

#[cfg(test)]
mod tests {
    use super::{figure, ratio, row};
    use crate::bench::peers::measure::{Line, Measure, Results};

    fn results(rates: &[(&'static str, u64)]) -> Results {
        let mut results = Results::default();
        for (side, tasks) in rates {
            let line = Line {
                measure: Measure::DrainBatch,
                tasks: *tasks,
                seconds: 1.0,
            };
            results.add(side, &line);
        }
        results
    }

    #[test]
    fn we_are_compared_with_the_server_and_with_the_best_peer() {
        let names = ["raw", "arbiter", "one", "other"];
        let found = results(&[("raw", 400), ("arbiter", 100), ("one", 50), ("other", 80)]);
        let row = row(Measure::DrainBatch, &names, &found);
        assert_eq!((row.to_raw, row.to_best_peer), (Some(0.25), Some(1.25)));
        assert_eq!(figure(row.sides[1].tasks_per_second.as_ref()), "100 (100-100)");
    }

    #[test]
    fn a_whole_life_is_compared_with_single_submits_of_the_server() {
        let mut results = Results::default();
        for (side, measure, tasks) in [
            ("raw", Measure::SubmitSingle, 400),
            ("arbiter", Measure::Life, 100),
        ] {
            let seconds = 1.0;
            let line = Line {
                measure,
                tasks,
                seconds,
            };
            results.add(side, &line);
        }
        let row = row(Measure::Life, &["raw", "arbiter"], &results);
        assert_eq!((row.to_raw, row.to_best_peer), (Some(0.25), None));
    }

    #[test]
    fn what_was_not_measured_is_absent_and_compared_with_nothing() {
        let found = results(&[("one", 50), ("raw", 400)]);
        let row = row(Measure::DrainBatch, &["raw", "arbiter", "one"], &found);
        assert_eq!((row.to_raw, row.to_best_peer), (None, None));
        assert_eq!(figure(row.sides[1].tasks_per_second.as_ref()), "-");
        assert_eq!(ratio(row.to_raw), "-");
    }
}
