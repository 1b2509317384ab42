//! The contract of `Metrics`.

use std::sync::Arc;

use crate::contract::{MetricsHarness, suite};

suite!($ metrics_contract, metrics, [
    counters_add_up_by_their_labels,
    a_gauge_keeps_its_last_value,
    observations_are_counted,
    nothing_is_lost_when_many_measure_at_once,
    odd_measurements_are_taken_or_dropped_but_harm_nothing,
]);

/// Counters add up, each set of labels apart.
pub async fn counters_add_up_by_their_labels(h: &MetricsHarness) {
    h.metrics.count("suite.calls_total", &[("kind", "a")], 2);
    h.metrics.count("suite.calls_total", &[("kind", "b")], 5);
    h.metrics.count("suite.calls_total", &[("kind", "a")], 3);
    h.metrics.count("suite.calls_total", &[("kind", "b")], 0);
    assert_eq!((h.counter)("suite.calls_total", ("kind", "a")), Some(5.0));
    assert_eq!((h.counter)("suite.calls_total", ("kind", "b")), Some(5.0));
    assert_eq!((h.counter)("suite.calls_total", ("kind", "c")), None);
}

/// A gauge keeps its last value.
pub async fn a_gauge_keeps_its_last_value(h: &MetricsHarness) {
    for value in [3.0, 0.5, 0.0] {
        h.metrics.gauge("suite.level", &[("kind", "a")], value);
        assert_eq!((h.gauge)("suite.level", ("kind", "a")), Some(value));
    }
}

/// Observations are counted.
pub async fn observations_are_counted(h: &MetricsHarness) {
    for value in [0.001, 2.0, 1e9] {
        h.metrics.observe("suite.seconds", &[("kind", "a")], value);
    }
    assert_eq!((h.observed)("suite.seconds", ("kind", "a")), Some(3));
}

/// Nothing is lost when many measure at once.
pub async fn nothing_is_lost_when_many_measure_at_once(h: &MetricsHarness) {
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let metrics = Arc::clone(&h.metrics);
            std::thread::spawn(move || {
                for _ in 0..1_000 {
                    metrics.count("suite.calls_total", &[("kind", "a")], 1);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("it ends");
    }
    assert_eq!((h.counter)("suite.calls_total", ("kind", "a")), Some(4_000.0));
}

/// A name that is used as two sorts, text in labels and numbers that are none are taken or dropped; other measurements
/// go on.
pub async fn odd_measurements_are_taken_or_dropped_but_harm_nothing(h: &MetricsHarness) {
    h.metrics.count("suite.calls_total", &[("kind", "a")], 1);
    h.metrics.gauge("suite.calls_total", &[("kind", "a")], 7.0);
    h.metrics.count("suite.calls_total", &[("other", "a")], 1);
    h.metrics.gauge("suite.level", &[("kind", "\"\\\n")], f64::NAN);
    h.metrics.observe("suite.seconds", &[("kind", "a")], f64::NAN);
    h.metrics.observe("suite.seconds", &[("kind", "a")], -1.0);
    h.metrics.count("suite.calls_total", &[("kind", "a")], 1);
    assert_eq!((h.counter)("suite.calls_total", ("kind", "a")), Some(2.0));
}
