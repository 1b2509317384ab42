//! The history of measurements, as a server keeps it in its store.

use arbiter_tests::http::Caller;
use arbiter_tests::wait_until;
use rusqlite::Connection;

use super::Served;

/// What `/metrics` shows of a metric with one label.
fn shown(caller: &Caller, line: &str) -> Option<f64> {
    let answer = caller.get("/metrics");
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    text.lines()
        .find_map(|told| told.strip_prefix(line)?.trim().parse().ok())
}

const STORED: &str = "telemetry_samples_total{outcome=\"stored\"}";

#[test]
fn a_server_adds_what_it_measures_to_the_history() {
    let served = Served::with("[telemetry]\nsample_seconds = 1", &[]);
    let caller = Caller::new(&served.serving, None);
    let mut counts = Vec::new();
    wait_until("samples are stored again and again", || {
        let stored = shown(&caller, STORED);
        if stored.is_some() && stored != counts.last().copied() {
            counts.extend(stored);
        }
        counts.len() > 2
    });
    assert!(counts.is_sorted(), "{counts:?}");
    for outcome in ["late", "without_room", "invalid", "lost"] {
        let line = format!("telemetry_samples_total{{outcome=\"{outcome}\"}}");
        assert_eq!(shown(&caller, &line), None, "{outcome}");
    }
    assert!(served.serving.stop().success());
    let database = Connection::open(served.place.path("data/arbiter.db")).expect("the store");
    let kept = database.query_row(
        "SELECT labels, count(*), max(last) FROM metric_series s JOIN metric_point p ON p.series = s.id
         WHERE name = 'telemetry.samples_total' GROUP BY s.id",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    );
    let (labels, points, last): (String, i64, f64) = kept.expect("its own measurement is one of them");
    assert_eq!(labels, "\nnode\tlocal\noutcome\tstored\n");
    assert!(points >= 2, "{points}");
    assert!(last >= counts[0], "{last} {counts:?}");
}
