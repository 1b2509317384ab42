//! The contract of metrics, read from the text that Prometheus reads.

use std::sync::Arc;

use arbiter_adapter_prometheus::PrometheusMetrics;
use arbiter_testkit::contract::MetricsHarness;

/// Reads a value by its name in the text and its only label.
fn read(metrics: &PrometheusMetrics, name: &str, (label, value): (&str, &str)) -> Option<f64> {
    let start = format!("{}{{{label}=\"{value}\"}} ", name.replace('.', "_"));
    let text = metrics.render();
    text.lines()
        .find_map(|line| line.strip_prefix(&start)?.parse().ok())
}

fn harness() -> MetricsHarness {
    let metrics = Arc::new(PrometheusMetrics::new());
    let [one, two, three] = std::array::from_fn(|_| Arc::clone(&metrics));
    MetricsHarness {
        metrics,
        counter: Box::new(move |name, label| read(&one, name, label)),
        gauge: Box::new(move |name, label| read(&two, name, label)),
        observed: Box::new(move |name, label| {
            read(&three, &format!("{name}_count"), label).map(|count| count as u64)
        }),
    }
}

arbiter_testkit::metrics_contract!(harness());
