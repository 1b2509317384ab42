//! Rate limits.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;

/// Draws from named buckets, per process or shared.
#[async_trait]
pub trait RateLimiter: Send + Sync + 'static {
    /// Takes from all buckets or from none.
    async fn draw(&self, draws: &[Draw]) -> Result<Drawn, StoreError>;

    /// How many of a bucket could be taken now, whatever `cost` says, as far as this process knows without asking
    /// anybody: a hint for callers, which takes nothing. None for a limit that cannot be kept.
    fn remaining(&self, draw: &Draw) -> Option<u32>;
}

/// What to take from a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draw {
    /// The bucket, such as `submit/principal/<id>`.
    pub bucket: String,
    /// How many are granted per second.
    pub per_second: u32,
    /// How many may be taken at once when the bucket is full.
    pub burst: u32,
    /// How many to take.
    pub cost: u32,
}

/// Whether there was enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drawn {
    /// Taken.
    Allowed,
    /// Nothing was taken.
    Refused {
        /// When the same draw can succeed at the earliest.
        retry_after: Duration,
    },
}
