//! The port `TelemetryStore`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use arbiter_core::model::{Bucket, Labels, Sample, SeriesKey, Timestamp};
use arbiter_core::ports::{
    Compaction, MAX_SAMPLES, MAX_SERIES, RangeQuery, Recorded, Series, StoreError, TelemetryError,
    TelemetryStore,
};
use async_trait::async_trait;

/// Measurements in memory: the model of the other stores.
#[derive(Debug)]
pub struct InMemoryTelemetry {
    max_series: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    series: BTreeMap<SeriesKey, BTreeMap<Place, Bucket>>,
    horizon: Timestamp,
}

/// When something begins, and how many microseconds it sums up: 0 for a sample.
type Place = (Timestamp, i64);

const SAMPLE: i64 = 0;

impl InMemoryTelemetry {
    /// An empty store with room for `max_series` series.
    pub fn new(max_series: usize) -> Self {
        Self {
            max_series,
            kept: Mutex::default(),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn matching<'a>(&'a self, name: &'a str, labels: &'a Labels) -> impl Iterator<Item = &'a SeriesKey> {
        self.series
            .keys()
            .filter(move |key| key.name() == name && key.labels().include(labels))
    }

    /// The oldest places that fit, with their series.
    fn oldest(&self, limit: usize, fits: impl Fn(&Place) -> bool) -> Vec<(Place, SeriesKey)> {
        let mut found: Vec<_> = (self.series.iter())
            .flat_map(|(key, places)| places.keys().map(move |place| (*place, key)))
            .filter(|(place, _)| fits(place))
            .collect();
        found.sort_unstable();
        found.truncate(limit);
        found
            .into_iter()
            .map(|(place, key)| (place, key.clone()))
            .collect()
    }

    fn take(&mut self, place: Place, key: &SeriesKey) -> Option<Bucket> {
        self.series.get_mut(key)?.remove(&place)
    }
}

#[async_trait]
impl TelemetryStore for InMemoryTelemetry {
    async fn record(&self, samples: Vec<Sample>) -> Result<Recorded, TelemetryError> {
        if samples.len() > MAX_SAMPLES {
            return Err(TelemetryError::TooManySamples);
        }
        let mut kept = self.kept();
        let mut told = Recorded::default();
        for sample in samples {
            if sample.at() < kept.horizon {
                told.late += 1;
                continue;
            }
            if !kept.series.contains_key(sample.series()) && kept.series.len() >= self.max_series {
                told.without_room += 1;
                continue;
            }
            let places = kept.series.entry(sample.series().clone()).or_default();
            places.entry((sample.at(), SAMPLE)).or_insert_with(|| {
                told.stored += 1;
                Bucket::of(sample.at(), sample.value())
            });
        }
        Ok(told)
    }

    async fn names(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let kept = self.kept();
        let mut names: Vec<_> = (kept.series.keys())
            .map(SeriesKey::name)
            .filter(|name| after.is_none_or(|after| *name > after))
            .collect();
        names.dedup();
        Ok(names.into_iter().take(limit).map(str::to_owned).collect())
    }

    async fn keys(
        &self,
        name: &str,
        labels: &Labels,
        after: Option<&Labels>,
        limit: usize,
    ) -> Result<Vec<SeriesKey>, StoreError> {
        let kept = self.kept();
        Ok(kept
            .matching(name, labels)
            .filter(|key| after.is_none_or(|after| key.labels() > after))
            .take(limit)
            .cloned()
            .collect())
    }

    async fn series(&self, query: &RangeQuery) -> Result<Vec<Series>, TelemetryError> {
        let kept = self.kept();
        let keys: Vec<_> = kept.matching(query.name(), query.labels()).collect();
        if keys.len() > MAX_SERIES {
            return Err(TelemetryError::TooManySeries);
        }
        let mut found = Vec::new();
        for key in keys {
            let mut buckets: Vec<Bucket> = Vec::new();
            let range = (query.from(), SAMPLE)..(query.to(), SAMPLE);
            let Some(places) = kept.series.get(key) else {
                continue;
            };
            for ((at, _), part) in places.range(range) {
                let at = query.bucket_of(*at);
                match buckets.last_mut().filter(|last| last.at == at) {
                    Some(last) => last.append(part),
                    None => buckets.push(Bucket { at, ..*part }),
                }
            }
            if !buckets.is_empty() {
                found.push(Series {
                    key: key.clone(),
                    buckets,
                });
            }
        }
        Ok(found)
    }

    async fn compact(&self, rule: Compaction) -> Result<usize, StoreError> {
        let mut kept = self.kept();
        kept.horizon = kept.horizon.max(rule.before());
        let old = kept.oldest(rule.limit(), |(at, span)| *span == SAMPLE && *at < rule.before());
        for (place, key) in &old {
            let Some(sample) = kept.take(*place, key) else {
                continue;
            };
            let at = rule.bucket_of(place.0);
            let places = kept.series.entry(key.clone()).or_default();
            places
                .entry((at, rule.into_micros()))
                .and_modify(|bucket| bucket.append(&sample))
                .or_insert(Bucket { at, ..sample });
        }
        Ok(old.len())
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut kept = self.kept();
        kept.horizon = kept.horizon.max(before);
        let old = kept.oldest(limit, |(at, _)| *at < before);
        for (place, key) in &old {
            kept.take(*place, key);
        }
        kept.series.retain(|_, places| !places.is_empty());
        Ok(old.len())
    }
}
