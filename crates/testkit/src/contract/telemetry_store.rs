//! The contract of `TelemetryStore`.

use std::collections::BTreeMap;
use std::time::Duration;

use arbiter_core::model::{Bucket, Labels, Sample, SeriesKey, Timestamp};
use arbiter_core::ports::{
    Compaction, MAX_SAMPLES, MAX_SERIES, RangeQuery, Recorded, Series, TelemetryError,
};
use futures_util::future::join_all;

use crate::contract::{TelemetryHarness, suite};

suite!($ telemetry_store_contract, telemetry_store, [
    samples_are_summed_up_in_the_buckets_of_the_query,
    a_range_begins_with_its_first_moment_and_ends_before_its_last,
    empty_buckets_and_series_are_absent,
    the_first_of_two_samples_of_one_time_stays,
    a_repeat_changes_nothing,
    samples_may_come_in_any_order,
    series_are_chosen_by_name_and_labels,
    labels_are_compared_whole,
    more_series_than_a_query_reads_are_an_error,
    a_batch_that_is_too_large_is_an_error,
    there_is_room_for_so_many_series,
    names_are_listed_in_order_and_in_pages,
    keys_are_listed_in_order_and_in_pages,
    values_are_kept_to_the_last_bit,
    compaction_keeps_count_mean_and_extremes,
    compaction_leaves_the_bucket_of_its_end,
    compaction_goes_on_where_it_stopped,
    compaction_does_not_touch_buckets,
    late_samples_are_left_out_and_counted,
    the_horizon_does_not_go_back,
    forgetting_deletes_what_is_older,
    forgetting_goes_in_steps,
    a_series_with_nothing_left_is_gone,
    recorders_at_the_same_time_store_each_sample_once,
]);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let pairs: BTreeMap<_, _> = (pairs.iter())
        .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
        .collect();
    Labels::new(pairs).expect("labels")
}

fn key(name: &str, pairs: &[(&str, &str)]) -> SeriesKey {
    SeriesKey::new(name, labels(pairs)).expect("a series")
}

fn sample(key: &SeriesKey, seconds: i64, value: f64) -> Sample {
    Sample::new(key.clone(), at(seconds), value).expect("a sample")
}

async fn record(h: &TelemetryHarness, samples: Vec<Sample>) -> Recorded {
    h.store.record(samples).await.expect("record")
}

fn stored(count: usize) -> Recorded {
    Recorded {
        stored: count,
        ..Recorded::default()
    }
}

async fn put(h: &TelemetryHarness, key: &SeriesKey, values: &[(i64, f64)]) {
    let samples = values
        .iter()
        .map(|(seconds, value)| sample(key, *seconds, *value))
        .collect();
    assert_eq!(record(h, samples).await, stored(values.len()));
}

fn query(key: &SeriesKey, (from, to): (i64, i64), step: u64) -> RangeQuery {
    RangeQuery::new(key.clone(), (at(from), at(to)), Duration::from_secs(step)).expect("a query")
}

async fn read(h: &TelemetryHarness, key: &SeriesKey, range: (i64, i64), step: u64) -> Vec<Series> {
    h.store.series(&query(key, range, step)).await.expect("series")
}

/// The buckets of the only series.
async fn buckets(h: &TelemetryHarness, key: &SeriesKey, range: (i64, i64), step: u64) -> Vec<Bucket> {
    let mut found = read(h, key, range, step).await;
    assert!(found.len() <= 1, "{found:?}");
    found.pop().map(|series| series.buckets).unwrap_or_default()
}

fn bucket(begin: i64, count: u64, mean: f64, (min, max): (f64, f64), last: f64) -> Bucket {
    Bucket {
        at: at(begin),
        count,
        mean,
        min,
        max,
        last,
    }
}

fn one(begin: i64, value: f64) -> Bucket {
    Bucket::of(at(begin), value)
}

async fn compact(h: &TelemetryHarness, before: i64, into: u64, limit: usize) -> usize {
    let rule = Compaction::new(at(before), Duration::from_secs(into), limit).expect("a rule");
    h.store.compact(rule).await.expect("compact")
}

async fn forget(h: &TelemetryHarness, before: i64, limit: usize) -> usize {
    h.store.forget(at(before), limit).await.expect("forget")
}

/// Samples are summed up in buckets of the query's step, which begin where the query does; oldest first.
pub async fn samples_are_summed_up_in_the_buckets_of_the_query(h: &TelemetryHarness) {
    let a = key("a", &[]);
    put(
        h,
        &a,
        &[(3, 1.0), (12, 5.0), (4, 3.0), (11, 9.0), (8, -1.0), (13, 7.0)],
    )
    .await;
    let from_three = [bucket(3, 5, 17.0 / 5.0, (-1.0, 9.0), 5.0), one(13, 7.0)];
    assert_eq!(buckets(h, &a, (3, 30), 10).await, from_three);
    assert_eq!(
        buckets(h, &a, (0, 30), 10).await,
        [
            bucket(0, 3, 1.0, (-1.0, 3.0), -1.0),
            bucket(10, 3, 7.0, (5.0, 9.0), 7.0)
        ]
    );
}

/// A range has its first moment and not its last.
pub async fn a_range_begins_with_its_first_moment_and_ends_before_its_last(h: &TelemetryHarness) {
    let a = key("a", &[]);
    put(h, &a, &[(9, 1.0), (10, 2.0), (19, 3.0), (20, 4.0)]).await;
    assert_eq!(
        buckets(h, &a, (10, 20), 1).await,
        [one(10, 2.0), one(19, 3.0)],
        "neither 9 nor 20"
    );
}

/// Buckets and series without samples are absent, never zero.
pub async fn empty_buckets_and_series_are_absent(h: &TelemetryHarness) {
    let a = key("a", &[("l", "1")]);
    put(h, &a, &[(0, 1.0), (50, 2.0)]).await;
    put(h, &key("a", &[("l", "2")]), &[(70, 1.0)]).await;
    let a_name = key("a", &[]);
    let found = read(h, &a_name, (0, 60), 10).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].key, a);
    assert_eq!(found[0].buckets, [one(0, 1.0), one(50, 2.0)]);
    assert_eq!(read(h, &a_name, (1, 50), 10).await, []);
    assert_eq!(read(h, &key("b", &[]), (0, 60), 10).await, []);
}

/// Of samples of one series and time the first stays, in one batch as over several.
pub async fn the_first_of_two_samples_of_one_time_stays(h: &TelemetryHarness) {
    let a = key("a", &[]);
    let told = record(h, vec![sample(&a, 1, 1.0), sample(&a, 1, 2.0)]).await;
    assert_eq!(told, stored(1));
    let told = record(h, vec![sample(&a, 1, 3.0), sample(&a, 2, 4.0)]).await;
    assert_eq!(told, stored(1));
    assert_eq!(buckets(h, &a, (0, 10), 1).await, [one(1, 1.0), one(2, 4.0)]);
}

/// A repeated batch stores nothing.
pub async fn a_repeat_changes_nothing(h: &TelemetryHarness) {
    let a = key("a", &[("x", "y")]);
    let batch = vec![
        sample(&a, 1, 1.0),
        sample(&key("b", &[]), 1, 2.0),
        sample(&a, 2, 3.0),
    ];
    assert_eq!(record(h, batch.clone()).await, stored(3));
    assert_eq!(record(h, batch).await, stored(0));
    assert_eq!(record(h, Vec::new()).await, stored(0));
    assert_eq!(
        buckets(h, &a, (0, 10), 10).await,
        [bucket(0, 2, 2.0, (1.0, 3.0), 3.0)]
    );
}

/// Samples may come in any order: the last one is the one that was measured last.
pub async fn samples_may_come_in_any_order(h: &TelemetryHarness) {
    let a = key("a", &[]);
    put(h, &a, &[(5, 5.0)]).await;
    put(h, &a, &[(3, 3.0), (1, 1.0)]).await;
    put(h, &a, &[(4, 7.0)]).await;
    assert_eq!(
        buckets(h, &a, (0, 10), 10).await,
        [bucket(0, 4, 4.0, (1.0, 7.0), 5.0)]
    );
}

/// A query gives the series of its name that have all of its labels, in the order of their labels.
pub async fn series_are_chosen_by_name_and_labels(h: &TelemetryHarness) {
    for (name, pairs) in [
        ("a", &[("kind", "x"), ("node", "2")][..]),
        ("a", &[("kind", "x"), ("node", "1")]),
        ("a", &[("kind", "y"), ("node", "1")]),
        ("a", &[]),
        ("a.b", &[("kind", "x"), ("node", "1")]),
    ] {
        put(h, &key(name, pairs), &[(1, 1.0)]).await;
    }
    let mut found = Vec::new();
    for pairs in [
        &[][..],
        &[("kind", "x")],
        &[("node", "1")],
        &[("kind", "y"), ("node", "1")],
        &[("kind", "z")],
    ] {
        let series = read(h, &key("a", pairs), (0, 10), 10).await;
        found.push(series.into_iter().map(|series| series.key).collect::<Vec<_>>());
    }
    let (x1, x2) = (
        key("a", &[("kind", "x"), ("node", "1")]),
        key("a", &[("kind", "x"), ("node", "2")]),
    );
    let (y1, bare) = (key("a", &[("kind", "y"), ("node", "1")]), key("a", &[]));
    let expected = [
        vec![bare, x1.clone(), x2.clone(), y1.clone()],
        vec![x1.clone(), x2],
        vec![x1, y1.clone()],
        vec![y1],
        vec![],
    ];
    assert_eq!(found, expected);
}

/// Names and values of labels are compared whole and byte by byte, whatever characters they have.
pub async fn labels_are_compared_whole(h: &TelemetryHarness) {
    let odd = [
        ("k", "a"),
        ("k", "ab"),
        ("kk", "a"),
        ("k", "A"),
        ("k", "a=b"),
        ("k", "%"),
        ("k", "_"),
        ("k", "\"\\',{}"),
        ("k", ""),
        ("k", "é"),
        ("k", "e\u{301}"),
    ];
    for pair in odd {
        put(h, &key("a", &[pair]), &[(1, 1.0)]).await;
    }
    for pair in odd {
        let found = read(h, &key("a", &[pair]), (0, 10), 10).await;
        let found: Vec<_> = found.into_iter().map(|series| series.key).collect();
        assert_eq!(found, [key("a", &[pair])]);
    }
}

/// More series than a query reads are an error, and labels that leave few enough are not.
pub async fn more_series_than_a_query_reads_are_an_error(h: &TelemetryHarness) {
    assert!(h.max_series > MAX_SERIES, "the harness must have room");
    let keys: Vec<_> = (0..=MAX_SERIES)
        .map(|number| {
            let parity = (number % 2).to_string();
            key("a", &[("number", &number.to_string()), ("parity", &parity)])
        })
        .collect();
    let samples: Vec<_> = keys.iter().map(|key| sample(key, 1, 1.0)).collect();
    record(h, samples).await;
    let error = h.store.series(&query(&key("a", &[]), (0, 10), 10)).await;
    assert!(matches!(error, Err(TelemetryError::TooManySeries)), "{error:?}");
    let odd = read(h, &key("a", &[("parity", "1")]), (0, 10), 10).await;
    assert_eq!(odd.len(), MAX_SERIES / 2);
}

/// A batch that is too large is an error, and nothing of it is stored.
pub async fn a_batch_that_is_too_large_is_an_error(h: &TelemetryHarness) {
    let a = key("a", &[]);
    let count = i64::try_from(MAX_SAMPLES).expect("a count");
    let mut batch: Vec<_> = (0..=count).map(|second| sample(&a, second, 1.0)).collect();
    let error = h.store.record(batch.clone()).await;
    assert!(matches!(error, Err(TelemetryError::TooManySamples)), "{error:?}");
    assert_eq!(read(h, &a, (0, count + 1), 10).await, []);
    batch.pop();
    assert_eq!(record(h, batch).await, stored(MAX_SAMPLES));
}

/// New series beyond the store's limit are left out and counted; known ones are stored.
pub async fn there_is_room_for_so_many_series(h: &TelemetryHarness) {
    let many: Vec<_> = (0..h.max_series - 1)
        .map(|number| sample(&key("many", &[("n", &number.to_string())]), 1, 1.0))
        .collect();
    for some in many.chunks(MAX_SAMPLES) {
        assert_eq!(record(h, some.to_vec()).await, stored(some.len()));
    }
    let known = key("many", &[("n", "0")]);
    let batch = vec![
        sample(&key("new", &[("n", "1")]), 1, 1.0),
        sample(&key("new", &[("n", "2")]), 1, 1.0),
        sample(&key("new", &[("n", "2")]), 2, 1.0),
        sample(&known, 2, 1.0),
    ];
    let told = Recorded {
        stored: 2,
        without_room: 2,
        ..Recorded::default()
    };
    assert_eq!(record(h, batch).await, told);
    let new = read(h, &key("new", &[]), (0, 10), 10).await;
    assert_eq!(new.len(), 1);
    assert_eq!(
        new[0].key,
        key("new", &[("n", "1")]),
        "the first ones have the room"
    );
    assert_eq!(buckets(h, &known, (0, 10), 1).await.len(), 2);
}

/// Names are listed once each, in order, in pages.
pub async fn names_are_listed_in_order_and_in_pages(h: &TelemetryHarness) {
    for name in ["b", "a.c", "B", "a", "a_c"] {
        for value in ["1", "2"] {
            put(h, &key(name, &[("l", value)]), &[(1, 1.0)]).await;
        }
    }
    let names = async |after, limit| h.store.names(after, limit).await.expect("names");
    assert_eq!(names(None, 10).await, ["B", "a", "a.c", "a_c", "b"]);
    assert_eq!(names(None, 2).await, ["B", "a"]);
    assert_eq!(names(Some("a"), 2).await, ["a.c", "a_c"]);
    assert_eq!(names(Some("a.b"), 10).await, ["a.c", "a_c", "b"]);
    assert_eq!(names(Some("b"), 10).await, [""; 0]);
    assert_eq!(names(None, 0).await, [""; 0]);
}

/// The series of a name that have the labels are listed in order, in pages.
pub async fn keys_are_listed_in_order_and_in_pages(h: &TelemetryHarness) {
    let all = [
        key("a", &[]),
        key("a", &[("k", "1")]),
        key("a", &[("k", "1"), ("l", "1")]),
        key("a", &[("k", "2")]),
        key("a", &[("k1", "0")]),
        key("a", &[("l", "1")]),
    ];
    for key in all.iter().rev() {
        put(h, key, &[(1, 1.0)]).await;
    }
    put(h, &key("b", &[]), &[(1, 1.0)]).await;
    let keys = async |asked: &[(&str, &str)], after: Option<&SeriesKey>, limit| {
        let after = after.map(SeriesKey::labels);
        h.store
            .keys("a", &labels(asked), after, limit)
            .await
            .expect("keys")
    };
    assert_eq!(keys(&[], None, 10).await, all);
    assert_eq!(keys(&[], None, 2).await, all[..2]);
    assert_eq!(keys(&[], Some(&all[1]), 2).await, all[2..4]);
    assert_eq!(keys(&[], Some(&all[5]), 2).await, []);
    assert_eq!(
        keys(&[("k", "1")], Some(&all[0]), 10).await,
        [all[1].clone(), all[2].clone()]
    );
    assert_eq!(
        keys(&[("l", "1")], None, 10).await,
        [all[2].clone(), all[5].clone()]
    );
    assert_eq!(keys(&[], None, 0).await, []);
}

/// Values are kept to the last bit, from the least to the greatest.
pub async fn values_are_kept_to_the_last_bit(h: &TelemetryHarness) {
    let a = key("a", &[]);
    let values = [
        0.1 + 0.2,
        -1e300,
        1e300,
        f64::MIN_POSITIVE,
        -0.0,
        123_456_789_012_345.67,
    ];
    let timed: Vec<_> = (0..).zip(values).collect();
    put(h, &a, &timed).await;
    let found = buckets(h, &a, (0, 10), 1).await;
    let found: Vec<u64> = found.iter().map(|bucket| bucket.mean.to_bits()).collect();
    let told = values.map(|value| if value == 0.0 { 0.0 } else { value });
    assert_eq!(found, told.map(f64::to_bits));
    let extremes = buckets(h, &a, (1, 3), 10).await;
    assert_eq!(extremes, [bucket(1, 2, 0.0, (-1e300, 1e300), 1e300)]);
}

/// Down-sampling keeps count, mean, extremes and last value, and moves samples to the beginning of their bucket.
pub async fn compaction_keeps_count_mean_and_extremes(h: &TelemetryHarness) {
    let (a, b) = (key("a", &[]), key("b", &[]));
    put(h, &a, &[(2, 1.0), (5, 4.0), (9, -2.0), (11, 8.0), (25, 6.0)]).await;
    put(h, &b, &[(5, 2.0)]).await;
    let before = buckets(h, &a, (0, 30), 10).await;
    assert_eq!(compact(h, 20, 10, 100).await, 5);
    assert_eq!(buckets(h, &a, (0, 30), 10).await, before);
    let first = bucket(0, 3, 1.0, (-2.0, 4.0), -2.0);
    assert_eq!(
        buckets(h, &a, (0, 30), 1).await,
        [first, one(10, 8.0), one(25, 6.0)]
    );
    assert_eq!(buckets(h, &b, (0, 30), 1).await, [one(0, 2.0)]);
    let both = bucket(0, 4, 11.0 / 4.0, (-2.0, 8.0), 8.0);
    assert_eq!(
        buckets(h, &a, (0, 20), 20).await,
        [both],
        "buckets are weighed by their counts"
    );
    assert_eq!(
        buckets(h, &a, (1, 10), 10).await,
        [],
        "the bucket begins before the range"
    );
}

/// A bucket that the end of the rule falls into is left as it is.
pub async fn compaction_leaves_the_bucket_of_its_end(h: &TelemetryHarness) {
    let a = key("a", &[]);
    put(h, &a, &[(1, 1.0), (9, 3.0), (11, 5.0), (12, 7.0), (18, 9.0)]).await;
    assert_eq!(compact(h, 15, 10, 100).await, 2);
    let kept = [
        bucket(0, 2, 2.0, (1.0, 3.0), 3.0),
        one(11, 5.0),
        one(12, 7.0),
        one(18, 9.0),
    ];
    assert_eq!(buckets(h, &a, (0, 30), 1).await, kept);
    put(h, &a, &[(13, 1.0)]).await;
}

/// What one call leaves the next one goes on with: the result is as if there had been one.
pub async fn compaction_goes_on_where_it_stopped(h: &TelemetryHarness) {
    let (a, b) = (key("a", &[]), key("b", &[]));
    put(h, &a, &[(1, 1.0), (3, 3.0), (5, 8.0), (7, 0.0), (12, 2.0)]).await;
    put(h, &b, &[(3, 1.0), (5, 5.0)]).await;
    let mut steps = Vec::new();
    for _ in 0..5 {
        steps.push(compact(h, 20, 10, 2).await);
    }
    assert_eq!(steps, [2, 2, 2, 1, 0]);
    assert_eq!(
        buckets(h, &a, (0, 30), 1).await,
        [bucket(0, 4, 3.0, (0.0, 8.0), 0.0), one(10, 2.0)]
    );
    assert_eq!(
        buckets(h, &b, (0, 30), 1).await,
        [bucket(0, 2, 3.0, (1.0, 5.0), 5.0)]
    );
}

/// Buckets are not down-sampled again.
pub async fn compaction_does_not_touch_buckets(h: &TelemetryHarness) {
    let a = key("a", &[]);
    put(h, &a, &[(1, 1.0), (11, 3.0)]).await;
    assert_eq!(compact(h, 20, 10, 100).await, 2);
    assert_eq!(compact(h, 100, 50, 100).await, 0);
    assert_eq!(buckets(h, &a, (0, 100), 1).await, [one(0, 1.0), one(10, 3.0)]);
}

/// Samples from before the horizon are left out and counted, whether it was moved by down-sampling or forgetting: a
/// repeat of what was down-sampled is not counted twice.
pub async fn late_samples_are_left_out_and_counted(h: &TelemetryHarness) {
    let a = key("a", &[]);
    put(h, &a, &[(1, 1.0), (5, 3.0), (15, 5.0)]).await;
    assert_eq!(compact(h, 17, 10, 1).await, 1);
    let late = |stored, late| Recorded {
        stored,
        late,
        ..Recorded::default()
    };
    let batch = vec![sample(&a, 1, 1.0), sample(&a, 9, 7.0), sample(&a, 10, 9.0)];
    assert_eq!(record(h, batch).await, late(1, 2), "the horizon is 10");
    assert_eq!(compact(h, 17, 10, 100).await, 1);
    let whole = [
        bucket(0, 2, 2.0, (1.0, 3.0), 3.0),
        bucket(10, 2, 7.0, (5.0, 9.0), 5.0),
    ];
    assert_eq!(buckets(h, &a, (0, 30), 10).await, whole);
    assert_eq!(forget(h, 13, 100).await, 2);
    let batch = vec![sample(&a, 12, 1.0), sample(&a, 13, 1.0)];
    assert_eq!(record(h, batch).await, late(1, 1));
    let new = vec![sample(&key("new", &[]), 12, 1.0)];
    assert_eq!(record(h, new).await, late(0, 1));
    assert_eq!(
        h.store.names(None, 10).await.expect("names"),
        ["a"],
        "nothing was stored of it"
    );
}

/// The horizon does not go back with a rule that ends earlier.
pub async fn the_horizon_does_not_go_back(h: &TelemetryHarness) {
    let a = key("a", &[]);
    compact(h, 50, 10, 1).await;
    compact(h, 20, 10, 1).await;
    forget(h, 30, 1).await;
    let told = record(h, vec![sample(&a, 49, 1.0), sample(&a, 50, 1.0)]).await;
    assert_eq!((told.stored, told.late), (1, 1));
}

/// Forgetting deletes samples and buckets that begin before a moment, and nothing else.
pub async fn forgetting_deletes_what_is_older(h: &TelemetryHarness) {
    let (a, b) = (key("a", &[]), key("b", &[]));
    put(h, &a, &[(1, 1.0), (11, 2.0), (21, 3.0), (22, 4.0)]).await;
    put(h, &b, &[(2, 1.0), (30, 2.0)]).await;
    assert_eq!(compact(h, 20, 10, 100).await, 3);
    assert_eq!(forget(h, 10, 100).await, 2);
    assert_eq!(
        buckets(h, &a, (0, 40), 1).await,
        [one(10, 2.0), one(21, 3.0), one(22, 4.0)]
    );
    assert_eq!(buckets(h, &b, (0, 40), 1).await, [one(30, 2.0)]);
    assert_eq!(forget(h, 22, 100).await, 2);
    assert_eq!(buckets(h, &a, (0, 40), 1).await, [one(22, 4.0)]);
    assert_eq!(forget(h, 22, 100).await, 0);
}

/// Forgetting deletes no more than it is told to, the oldest first.
pub async fn forgetting_goes_in_steps(h: &TelemetryHarness) {
    let a = key("a", &[]);
    put(h, &a, &[(4, 4.0), (1, 1.0), (3, 3.0), (2, 2.0), (5, 5.0)]).await;
    assert_eq!(forget(h, 5, 3).await, 3);
    assert_eq!(buckets(h, &a, (0, 10), 1).await, [one(4, 4.0), one(5, 5.0)]);
    assert_eq!(forget(h, 5, 3).await, 1);
}

/// A series goes with its last sample, which makes room; one that has something left stays.
pub async fn a_series_with_nothing_left_is_gone(h: &TelemetryHarness) {
    let (a, b) = (key("a", &[]), key("b", &[]));
    put(h, &a, &[(1, 1.0)]).await;
    put(h, &b, &[(1, 1.0), (50, 1.0)]).await;
    assert_eq!(forget(h, 10, 100).await, 2);
    assert_eq!(h.store.names(None, 10).await.expect("names"), ["b"]);
    put(h, &a, &[(60, 2.0)]).await;
    assert_eq!(buckets(h, &a, (0, 100), 100).await, [one(0, 2.0)]);
}

/// Of recorders at the same time, some with the same samples and in other orders, each sample is stored once.
pub async fn recorders_at_the_same_time_store_each_sample_once(h: &TelemetryHarness) {
    let keys: Vec<_> = (0..20).map(|n: u8| key("a", &[("n", &n.to_string())])).collect();
    let batches = (0..6).map(|number| {
        let mut batch: Vec<_> = keys.iter().map(|key| sample(key, number / 2, 1.0)).collect();
        if number % 2 == 0 {
            batch.reverse();
        }
        record(h, batch)
    });
    let told = join_all(batches).await;
    assert_eq!(told.iter().map(|told| told.stored).sum::<usize>(), 60);
    let found = read(h, &key("a", &[]), (0, 10), 10).await;
    assert_eq!(found.len(), 20);
    for series in found {
        assert_eq!(series.buckets, [bucket(0, 3, 1.0, (1.0, 1.0), 1.0)]);
    }
}
