//! Artifacts: content by digest.

use std::ops::Range;

use async_trait::async_trait;

use super::{BoxError, Retry};
use crate::model::{Digest, TenantId};

/// Keeps content by its SHA-256, per tenant: equal content of two tenants is kept twice, so that nobody can probe
/// for what another tenant has.
///
/// # Contract
/// - What `put` answered is durable and complete; a put that fails or is dropped leaves nothing behind.
/// - Content is checked against its digest when it is read whole, and damage is an error.
/// - Putting what is there already is cheap and gives the same answer.
#[async_trait]
pub trait ArtifactStore: Send + Sync + 'static {
    /// Stores the bytes of `source`. Refused as soon as it goes over the tenant's quota or over `limit_bytes`.
    async fn put(
        &self,
        tenant: TenantId,
        source: &mut dyn ByteSource,
        limit_bytes: u64,
    ) -> Result<Stored, ArtifactError>;

    /// Bytes of an artifact: all of them, or a range (which must lie inside). `None` when it is absent.
    async fn get(
        &self,
        tenant: TenantId,
        digest: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, ArtifactError>;

    /// The size of an artifact. `None` when it is absent.
    async fn size(&self, tenant: TenantId, digest: Digest) -> Result<Option<u64>, ArtifactError>;

    /// Deletes an artifact. Gives false when it was absent.
    async fn delete(&self, tenant: TenantId, digest: Digest) -> Result<bool, ArtifactError>;

    /// A page of a tenant's artifacts in the order of their digests: those after `after`, at most `limit` (1–1000).
    /// What is there from the first page to the last one is given once.
    async fn list(
        &self,
        tenant: TenantId,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<ArtifactPage, ArtifactError>;

    /// How much of its quota a tenant uses.
    async fn usage(&self, tenant: TenantId) -> Result<ArtifactUsage, ArtifactError>;
}

/// A page of artifacts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ArtifactPage {
    /// The artifacts, by digest.
    pub artifacts: Vec<Stored>,
    /// Where to go on, if there may be more.
    pub next: Option<Digest>,
}

/// How much of its quota a tenant uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArtifactUsage {
    /// Bytes in use.
    pub used_bytes: u64,
    /// Bytes that it may use.
    pub quota_bytes: u64,
}

/// Gives bytes piece by piece.
#[async_trait]
pub trait ByteSource: Send {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BoxError>;
}

/// Bytes in memory as a source of one piece.
#[derive(Debug)]
pub struct Bytes(Option<Vec<u8>>);

impl Bytes {
    /// A source that gives `bytes`.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Some(bytes.into()))
    }
}

#[async_trait]
impl ByteSource for Bytes {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(self.0.take())
    }
}

/// A stored artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub size_bytes: u64,
}

/// Why an artifact could not be stored or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// It is larger than allowed.
    #[error("the artifact is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// The tenant's quota is used up.
    #[error("the tenant may keep {quota_bytes} bytes of artifacts, which this one would exceed")]
    QuotaExceeded {
        /// The quota.
        quota_bytes: u64,
    },
    /// The range does not lie inside the artifact.
    #[error("the range {}..{} does not lie inside the artifact of {size_bytes} bytes", range.start, range.end)]
    Range {
        /// What was asked.
        range: Range<u64>,
        /// What there is.
        size_bytes: u64,
    },
    /// What is stored does not have the digest under which it is stored.
    #[error("the artifact `{digest}` is damaged: its content has another digest")]
    Damaged {
        /// The digest that it should have.
        digest: Digest,
    },
    /// The source of the bytes failed.
    #[error("the artifact's content could not be read")]
    Source(#[source] BoxError),
    /// The backend failed.
    #[error("the artifact store failed during {operation}")]
    Backend {
        /// What was being done.
        operation: &'static str,
        /// Whether trying again can help.
        retry: Retry,
        /// Why.
        source: BoxError,
    },
}
