//! Measurements that can be looked at.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arbiter_core::ports::Metrics;

type Series = (String, Vec<(String, String)>);

/// Keeps every measurement.
#[derive(Debug, Default)]
pub struct RecordingMetrics {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    counters: BTreeMap<Series, u64>,
    gauges: BTreeMap<Series, f64>,
    observations: BTreeMap<Series, Vec<f64>>,
}

impl RecordingMetrics {
    /// Nothing was measured yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counter's value with exactly these labels, 0 when it was never counted.
    pub fn counter(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let value = self.kept().counters.get(&series(name, labels)).copied();
        value.unwrap_or(0)
    }

    /// The counter's value summed over all labels.
    pub fn total(&self, name: &str) -> u64 {
        let kept = self.kept();
        kept.counters
            .iter()
            .filter(|((of, _), _)| of == name)
            .map(|(_, value)| value)
            .sum()
    }

    /// The gauge's last value with exactly these labels.
    pub fn last_gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.kept().gauges.get(&series(name, labels)).copied()
    }

    /// The histogram's observations with exactly these labels, in order.
    pub fn observations(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let observed = self.kept().observations.get(&series(name, labels)).cloned();
        observed.unwrap_or_default()
    }

    /// The names of everything that was measured, in order.
    pub fn names(&self) -> Vec<String> {
        let kept = self.kept();
        let series = kept
            .counters
            .keys()
            .chain(kept.gauges.keys())
            .chain(kept.observations.keys());
        let names: std::collections::BTreeSet<String> = series.map(|(name, _)| name.clone()).collect();
        names.into_iter().collect()
    }
}

impl Metrics for RecordingMetrics {
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], add: u64) {
        *self.kept().counters.entry(series(name, labels)).or_default() += add;
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.kept().gauges.insert(series(name, labels), value);
    }

    fn observe(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.kept()
            .observations
            .entry(series(name, labels))
            .or_default()
            .push(value);
    }
}

/// The order of the labels does not matter.
fn series(name: &str, labels: &[(&str, &str)]) -> Series {
    let mut labels: Vec<(String, String)> = labels
        .iter()
        .map(|&(label, value)| (label.to_owned(), value.to_owned()))
        .collect();
    labels.sort();
    (name.to_owned(), labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_found_by_name_and_labels() {
        let metrics = RecordingMetrics::new();
        metrics.count("a.total", &[("x", "1"), ("y", "2")], 2);
        metrics.count("a.total", &[("y", "2"), ("x", "1")], 1);
        metrics.count("a.total", &[], 5);
        metrics.gauge("b", &[], 0.5);
        metrics.gauge("b", &[], 0.75);
        metrics.observe("c", &[], 1.0);
        metrics.observe("c", &[], 2.0);
        assert_eq!(metrics.counter("a.total", &[("x", "1"), ("y", "2")]), 3);
        assert_eq!(metrics.counter("a.total", &[("x", "2")]), 0);
        assert_eq!(metrics.total("a.total"), 8);
        assert_eq!(metrics.last_gauge("b", &[]), Some(0.75));
        assert_eq!(metrics.observations("c", &[]), [1.0, 2.0]);
        assert_eq!(metrics.names(), ["a.total", "b", "c"]);
    }
}
