//! The port `ArtifactStore`.

mod clear;
mod finish;
mod read;
mod upload;

use std::ops::Range;
use std::sync::Arc;

use arbiter_core::model::{Digest, TenantId, TenantScope};
use arbiter_core::ports::{
    ArtifactError, ArtifactPage, ArtifactStore, ArtifactUsage, ByteSource, Spawner, Stored,
};
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sha2::{Digest as _, Sha256};

use crate::error::Fault;
use crate::session::{Session, uuid};
use crate::store::{Core, PostgresStore};
use clear::Cleaner;
pub(crate) use finish::{ADD, USE};
use upload::Upload;
pub(crate) use upload::{CHUNK, CHUNK_BYTES};

/// The group of rows on which a mutation counts tasks; mutations of artifacts count none.
const NO_SHARD: i16 = 0;

/// Artifacts in the tables of a [`PostgresStore`], with a quota per tenant that holds for all nodes together.
///
/// Content is stored in chunks, each in a short transaction of its own, so that a slow source holds no connection. An
/// upload becomes an artifact in the last of them.
///
/// # Cancel safety
/// A put that fails or is dropped is cleared away at once by a task of this handle; when that cannot be, because the
/// process or the server ended, by the next start or upload that comes an hour later, on whatever node. What is deleted
/// stays deleted although the call is dropped.
pub struct PostgresArtifacts {
    core: Arc<Core>,
    cleaner: Cleaner,
    quota_bytes: u64,
}

impl std::fmt::Debug for PostgresArtifacts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresArtifacts")
            .field("quota_bytes", &self.quota_bytes)
            .finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// The store's artifacts, over the same connections. Each tenant may keep `quota_bytes`; all nodes should say the
    /// same. `spawner` runs the task that clears away; it must be of a tokio runtime, and ends with the handle.
    pub fn artifacts(&self, quota_bytes: u64, spawner: &dyn Spawner) -> PostgresArtifacts {
        let cleaner = Cleaner::start(&self.core, spawner);
        cleaner.sweep();
        PostgresArtifacts {
            core: Arc::clone(&self.core),
            cleaner,
            quota_bytes,
        }
    }
}

#[async_trait]
impl ArtifactStore for PostgresArtifacts {
    async fn put(
        &self,
        tenant: TenantId,
        source: &mut dyn ByteSource,
        limit_bytes: u64,
    ) -> Result<Stored, ArtifactError> {
        let quota_bytes = self.quota_bytes;
        let mut upload = Upload::new(&self.core, &self.cleaner, tenant);
        let (mut hash, mut size_bytes) = (Sha256::new(), 0_u64);
        while let Some(piece) = source.next().await.map_err(ArtifactError::Source)? {
            size_bytes = size_bytes.saturating_add(piece.len() as u64);
            if size_bytes > limit_bytes {
                return Err(ArtifactError::TooLarge { limit_bytes });
            }
            // what is there already costs nothing, which is known only at the end
            if size_bytes > quota_bytes {
                return Err(ArtifactError::QuotaExceeded { quota_bytes });
            }
            hash.update(&piece);
            upload.take(&piece).await?;
        }
        let stored = Stored {
            digest: Digest::from_bytes(hash.finalize().into()),
            size_bytes,
        };
        upload.finish(stored, quota_bytes).await
    }

    async fn get(
        &self,
        tenant: TenantId,
        digest: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, ArtifactError> {
        self.read("get an artifact", tenant, move |session| {
            Box::pin(read::content(session, tenant, digest, range))
        })
        .await?
    }

    async fn size(&self, tenant: TenantId, digest: Digest) -> Result<Option<u64>, ArtifactError> {
        self.read("look an artifact up", tenant, move |session| {
            Box::pin(async move {
                let found = read::find(session, tenant, digest).await?;
                Ok(found.map(|found| found.size_bytes))
            })
        })
        .await
    }

    async fn delete(&self, tenant: TenantId, digest: Digest) -> Result<bool, ArtifactError> {
        let deleted = self.core.transact(NO_SHARD, move |write| {
            Box::pin(finish::delete(&write.session, uuid(tenant.as_bytes()), digest))
        });
        let failed = |fault: Fault| fault.into_artifact("delete an artifact");
        let deleted = deleted.await.map_err(failed)?;
        if let Some(upload) = deleted.left {
            // the artifact is gone; what this cannot clear, the next sweep does
            self.cleaner.clear(upload).await;
        }
        Ok(deleted.was_there)
    }

    async fn list(
        &self,
        tenant: TenantId,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<ArtifactPage, ArtifactError> {
        self.read("list artifacts", tenant, move |session| {
            Box::pin(read::page(session, tenant, after, limit.clamp(1, 1_000)))
        })
        .await
    }

    async fn usage(&self, tenant: TenantId) -> Result<ArtifactUsage, ArtifactError> {
        let quota_bytes = self.quota_bytes;
        let used_bytes = self.read("count artifacts", tenant, move |session| {
            Box::pin(read::used(session, tenant))
        });
        Ok(ArtifactUsage {
            used_bytes: used_bytes.await?,
            quota_bytes,
        })
    }
}

impl PostgresArtifacts {
    async fn read<T, F>(&self, operation: &'static str, tenant: TenantId, work: F) -> Result<T, ArtifactError>
    where
        T: Send,
        F: for<'a, 't> FnOnce(&'a Session<'t>) -> BoxFuture<'a, Result<T, Fault>> + Send,
    {
        let read = self.core.read(TenantScope::Tenant(tenant), work).await;
        read.map_err(|fault| fault.into_artifact(operation))
    }
}
