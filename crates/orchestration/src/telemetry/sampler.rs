//! Writes what this node measures into the history, again and again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{InvalidSample, Labels, Sample, SeriesKey, Timestamp};
use arbiter_core::ports::{
    Clock, MAX_SAMPLES, Measurements, Metrics, Reading, Recorded, TelemetryError, TelemetryStore,
};
use futures_util::{FutureExt as _, select_biased};

use crate::stop::Stop;

/// The label that tells nodes apart.
const NODE: &str = "node";

/// Samples measurements. A sample that cannot be stored is counted and never tried again: the next one follows soon.
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct TelemetrySampler {
    /// What is measured of this node: its series have the label `node`.
    pub source: Arc<dyn Measurements>,
    /// What is measured of all nodes together, if anything: each node adds to the same series, so they go on over
    /// restarts.
    pub common: Option<Arc<dyn Measurements>>,
    /// Keeps the history.
    pub store: Arc<dyn TelemetryStore>,
    /// Tells the time, as the store does.
    pub clock: Arc<dyn Clock>,
    /// Takes measurements of this.
    pub metrics: Arc<dyn Metrics>,
    /// What series of this node have in their label `node`.
    pub node: String,
    /// How often measurements are read.
    pub every: Duration,
}

impl TelemetrySampler {
    /// Runs until told to stop. Rounds that a slow store made late are left out, not made up for.
    ///
    /// # Cancel safety
    /// Safe: a round that is dropped may be stored or not.
    pub async fn run(&self, stop: Stop) {
        while !stop.is_stopped() {
            let until = self.clock.monotonic() + self.every;
            if let Err(error) = self.round().await {
                tracing::warn!(event = "samples_lost", error = %error, "measurements could not be added to their history; the next ones are");
            }
            select_biased! {
                () = stop.wait().fuse() => {}
                () = self.clock.sleep_until(until).fuse() => {}
            }
        }
        // What was measured since the last round.
        if let Err(error) = self.round().await {
            tracing::warn!(event = "samples_lost", error = %error, "the last measurements could not be added to their history");
        }
    }

    /// Reads every measurement once and stores it.
    ///
    /// # Errors
    /// The store's: what it refused is counted as lost, and the rest of the round was tried all the same.
    ///
    /// # Cancel safety
    /// As for [`Self::run`].
    pub async fn round(&self) -> Result<Recorded, TelemetryError> {
        let now = self.clock.now();
        let mut samples = Vec::new();
        let mut invalid = 0;
        let own = self.source.readings().into_iter().map(|mut reading| {
            reading.labels.push((NODE.to_owned(), self.node.clone()));
            reading
        });
        let common = self.common.iter().flat_map(|source| source.readings());
        for reading in own.chain(common) {
            match sample(reading, now) {
                Ok(sample) => samples.push(sample),
                Err(_) => invalid += 1,
            }
        }
        self.tell("invalid", invalid);
        let (mut told, mut failed) = (Recorded::default(), None);
        for batch in samples.chunks(MAX_SAMPLES) {
            match self.store.record(batch.to_vec()).await {
                Ok(recorded) => {
                    told.stored += recorded.stored;
                    told.late += recorded.late;
                    told.without_room += recorded.without_room;
                }
                Err(error) => {
                    self.tell("lost", batch.len());
                    failed = Some(error);
                }
            }
        }
        self.tell("stored", told.stored);
        self.tell("late", told.late);
        self.tell("without_room", told.without_room);
        failed.map_or(Ok(told), Err)
    }

    fn tell(&self, outcome: &str, count: usize) {
        if count > 0 {
            self.metrics
                .count("telemetry.samples_total", &[("outcome", outcome)], count as u64);
        }
    }
}

fn sample(reading: Reading, now: Timestamp) -> Result<Sample, InvalidSample> {
    let labels: BTreeMap<_, _> = reading.labels.into_iter().collect();
    let series = SeriesKey::new(reading.name, Labels::new(labels)?)?;
    Sample::new(series, now, reading.value)
}

#[cfg(test)]
mod tests {
    use arbiter_adapter_inmem::InMemoryTelemetry;
    use arbiter_core::ports::RangeQuery;
    use arbiter_testkit::{ManualClock, RecordingMetrics};

    use super::*;

    struct Fixed(Vec<Reading>);

    impl Measurements for Fixed {
        fn readings(&self) -> Vec<Reading> {
            self.0.clone()
        }
    }

    fn reading(name: &str, value: f64) -> Reading {
        Reading {
            name: name.to_owned(),
            labels: vec![("kind".to_owned(), "x".to_owned())],
            value,
        }
    }

    struct Setting {
        sampler: TelemetrySampler,
        clock: Arc<ManualClock>,
        metrics: Arc<RecordingMetrics>,
    }

    fn setting(readings: Vec<Reading>, max_series: usize) -> Setting {
        let clock = Arc::new(ManualClock::new());
        let metrics = Arc::new(RecordingMetrics::new());
        let sampler = TelemetrySampler {
            source: Arc::new(Fixed(readings)),
            common: None,
            store: Arc::new(InMemoryTelemetry::new(max_series)),
            clock: Arc::clone(&clock) as _,
            metrics: Arc::clone(&metrics) as _,
            node: "n1".to_owned(),
            every: Duration::from_secs(15),
        };
        Setting {
            sampler,
            clock,
            metrics,
        }
    }

    #[tokio::test]
    async fn each_round_adds_a_sample_of_each_measurement_with_its_node() {
        let set = setting(vec![reading("a_total", 3.0), reading("b", 0.5)], 10);
        let from = set.clock.now();
        for _ in 0..3 {
            set.sampler.round().await.expect("stored");
            set.clock.advance(Duration::from_secs(15));
        }
        let labels = Labels::new([("node".to_owned(), "n1".to_owned())].into()).expect("labels");
        for (name, value) in [("a_total", 3.0), ("b", 0.5)] {
            let series = SeriesKey::new(name, labels.clone()).expect("a series");
            let query = RangeQuery::new(series, (from, set.clock.now()), Duration::from_secs(15));
            let found = set
                .sampler
                .store
                .series(&query.expect("a query"))
                .await
                .expect("series");
            assert_eq!(found.len(), 1);
            assert_eq!(found[0].key.labels().get("kind"), Some("x"));
            let values: Vec<_> = found[0].buckets.iter().map(|bucket| bucket.last).collect();
            assert_eq!(values, [value; 3]);
        }
        let stored = set
            .metrics
            .counter("telemetry.samples_total", &[("outcome", "stored")]);
        assert_eq!(stored, 6);
    }

    #[tokio::test]
    async fn what_has_no_place_is_counted_and_hinders_nothing() {
        let readings = vec![
            reading("a", 1.0),
            reading("not a name", 1.0),
            reading("b", f64::NAN),
            reading("c", 1.0),
        ];
        let set = setting(readings, 1);
        let told = set.sampler.round().await.expect("stored");
        assert_eq!((told.stored, told.without_room), (1, 1));
        for (outcome, count) in [("invalid", 2), ("without_room", 1), ("stored", 1), ("lost", 0)] {
            let counted = set
                .metrics
                .counter("telemetry.samples_total", &[("outcome", outcome)]);
            assert_eq!(counted, count, "{outcome}");
        }
    }
}
