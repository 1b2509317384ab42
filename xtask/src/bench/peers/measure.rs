//! What is measured, a line of it, and the rates of all rounds.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, ensure};
use clap::ValueEnum as _;
use serde::{Deserialize, Serialize};

/// One kind of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// 32 callers submit one by one.
    SubmitSingle,
    /// 4 callers submit 100 at a time.
    SubmitBatch,
    /// 32 callers submit one by one while workers take and end tasks.
    Life,
    /// Workers take and end a backlog in batches.
    DrainBatch,
    /// 32 workers take and end a backlog one by one.
    DrainSingle,
}

impl Measure {
    /// All, in the order of the table.
    pub(crate) fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// Which work of the server itself it is compared with.
    pub(crate) const fn limit(self) -> Self {
        match self {
            Self::Life => Self::SubmitSingle,
            other => other,
        }
    }

    /// What it is, for the table.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::SubmitSingle => "submit, 32 callers one by one",
            Self::SubmitBatch => "submit, 4 callers of 100",
            Self::Life => "whole life, 32 single submitters",
            Self::DrainBatch => "drain, in batches",
            Self::DrainSingle => "drain, 32 workers one by one",
        }
    }
}

/// One measurement, as the sides write it.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// What was measured.
    pub(crate) measure: Measure,
    /// How many tasks.
    pub(crate) tasks: u64,
    /// How long it took.
    pub(crate) seconds: f64,
}

impl Line {
    /// Reads the lines that begin with a brace; others are for people.
    ///
    /// # Errors
    /// When there is none, or one that is no measurement or says that no work or no time was needed.
    pub(crate) fn read_all(text: &str) -> anyhow::Result<Vec<Self>> {
        let mut lines = Vec::new();
        for text in text.lines().filter(|line| line.starts_with('{')) {
            let line: Self = serde_json::from_str(text).with_context(|| format!("reading `{text}`"))?;
            ensure!(line.tasks > 0 && line.seconds > 0.0, "no rate in `{text}`");
            lines.push(line);
        }
        ensure!(!lines.is_empty(), "no measurement was written");
        Ok(lines)
    }

    /// Tasks a second.
    pub(crate) fn rate(&self) -> f64 {
        self.tasks as f64 / self.seconds
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:<36} {:>9.0} /s", self.measure.title(), self.rate())
    }
}

/// The rates of all rounds, by measure and side.
#[derive(Debug, Default)]
pub(crate) struct Results(BTreeMap<(Measure, &'static str), Vec<f64>>);

impl Results {
    /// Adds one measurement.
    pub(crate) fn add(&mut self, side: &'static str, line: &Line) {
        self.0.entry((line.measure, side)).or_default().push(line.rate());
    }

    /// What a side reached; none when it was not measured so.
    pub(crate) fn of(&self, measure: Measure, side: &'static str) -> Option<Rates> {
        let mut rounds = self.0.get(&(measure, side))?.clone();
        let listed = rounds.clone();
        rounds.sort_by(f64::total_cmp);
        Some(Rates {
            median: *rounds.get(rounds.len() / 2)?,
            lowest: *rounds.first()?,
            highest: *rounds.last()?,
            rounds: listed,
        })
    }
}

/// Tasks a second in all rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// The one in the middle; of an even number of rounds the higher of the two.
    pub(crate) median: f64,
    /// The lowest.
    pub(crate) lowest: f64,
    /// The highest.
    pub(crate) highest: f64,
    /// All, in the order in which they were measured.
    pub(crate) rounds: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::{Line, Measure, Results};

    #[test]
    fn measurements_are_read_between_other_lines() {
        let text = "noise\n{\"measure\":\"drain_batch\",\"tasks\":300,\"seconds\":1.5}\nmore\n";
        let lines = Line::read_all(text).unwrap();
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].measure, Measure::DrainBatch);
        assert!((lines[0].rate() - 200.0).abs() < f64::EPSILON);
    }

    #[test]
    fn what_is_no_measurement_is_an_error() {
        for (text, complaint) in [
            ("", "no measurement was written"),
            ("{\"measure\":\"idle\",\"tasks\":1,\"seconds\":1}", "reading `{"),
            ("{\"measure\":\"life\",\"tasks\":1,\"seconds\":0}", "no rate in"),
            ("{\"measure\":\"life\",\"tasks\":0,\"seconds\":1}", "no rate in"),
        ] {
            let error = format!("{:#}", Line::read_all(text).unwrap_err());
            assert!(error.contains(complaint), "{error}");
        }
    }

    #[test]
    fn the_median_is_the_round_in_the_middle() {
        let mut results = Results::default();
        for tasks in [30, 10, 50, 20, 40] {
            let line = Line {
                measure: Measure::Life,
                tasks,
                seconds: 1.0,
            };
            results.add("raw", &line);
        }
        let rates = results.of(Measure::Life, "raw").unwrap();
        assert_eq!((rates.lowest, rates.median, rates.highest), (10.0, 30.0, 50.0));
        assert_eq!(rates.rounds, [30.0, 10.0, 50.0, 20.0, 40.0]);
        assert_eq!(results.of(Measure::Life, "pg-boss"), None);
    }
}
