//! One decorator per port.

use std::ops::Range;
use std::sync::Arc;

use arbiter_core::model::{Digest, TenantId};
use arbiter_core::ports::{
    ArtifactError, ArtifactPage, ArtifactStore, ArtifactUsage, ByteSource, Retry, Stored,
};
use async_trait::async_trait;

use crate::error::Stopped;
use crate::guard::Guard;

/// A port whose every call goes through a guard.
#[derive(Debug)]
pub struct Guarded<P> {
    inner: P,
    guard: Arc<Guard>,
}

impl<P> Guarded<P> {
    /// Puts `guard` around `inner`.
    pub const fn new(inner: P, guard: Arc<Guard>) -> Self {
        Self { inner, guard }
    }

    /// The guard.
    pub const fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }
}

/// Reads and deletions are repeated; `put` is not, because its source gives its bytes once. A deletion that took effect
/// although its answer was lost answers false when it is repeated.
#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl ArtifactStore for Guarded<Arc<dyn ArtifactStore>> {
    async fn put(
        &self,
        tenant: TenantId,
        source: &mut dyn ByteSource,
        limit_bytes: u64,
    ) -> Result<Stored, ArtifactError> {
        const OPERATION: &str = "artifact_store.put";
        let result = self
            .guard
            .once(OPERATION, self.inner.put(tenant, source, limit_bytes));
        result
            .await
            .map_err(|error| error.flatten(|stopped| failed(OPERATION, stopped)))
    }

    async fn get(
        &self,
        tenant: TenantId,
        digest: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, ArtifactError> {
        const OPERATION: &str = "artifact_store.get";
        let attempt = || self.inner.get(tenant, digest, range.clone());
        let result = self.guard.call(OPERATION, attempt).await;
        result.map_err(|error| error.flatten(|stopped| failed(OPERATION, stopped)))
    }

    async fn size(&self, tenant: TenantId, digest: Digest) -> Result<Option<u64>, ArtifactError> {
        const OPERATION: &str = "artifact_store.size";
        let attempt = || self.inner.size(tenant, digest);
        let result = self.guard.call(OPERATION, attempt).await;
        result.map_err(|error| error.flatten(|stopped| failed(OPERATION, stopped)))
    }

    async fn delete(&self, tenant: TenantId, digest: Digest) -> Result<bool, ArtifactError> {
        const OPERATION: &str = "artifact_store.delete";
        let attempt = || self.inner.delete(tenant, digest);
        let result = self.guard.call(OPERATION, attempt).await;
        result.map_err(|error| error.flatten(|stopped| failed(OPERATION, stopped)))
    }

    async fn list(
        &self,
        tenant: TenantId,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<ArtifactPage, ArtifactError> {
        const OPERATION: &str = "artifact_store.list";
        let attempt = || self.inner.list(tenant, after, limit);
        let result = self.guard.call(OPERATION, attempt).await;
        result.map_err(|error| error.flatten(|stopped| failed(OPERATION, stopped)))
    }

    async fn usage(&self, tenant: TenantId) -> Result<ArtifactUsage, ArtifactError> {
        const OPERATION: &str = "artifact_store.usage";
        let attempt = || self.inner.usage(tenant);
        let result = self.guard.call(OPERATION, attempt).await;
        result.map_err(|error| error.flatten(|stopped| failed(OPERATION, stopped)))
    }
}

fn failed(operation: &'static str, stopped: Stopped) -> ArtifactError {
    ArtifactError::Backend {
        operation,
        retry: Retry::Transient,
        source: Box::new(stopped),
    }
}
