//! Compares two telemetry stores over random operations: the same operations must get the same answers.

use std::time::Duration;

use arbiter_core::model::{Labels, Sample, SeriesKey, Timestamp};
use arbiter_core::ports::{Compaction, RangeQuery, Series, TelemetryStore};
use proptest::prelude::*;

use super::TelemetryHarness;

/// How many seconds there are. Few, so that samples meet.
const SECONDS: i64 = 60;

/// One operation on both stores.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Records samples of series by number, at a second, with a value.
    Record(Vec<(u8, i64, i32)>),
    /// Reads a range, begun at a second and some seconds long, in steps.
    Series(i64, i64, u64),
    /// Down-samples what is older than a second, into buckets, in steps of so many.
    Compact(i64, u64, usize),
    /// Forgets what is older than a second, in steps of so many.
    Forget(i64, usize),
}

/// Up to `most` operations.
pub fn operations(most: usize) -> impl Strategy<Value = Vec<Operation>> {
    let sample = (0..4_u8, 0..SECONDS, -100..100_i32);
    let operation = prop_oneof![
        4 => prop::collection::vec(sample, 1..20).prop_map(Operation::Record),
        4 => (0..SECONDS, 1..SECONDS, 1..30_u64).prop_map(|(from, long, step)| Operation::Series(from, long, step)),
        1 => (0..SECONDS, 1..15_u64, 1..8_usize).prop_map(|(before, into, limit)| Operation::Compact(before, into, limit)),
        1 => (0..SECONDS / 2, 1..8_usize).prop_map(|(before, limit)| Operation::Forget(before, limit)),
    ];
    prop::collection::vec(operation, 1..most)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// Four series of two names.
fn key(number: u8) -> SeriesKey {
    let name = if number < 2 { "a" } else { "b" };
    let labels = [("l".to_owned(), (number % 2).to_string())].into();
    SeriesKey::new(name, Labels::new(labels).expect("labels")).expect("a series")
}

/// Does the operations on both.
///
/// # Errors
/// What differed.
pub async fn compare(
    tested: &TelemetryHarness,
    model: &TelemetryHarness,
    operations: &[Operation],
) -> Result<(), TestCaseError> {
    for operation in operations {
        let (left, right) = (&*tested.store, &*model.store);
        match operation {
            Operation::Record(samples) => {
                let samples: Vec<_> = (samples.iter())
                    .map(|(number, second, value)| {
                        Sample::new(key(*number), at(*second), f64::from(*value)).expect("a sample")
                    })
                    .collect();
                let told = left.record(samples.clone()).await.expect("record");
                prop_assert_eq!(told, right.record(samples).await.expect("record"));
            }
            Operation::Series(from, long, step) => {
                for name in ["a", "b"] {
                    let key = SeriesKey::new(name, Labels::default()).expect("a series");
                    let range = (at(*from), at(from + long));
                    let query = RangeQuery::new(key, range, Duration::from_secs(*step)).expect("a query");
                    let found = left.series(&query).await.expect("series");
                    same(&found, &right.series(&query).await.expect("series"))?;
                }
            }
            Operation::Compact(before, into, limit) => {
                let rule = Compaction::new(at(*before), Duration::from_secs(*into), *limit).expect("a rule");
                prop_assert_eq!(compact(left, rule).await, compact(right, rule).await);
            }
            Operation::Forget(before, limit) => {
                let (before, limit) = (at(*before), *limit);
                prop_assert_eq!(
                    forget(left, before, limit).await,
                    forget(right, before, limit).await
                );
            }
        }
        let names = left.names(None, 10).await.expect("names");
        prop_assert_eq!(names, right.names(None, 10).await.expect("names"));
    }
    Ok(())
}

async fn compact(store: &dyn TelemetryStore, rule: Compaction) -> Vec<usize> {
    let mut steps = Vec::new();
    loop {
        let done = store.compact(rule).await.expect("compact");
        steps.push(done);
        if done < rule.limit() {
            return steps;
        }
    }
}

async fn forget(store: &dyn TelemetryStore, before: Timestamp, limit: usize) -> Vec<usize> {
    let mut steps = Vec::new();
    loop {
        let done = store.forget(before, limit).await.expect("forget");
        steps.push(done);
        if done < limit {
            return steps;
        }
    }
}

/// Means may be rounded otherwise; everything else is the same.
fn same(left: &[Series], right: &[Series]) -> Result<(), TestCaseError> {
    prop_assert_eq!(left.len(), right.len());
    for (left, right) in left.iter().zip(right) {
        prop_assert_eq!(&left.key, &right.key);
        prop_assert_eq!(left.buckets.len(), right.buckets.len());
        for (left, right) in left.buckets.iter().zip(&right.buckets) {
            prop_assert!((left.mean - right.mean).abs() < 1e-9, "{left:?} {right:?}");
            let mut rounded = *left;
            rounded.mean = right.mean;
            prop_assert_eq!(&rounded, right);
        }
    }
    Ok(())
}
