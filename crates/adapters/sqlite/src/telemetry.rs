//! The port `TelemetryStore`.

pub(crate) mod age;
pub(crate) mod read;
mod record;

use arbiter_core::model::{Labels, Sample, SeriesKey, Timestamp};
use arbiter_core::ports::{
    Compaction, MAX_SAMPLES, RangeQuery, Recorded, Series, StoreError, TelemetryError, TelemetryStore,
};
use arbiter_wire::stored::encode_labels;
use async_trait::async_trait;

use crate::number::whole;
use crate::store::SqliteStore;

/// About how much a sample writes.
const SAMPLE_BYTES: usize = 128;

#[async_trait]
impl TelemetryStore for SqliteStore {
    async fn record(&self, samples: Vec<Sample>) -> Result<Recorded, TelemetryError> {
        if samples.len() > MAX_SAMPLES {
            return Err(TelemetryError::TooManySamples);
        }
        let (bytes, max_series) = (samples.len() * SAMPLE_BYTES, self.max_series);
        let done = self.write("record samples", bytes, move |group| {
            record::record(group, &samples, max_series)
        });
        Ok(done.await?)
    }

    async fn names(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let (after, limit) = (after.unwrap_or_default().to_owned(), whole(limit));
        self.read("list names of metrics", move |connection| {
            read::names(connection, &after, limit)
        })
        .await
    }

    async fn keys(
        &self,
        name: &str,
        labels: &Labels,
        after: Option<&Labels>,
        limit: usize,
    ) -> Result<Vec<SeriesKey>, StoreError> {
        let (name, labels) = (name.to_owned(), labels.clone());
        let after = after.map(encode_labels).unwrap_or_default();
        self.read("list series", move |connection| {
            let found = read::keys(connection, (&name, &labels), &after, limit)?;
            Ok(found.into_iter().map(|(_, key)| key).collect())
        })
        .await
    }

    async fn series(&self, query: &RangeQuery) -> Result<Vec<Series>, TelemetryError> {
        let query = query.clone();
        self.read("read series", move |connection| read::series(connection, &query))
            .await?
    }

    async fn compact(&self, rule: Compaction) -> Result<usize, StoreError> {
        let bytes = rule.limit().saturating_mul(SAMPLE_BYTES);
        self.write("down-sample", bytes, move |group| age::compact(group, rule))
            .await
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let bytes = limit.saturating_mul(SAMPLE_BYTES);
        self.write("forget samples", bytes, move |group| {
            age::forget(group, before, limit)
        })
        .await
    }
}
