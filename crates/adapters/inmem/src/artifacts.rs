//! The port `ArtifactStore`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::{Bound, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arbiter_core::model::{Digest, TenantId};
use arbiter_core::ports::{ArtifactError, ArtifactPage, ArtifactStore, ArtifactUsage, ByteSource, Stored};
use async_trait::async_trait;

/// Artifacts in memory, with a quota per tenant.
#[derive(Debug)]
pub struct InMemoryArtifacts {
    quota_bytes: u64,
    kept: Mutex<BTreeMap<TenantId, BTreeMap<Digest, Vec<u8>>>>,
}

impl InMemoryArtifacts {
    /// An empty store in which each tenant may keep `quota_bytes`.
    pub fn new(quota_bytes: u64) -> Self {
        Self {
            quota_bytes,
            kept: Mutex::default(),
        }
    }

    /// Changes one byte of what is kept, as a failing disk does: the first byte of the content is inverted. Gives
    /// false when there is no such artifact, or nothing in it.
    pub fn damage(&self, tenant: TenantId, digest: Digest) -> bool {
        let mut kept = self.kept();
        let content = kept.get_mut(&tenant).and_then(|own| own.get_mut(&digest));
        let first = content.and_then(|content| content.first_mut());
        first.map(|byte| *byte = !*byte).is_some()
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<TenantId, BTreeMap<Digest, Vec<u8>>>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ArtifactStore for InMemoryArtifacts {
    async fn put(
        &self,
        tenant: TenantId,
        source: &mut dyn ByteSource,
        limit_bytes: u64,
    ) -> Result<Stored, ArtifactError> {
        let quota_bytes = self.quota_bytes;
        let mut content = Vec::new();
        while let Some(piece) = source.next().await.map_err(ArtifactError::Source)? {
            content.extend_from_slice(&piece);
            if content.len() as u64 > limit_bytes {
                return Err(ArtifactError::TooLarge { limit_bytes });
            }
            // what is there already costs nothing, which is known only at the end
            if content.len() as u64 > quota_bytes {
                return Err(ArtifactError::QuotaExceeded { quota_bytes });
            }
        }
        let stored = Stored {
            digest: Digest::of(&content),
            size_bytes: content.len() as u64,
        };
        let mut kept = self.kept();
        let own = kept.entry(tenant).or_default();
        let used: u64 = own.values().map(|content| content.len() as u64).sum();
        if let Entry::Vacant(place) = own.entry(stored.digest) {
            if used + stored.size_bytes > quota_bytes {
                return Err(ArtifactError::QuotaExceeded { quota_bytes });
            }
            place.insert(content);
        }
        Ok(stored)
    }

    async fn get(
        &self,
        tenant: TenantId,
        digest: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, ArtifactError> {
        let kept = self.kept();
        let Some(content) = kept.get(&tenant).and_then(|own| own.get(&digest)) else {
            return Ok(None);
        };
        let Some(range) = range else {
            if Digest::of(content) != digest {
                return Err(ArtifactError::Damaged { digest });
            }
            return Ok(Some(content.clone()));
        };
        let bytes = content.get(range.start as usize..range.end as usize);
        let outside = || ArtifactError::Range {
            size_bytes: content.len() as u64,
            range: range.clone(),
        };
        bytes.map(|bytes| Some(bytes.to_vec())).ok_or_else(outside)
    }

    async fn size(&self, tenant: TenantId, digest: Digest) -> Result<Option<u64>, ArtifactError> {
        let kept = self.kept();
        Ok(kept
            .get(&tenant)
            .and_then(|own| own.get(&digest))
            .map(|content| content.len() as u64))
    }

    async fn delete(&self, tenant: TenantId, digest: Digest) -> Result<bool, ArtifactError> {
        let mut kept = self.kept();
        Ok(kept
            .get_mut(&tenant)
            .is_some_and(|own| own.remove(&digest).is_some()))
    }
    async fn list(
        &self,
        tenant: TenantId,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<ArtifactPage, ArtifactError> {
        let limit = limit.clamp(1, 1_000);
        let kept = self.kept();
        let mut page = ArtifactPage::default();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let own = kept
            .get(&tenant)
            .into_iter()
            .flat_map(|own| own.range((from, Bound::Unbounded)));
        for (digest, content) in own {
            if page.artifacts.len() == limit {
                page.next = page.artifacts.last().map(|last| last.digest);
                break;
            }
            page.artifacts.push(Stored {
                digest: *digest,
                size_bytes: content.len() as u64,
            });
        }
        Ok(page)
    }

    async fn usage(&self, tenant: TenantId) -> Result<ArtifactUsage, ArtifactError> {
        let kept = self.kept();
        let own = kept.get(&tenant).into_iter().flat_map(BTreeMap::values);
        Ok(ArtifactUsage {
            used_bytes: own.map(|content| content.len() as u64).sum(),
            quota_bytes: self.quota_bytes,
        })
    }
}
