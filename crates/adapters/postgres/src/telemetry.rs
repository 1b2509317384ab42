//! The port `TelemetryStore`.

mod age;
mod read;
mod record;

use arbiter_core::model::{Labels, Sample, SeriesKey, TenantScope, Timestamp};
use arbiter_core::ports::{
    Compaction, MAX_SAMPLES, RangeQuery, Recorded, Series, StoreError, TelemetryError, TelemetryStore,
};
use async_trait::async_trait;

use crate::store::PostgresStore;

#[async_trait]
impl TelemetryStore for PostgresStore {
    async fn record(&self, samples: Vec<Sample>) -> Result<Recorded, TelemetryError> {
        if samples.len() > MAX_SAMPLES {
            return Err(TelemetryError::TooManySamples);
        }
        let max_series = self.max_series;
        let done = self.write("record samples", move |write| {
            Box::pin(async move { record::record(write, samples, max_series).await })
        });
        Ok(done.await?)
    }

    async fn names(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, StoreError> {
        let after = after.unwrap_or_default().to_owned();
        self.read("list names of metrics", TenantScope::All, move |session| {
            Box::pin(async move { read::names(session, &after, limit).await })
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
        let (name, labels, after) = (name.to_owned(), labels.clone(), after.cloned());
        self.read("list series", TenantScope::All, move |session| {
            Box::pin(async move {
                let found = read::keys(session, (&name, &labels), after.as_ref(), limit).await?;
                Ok(found.into_iter().map(|(_, key)| key).collect())
            })
        })
        .await
    }

    async fn series(&self, query: &RangeQuery) -> Result<Vec<Series>, TelemetryError> {
        let query = query.clone();
        self.read("read series", TenantScope::All, move |session| {
            Box::pin(async move { read::series(session, &query).await })
        })
        .await?
    }

    async fn compact(&self, rule: Compaction) -> Result<usize, StoreError> {
        self.write("down-sample", move |write| {
            Box::pin(async move { age::compact(write, rule).await })
        })
        .await
    }

    async fn forget(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.write("forget samples", move |write| {
            Box::pin(async move { age::forget(write, before, limit).await })
        })
        .await
    }
}
