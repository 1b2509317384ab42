//! Down-samples and forgets old measurements.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{NodeId, Timestamp};
use arbiter_core::ports::{Clock, Compaction, LeaseStore, StoreError, TelemetryStore};
use futures_util::{FutureExt as _, select_biased};

use crate::stop::Stop;

/// The lease of the node whose turn it is.
const LEASE: &str = "telemetry/age";

/// How long a turn lasts: when its node dies, the next one begins so much later. Each step renews it.
const TURN: Duration = Duration::from_secs(60);

/// How often the history is looked through: steps stay short.
const EVERY: Duration = Duration::from_mins(5);

/// The length of a bucket.
const BUCKET: Duration = Duration::from_mins(5);

/// So many samples are down-sampled or forgotten together.
const STEP: usize = 2_000;

/// Keeps the history of measurements bounded, one node at a time.
///
/// The election only saves work: the history is right with any number of nodes that do this at the same time.
#[expect(
    missing_debug_implementations,
    reason = "a bundle of trait objects has nothing to show"
)]
pub struct TelemetryAge {
    /// Keeps the history.
    pub store: Arc<dyn TelemetryStore>,
    /// Says whose turn it is.
    pub leases: Arc<dyn LeaseStore>,
    /// Tells the time, as the store does.
    pub clock: Arc<dyn Clock>,
    /// This node.
    pub node: NodeId,
    /// How long every sample is kept; older ones are summed up in buckets of five minutes.
    pub whole: Duration,
    /// How long anything is kept.
    pub kept: Duration,
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Aged {
    /// How many samples became parts of buckets.
    pub compacted: usize,
    /// How many samples and buckets were deleted.
    pub forgotten: usize,
}

/// One step of a round.
#[derive(Debug, Clone, Copy)]
enum Step {
    Compact(Compaction),
    Forget(Timestamp),
}

impl TelemetryAge {
    /// Runs until told to stop.
    ///
    /// # Cancel safety
    /// Safe: rounds are idempotent.
    pub async fn run(&self, stop: Stop) {
        while !stop.is_stopped() {
            match self.round(&stop).await {
                Ok(aged) if aged != Aged::default() => tracing::debug!(
                    event = "telemetry_aged",
                    compacted = aged.compacted,
                    forgotten = aged.forgotten,
                    "old measurements were summed up or deleted"
                ),
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(event = "telemetry_not_aged", error = %error, "old measurements could not be summed up or deleted; it is tried again");
                }
            }
            let until = self.clock.monotonic() + EVERY;
            select_biased! {
                () = stop.wait().fuse() => {}
                () = self.clock.sleep_until(until).fuse() => {}
            }
        }
    }

    /// Down-samples and forgets all that is old enough now, in bounded steps, unless told to stop or another node is at
    /// it.
    ///
    /// # Errors
    /// The store's; what was done before stays so.
    ///
    /// # Cancel safety
    /// As for [`Self::run`].
    pub async fn round(&self, stop: &Stop) -> Result<Aged, StoreError> {
        let mut aged = Aged::default();
        let now = self.clock.now();
        let done = self.steps(now, stop, &mut aged).await;
        let given_back = self.leases.give_back(LEASE, self.node).await;
        done.and(given_back).map(|()| aged)
    }

    async fn steps(&self, now: Timestamp, stop: &Stop, aged: &mut Aged) -> Result<(), StoreError> {
        // before 1970 there is nothing
        let old = |age| now.minus(age).max(Timestamp::from_micros(0));
        let forget = Step::Forget(old(self.kept));
        let compact = Compaction::new(old(self.whole), BUCKET, STEP)
            .ok()
            .map(Step::Compact);
        // what goes anyway is not summed up before
        for step in [Some(forget), compact].into_iter().flatten() {
            loop {
                if stop.is_stopped() || self.leases.take(LEASE, self.node, TURN).await?.is_none() {
                    return Ok(());
                }
                let (done, sum) = match step {
                    Step::Compact(rule) => (self.store.compact(rule).await?, &mut aged.compacted),
                    Step::Forget(before) => (self.store.forget(before, STEP).await?, &mut aged.forgotten),
                };
                *sum += done;
                if done < STEP {
                    break;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arbiter_adapter_inmem::{InMemoryStore, InMemoryTelemetry};
    use arbiter_core::lifecycle::Rules;
    use arbiter_core::model::{Labels, Sample, SeriesKey};
    use arbiter_core::ports::RangeQuery;
    use arbiter_testkit::builders::node;
    use arbiter_testkit::{ManualClock, SeededEntropy};

    use super::*;
    use crate::Stopper;

    const HOUR: Duration = Duration::from_hours(1);

    struct Setting {
        age: TelemetryAge,
        clock: Arc<ManualClock>,
        leases: Arc<InMemoryStore>,
        start: Timestamp,
    }

    /// One sample each 15 seconds for three hours, up to now.
    async fn setting() -> Setting {
        let clock = Arc::new(ManualClock::new());
        let entropy = Arc::new(SeededEntropy::new(1));
        let leases = Arc::new(InMemoryStore::new(
            Rules::default(),
            Arc::clone(&clock) as _,
            entropy,
        ));
        let store = Arc::new(InMemoryTelemetry::new(10));
        // at the beginning of an hour
        let hour = i64::try_from(HOUR.as_micros()).expect("an hour");
        let start = Timestamp::from_micros((clock.now().as_micros() / hour + 1) * hour);
        clock.advance(start.since(clock.now()));
        let mut samples = Vec::new();
        while clock.now() < start.plus(HOUR * 3) {
            samples.push(Sample::new(series(), clock.now(), 1.0).expect("a sample"));
            clock.advance(Duration::from_secs(15));
        }
        store.record(samples).await.expect("recorded");
        let age = TelemetryAge {
            store,
            leases: Arc::clone(&leases) as _,
            clock: Arc::clone(&clock) as _,
            node: node(1),
            whole: HOUR,
            kept: HOUR * 2,
        };
        Setting {
            age,
            clock,
            leases,
            start,
        }
    }

    fn series() -> SeriesKey {
        SeriesKey::new("a", Labels::default()).expect("a series")
    }

    /// Beginnings, as seconds after the start, and counts of what is kept.
    async fn kept(set: &Setting) -> Vec<(u64, u64)> {
        let range = (set.start, set.start.plus(HOUR * 3));
        let query = RangeQuery::new(series(), range, Duration::from_secs(15)).expect("a query");
        let found = set.age.store.series(&query).await.expect("series");
        let buckets = found.into_iter().flat_map(|series| series.buckets);
        buckets
            .map(|bucket| (bucket.at.since(set.start).as_secs(), bucket.count))
            .collect()
    }

    #[tokio::test]
    async fn old_samples_become_buckets_and_older_ones_go() {
        let set = setting().await;
        let (_stopper, stop) = running();
        let aged = set.age.round(&stop).await.expect("a round");
        assert_eq!((aged.forgotten, aged.compacted), (240, 240));
        let buckets = (0..12).map(|number| (3600 + number * 300, 20));
        let samples = (0..240).map(|number| (7200 + number * 15, 1));
        assert_eq!(kept(&set).await, buckets.chain(samples).collect::<Vec<_>>());
        assert_eq!(set.age.round(&stop).await.expect("a round"), Aged::default());
    }

    #[tokio::test]
    async fn one_node_at_a_time_does_it() {
        let set = setting().await;
        let (_stopper, stop) = running();
        let taken = set.leases.take(LEASE, node(2), TURN).await.expect("take");
        assert!(taken.is_some());
        assert_eq!(set.age.round(&stop).await.expect("a round"), Aged::default());
        assert_eq!(kept(&set).await.len(), 720);
        set.clock.advance(TURN);
        assert_ne!(set.age.round(&stop).await.expect("a round"), Aged::default());
        let free = set.leases.take(LEASE, node(2), TURN).await.expect("take");
        assert!(free.is_some(), "the turn was given back");
    }

    #[tokio::test]
    async fn a_stopped_round_does_nothing_more() {
        let set = setting().await;
        let (stopper, stop) = running();
        stopper.stop();
        assert_eq!(set.age.round(&stop).await.expect("a round"), Aged::default());
        assert_eq!(kept(&set).await.len(), 720);
    }

    fn running() -> (Stopper, Stop) {
        let stopper = Stopper::default();
        let stop = stopper.signal();
        (stopper, stop)
    }
}
