//! Measurements over time.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::model::{Bucket, Labels, Sample, SeriesKey, Timestamp};

/// Keeps samples of named series and answers with buckets of them.
///
/// # Contract
/// - A sample is written once: of samples of one series and one time the first stays, so a repeat changes nothing.
/// - A batch is stored whole or not at all. Samples of new series beyond the store's limit of series are left out and
///   counted; samples of known series never are. Nodes that begin series at the same time may together pass the limit
///   by a few.
/// - A sample from before the horizon, up to which samples were down-sampled or forgotten, is left out and counted: a
///   late repeat is never counted twice.
/// - What was not measured is absent: no bucket is empty, and no value stands for a missing one.
/// - Down-sampling changes no count, no mean but for rounding, no least, greatest or last value; it moves samples to
///   the beginning of their bucket.
/// - No answer is unbounded, and none is cut short unless the method says so.
#[async_trait]
pub trait TelemetryStore: Send + Sync + 'static {
    /// Stores samples, up to [`MAX_SAMPLES`] in one call.
    ///
    /// # Errors
    /// [`TelemetryError::TooManySamples`], and the store's.
    ///
    /// # Cancel safety
    /// Once polled it may commit although the future is dropped; sending it again is safe.
    async fn record(&self, samples: Vec<Sample>) -> Result<Recorded, TelemetryError>;

    /// Names of metrics in their order, after `after`, up to `limit`.
    async fn names(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError>;

    /// The series of a metric that have all of `labels`, in their order, after the labels `after`, up to `limit`.
    async fn keys(
        &self,
        name: &str,
        labels: &Labels,
        after: Option<&Labels>,
        limit: usize,
    ) -> Result<Vec<SeriesKey>, StoreError>;

    /// The series that a query asks for in the order of their labels, each with the buckets that have samples, oldest
    /// first. Series without a sample in the range are absent.
    ///
    /// # Errors
    /// [`TelemetryError::TooManySeries`] when the labels fit more than [`MAX_SERIES`] series, and the store's.
    async fn series(&self, query: &RangeQuery) -> Result<Vec<Series>, TelemetryError>;

    /// Down-samples the oldest samples that a rule fits, up to its limit. Buckets are not down-sampled again.
    ///
    /// # Cancel safety
    /// As for [`Self::record`].
    async fn compact(&self, rule: Compaction) -> Result<usize, StoreError>;

    /// Deletes up to `limit` samples and buckets that begin before `before`, the oldest first, and gives how many.
    /// Series that have nothing left go with them, which makes room.
    ///
    /// # Cancel safety
    /// As for [`Self::record`].
    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError>;
}

/// How many samples one call takes.
pub const MAX_SAMPLES: usize = 10_000;

/// How many series one query reads.
pub const MAX_SERIES: usize = 200;

/// How many buckets a query may ask for per series.
pub const MAX_POINTS: u64 = 11_000;

/// What became of a batch; the rest of it was there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recorded {
    /// How many samples were stored.
    pub stored: usize,
    /// How many came from before the horizon and were left out.
    pub late: usize,
    /// How many belong to series for which there is no room and were left out.
    pub without_room: usize,
}

/// Which samples are summed up how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeQuery {
    name: String,
    labels: Labels,
    from: Timestamp,
    to: Timestamp,
    step_micros: i64,
}

impl RangeQuery {
    /// Samples of a metric with all of `labels` from `from` on and before `to`, in buckets of `step`, the first of
    /// which begins at `from`. What was down-sampled lies at the beginning of its own bucket.
    ///
    /// # Errors
    /// [`InvalidQuery`].
    pub fn new(
        series: SeriesKey,
        (from, to): (Timestamp, Timestamp),
        step: Duration,
    ) -> Result<Self, InvalidQuery> {
        if from.as_micros() < 0 || from >= to {
            return Err(InvalidQuery::Range);
        }
        let step_micros = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        if step_micros == 0 {
            return Err(InvalidQuery::Step);
        }
        let span = to.since(from).as_micros();
        if span.div_ceil(u128::from(step_micros.unsigned_abs())) > u128::from(MAX_POINTS) {
            return Err(InvalidQuery::Points);
        }
        let (name, labels) = series.into_parts();
        Ok(Self {
            name,
            labels,
            from,
            to,
            step_micros,
        })
    }

    /// The name of the metric.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the series must have.
    pub const fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The beginning of the first bucket.
    pub const fn from(&self) -> Timestamp {
        self.from
    }

    /// The end, which is not part of it.
    pub const fn to(&self) -> Timestamp {
        self.to
    }

    /// The length of a bucket in microseconds, at least 1.
    pub const fn step_micros(&self) -> i64 {
        self.step_micros
    }

    /// The beginning of the bucket in which a moment of the range lies.
    pub const fn bucket_of(&self, at: Timestamp) -> Timestamp {
        let from = self.from.as_micros();
        let into = (at.as_micros() - from).rem_euclid(self.step_micros);
        Timestamp::from_micros(at.as_micros() - into)
    }
}

/// Why a query cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidQuery {
    /// The range.
    #[error("the range must begin before it ends, and not before 1970")]
    Range,
    /// The step.
    #[error("the step must be at least 1 µs")]
    Step,
    /// Too many points.
    #[error("the range has more than {MAX_POINTS} steps; take a longer step or a shorter range")]
    Points,
}

/// Buckets of one series.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Which series.
    pub key: SeriesKey,
    /// At least one, oldest first.
    pub buckets: Vec<Bucket>,
}

/// What is down-sampled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compaction {
    before: Timestamp,
    into_micros: i64,
    limit: usize,
}

impl Compaction {
    /// Up to `limit` samples from before `before` become buckets of `into`, which begin at its multiples since 1970.
    /// Samples of a bucket that `before` falls into stay.
    ///
    /// # Errors
    /// [`InvalidQuery::Step`] when `into` is shorter than a microsecond, [`InvalidQuery::Range`] when `before` lies
    /// before 1970.
    pub fn new(before: Timestamp, into: Duration, limit: usize) -> Result<Self, InvalidQuery> {
        let into_micros = i64::try_from(into.as_micros()).unwrap_or(i64::MAX);
        if into_micros == 0 {
            return Err(InvalidQuery::Step);
        }
        if before.as_micros() < 0 {
            return Err(InvalidQuery::Range);
        }
        let before = Timestamp::from_micros(before.as_micros() / into_micros * into_micros);
        Ok(Self {
            before,
            into_micros,
            limit,
        })
    }

    /// The end of the last bucket that is made.
    pub const fn before(&self) -> Timestamp {
        self.before
    }

    /// The length of a bucket in microseconds, at least 1.
    pub const fn into_micros(&self) -> i64 {
        self.into_micros
    }

    /// How many samples may be down-sampled.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// The beginning of the bucket in which a moment lies.
    pub const fn bucket_of(&self, at: Timestamp) -> Timestamp {
        Timestamp::from_micros(at.as_micros() - at.as_micros().rem_euclid(self.into_micros))
    }
}

/// Why samples could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The batch is too large; nothing of it was stored.
    #[error("a batch has up to {MAX_SAMPLES} samples")]
    TooManySamples,
    /// The labels fit too many series.
    #[error("the labels fit more than {MAX_SERIES} series; ask for more labels")]
    TooManySeries,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn query(from: i64, to: i64, step: Duration) -> Result<RangeQuery, InvalidQuery> {
        let series = SeriesKey::new("a", Labels::default()).expect("a series");
        RangeQuery::new(series, (at(from), at(to)), step)
    }

    #[test]
    fn queries_are_bounded() {
        let step = Duration::from_micros(10);
        assert_eq!(query(5, 5, step), Err(InvalidQuery::Range));
        assert_eq!(query(6, 5, step), Err(InvalidQuery::Range));
        assert_eq!(query(-1, 5, step), Err(InvalidQuery::Range));
        assert_eq!(query(0, 5, Duration::from_nanos(999)), Err(InvalidQuery::Step));
        assert!(query(0, 110_000, step).is_ok());
        assert_eq!(query(0, 110_001, step), Err(InvalidQuery::Points));
        assert!(query(0, i64::MAX, Duration::MAX).is_ok());
    }

    #[test]
    fn buckets_begin_where_they_should() {
        let query = query(7, 100, Duration::from_micros(10)).expect("a query");
        for (moment, begin) in [(7, 7), (16, 7), (17, 17), (99, 97)] {
            assert_eq!(query.bucket_of(at(moment)), at(begin), "{moment}");
        }
        let rule = Compaction::new(at(29), Duration::from_micros(10), 1).expect("a rule");
        assert_eq!(rule.before(), at(20));
        assert_eq!((rule.bucket_of(at(19)), rule.bucket_of(at(10))), (at(10), at(10)));
        assert!(Compaction::new(at(-1), Duration::from_secs(1), 1).is_err());
        assert!(Compaction::new(at(1), Duration::ZERO, 1).is_err());
    }
}
