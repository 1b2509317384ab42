//! The registry.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use arbiter_core::ports::{Measurements, Metrics, Reading};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::descriptions::describe;

/// How many series one metric may have.
const MAX_SERIES: usize = 1_000;
/// How many metrics there may be.
const MAX_METRICS: usize = 1_000;
/// Upper bounds of histogram buckets, in seconds: 1 ms to 10 min.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 30.0, 120.0, 600.0,
];

type Labels = Vec<(String, String)>;
type FloatGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// Makes histograms with the crate's buckets.
#[derive(Debug, Clone)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKETS)
    }
}

enum Metric {
    Counter(Family<Labels, Counter>),
    Gauge(Family<Labels, FloatGauge>),
    Histogram(Family<Labels, Histogram, Buckets>),
}

struct Known {
    metric: Metric,
    series: BTreeMap<Labels, Observed>,
}

/// What a histogram has taken in; its own figures can only be shown. Nothing for other metrics.
#[derive(Debug, Clone, Copy, Default)]
struct Observed {
    count: u64,
    sum: f64,
}

#[derive(Default)]
struct Inner {
    registry: Registry,
    known: BTreeMap<&'static str, Known>,
    dropped: u64,
}

/// Measurements in process, shown in the Prometheus text format.
#[derive(Default)]
pub struct PrometheusMetrics {
    inner: Mutex<Inner>,
}

impl std::fmt::Debug for PrometheusMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrometheusMetrics").finish_non_exhaustive()
    }
}

impl PrometheusMetrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything that was measured, as OpenMetrics 1.0 text, which Prometheus reads.
    pub fn render(&self) -> String {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        // Writing to a string cannot fail; what a metric refuses to encode is left out with the rest of the text kept.
        let _incomplete = encode(&mut text, &inner.registry);
        if inner.dropped > 0 {
            let end = text.rfind("# EOF").unwrap_or(text.len());
            let mut dropped = String::from("# HELP metrics_dropped_series Measurements without a place.\n");
            let _always = write!(
                dropped,
                "# TYPE metrics_dropped_series counter\nmetrics_dropped_series_total {}\n",
                inner.dropped
            );
            text.insert_str(end, &dropped);
        }
        text
    }

    /// Finds or registers a metric and one of its series, and measures; counts what has no place.
    fn with(
        &self,
        name: &'static str,
        labels: &[(&'static str, &str)],
        make: impl FnOnce() -> Metric,
        measure: impl FnOnce(&Metric, &Labels, &mut Observed) -> bool,
    ) {
        let labels: Labels = labels
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let mut guard = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *guard;
        if !inner.known.contains_key(name) {
            if inner.known.len() >= MAX_METRICS {
                inner.dropped += 1;
                return;
            }
            let metric = make();
            register(&mut inner.registry, name, &metric);
            inner.known.insert(
                name,
                Known {
                    metric,
                    series: BTreeMap::new(),
                },
            );
        }
        let Some(known) = inner.known.get_mut(name) else {
            return;
        };
        let before = known.series.get(&labels).copied();
        let mut observed = before.unwrap_or_default();
        let placed = before.is_some() || known.series.len() < MAX_SERIES;
        if placed && measure(&known.metric, &labels, &mut observed) {
            known.series.insert(labels, observed);
        } else {
            inner.dropped += 1;
        }
    }
}

/// The registry appends `_total` to counters itself.
fn register(registry: &mut Registry, name: &str, metric: &Metric) {
    let shown = name.replace('.', "_");
    let help = describe(name);
    match metric {
        Metric::Counter(family) => {
            registry.register(
                shown.strip_suffix("_total").unwrap_or(&shown),
                help,
                family.clone(),
            );
        }
        Metric::Gauge(family) => registry.register(shown, help, family.clone()),
        Metric::Histogram(family) => registry.register(shown, help, family.clone()),
    }
}

impl Metrics for PrometheusMetrics {
    fn count(&self, name: &'static str, labels: &[(&'static str, &str)], add: u64) {
        let make = || Metric::Counter(Family::default());
        self.with(name, labels, make, |metric, labels, _| match metric {
            Metric::Counter(family) => {
                family.get_or_create(labels).inc_by(add);
                true
            }
            _ => false,
        });
    }

    fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let make = || Metric::Gauge(Family::default());
        self.with(name, labels, make, |metric, labels, _| match metric {
            Metric::Gauge(family) => {
                family.get_or_create(labels).set(value);
                true
            }
            _ => false,
        });
    }

    fn observe(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        let make = || Metric::Histogram(Family::new_with_constructor(Buckets));
        self.with(name, labels, make, |metric, labels, observed| match metric {
            Metric::Histogram(family) => {
                observed.count += 1;
                observed.sum += value;
                family.get_or_create(labels).observe(value);
                true
            }
            _ => false,
        });
    }
}

impl Measurements for PrometheusMetrics {
    fn readings(&self) -> Vec<Reading> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut readings = Vec::new();
        for (name, known) in &inner.known {
            for (labels, observed) in &known.series {
                let mut read = |name: String, value| {
                    readings.push(Reading {
                        name,
                        labels: labels.clone(),
                        value,
                    });
                };
                match &known.metric {
                    Metric::Counter(family) => {
                        read((*name).to_owned(), family.get_or_create(labels).get() as f64);
                    }
                    Metric::Gauge(family) => read((*name).to_owned(), family.get_or_create(labels).get()),
                    Metric::Histogram(_) => {
                        read(format!("{name}_count"), observed.count as f64);
                        read(format!("{name}_sum"), observed.sum);
                    }
                }
            }
        }
        if inner.dropped > 0 {
            readings.push(Reading {
                name: "metrics.dropped_series_total".to_owned(),
                labels: Vec::new(),
                value: inner.dropped as f64,
            });
        }
        readings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_labels_and_values_are_shown() {
        let metrics = PrometheusMetrics::new();
        metrics.count("queue.submitted_total", &[("kind", "analysis")], 2);
        metrics.count("queue.submitted_total", &[("kind", "analysis")], 3);
        metrics.gauge("agent_registry.available_agents", &[("kind", "a\"b")], 1.5);
        metrics.observe("attempt.duration_seconds", &[], 0.2);
        let text = metrics.render();
        for line in [
            "# HELP queue_submitted Tasks that passed admission, by kind.",
            "# TYPE queue_submitted counter",
            "queue_submitted_total{kind=\"analysis\"} 5",
            "agent_registry_available_agents{kind=\"a\\\"b\"} 1.5",
            "attempt_duration_seconds_bucket{le=\"0.25\"} 1",
            "attempt_duration_seconds_bucket{le=\"0.1\"} 0",
            "attempt_duration_seconds_count{} 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
        assert!(!text.contains("dropped"));
    }

    #[test]
    fn readings_are_what_is_shown() {
        let metrics = PrometheusMetrics::new();
        assert_eq!(metrics.readings(), []);
        metrics.count("queue.submitted_total", &[("kind", "x")], 2);
        metrics.count("queue.submitted_total", &[("kind", "x")], 3);
        metrics.gauge("agent_registry.available_agents", &[], 1.5);
        metrics.observe("attempt.duration_seconds", &[("kind", "y")], 0.25);
        metrics.observe("attempt.duration_seconds", &[("kind", "y")], 0.5);
        let read = metrics.readings();
        let told: Vec<_> = read
            .iter()
            .map(|reading| {
                let labels: Vec<_> = reading.labels.iter().map(|(_, value)| value.as_str()).collect();
                (reading.name.as_str(), labels.join(","), reading.value)
            })
            .collect();
        let expected = [
            ("agent_registry.available_agents", String::new(), 1.5),
            ("attempt.duration_seconds_count", "y".to_owned(), 2.0),
            ("attempt.duration_seconds_sum", "y".to_owned(), 0.75),
            ("queue.submitted_total", "x".to_owned(), 5.0),
        ];
        assert_eq!(told, expected);
        let text = metrics.render();
        for line in [
            "attempt_duration_seconds_count{kind=\"y\"} 2",
            "attempt_duration_seconds_sum{kind=\"y\"} 0.75",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
        }
    }

    #[test]
    fn too_many_series_and_other_kinds_are_counted_and_dropped() {
        let metrics = PrometheusMetrics::new();
        for number in 0..MAX_SERIES + 7 {
            metrics.count("queue.rejected_total", &[("id", &number.to_string())], 1);
        }
        metrics.gauge("queue.rejected_total", &[], 1.0);
        let text = metrics.render();
        assert!(
            text.contains("metrics_dropped_series_total 8\n# EOF"),
            "{}",
            &text[text.len() - 200..]
        );
        assert_eq!(text.matches("queue_rejected_total{").count(), MAX_SERIES);
    }
}
