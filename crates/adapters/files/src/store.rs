//! The artifact store.

use std::collections::HashMap;
use std::io::{ErrorKind, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arbiter_core::model::{Digest, TenantId};
use arbiter_core::ports::{
    ArtifactError, ArtifactPage, ArtifactStore, ArtifactUsage, ByteSource, Retry, Stored,
};
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use tokio::fs;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::sync::Mutex as AsyncMutex;

use crate::layout;

/// How much of a file is copied at once.
const COPY_BYTES: usize = 64 << 10;

/// Artifacts in a folder, with a quota per tenant.
///
/// One process owns the folder. Needs a tokio runtime.
#[derive(Debug)]
pub struct FileArtifacts {
    root: PathBuf,
    quota_bytes: u64,
    /// Bytes in use per tenant, counted at first use. The lock of a tenant is held while a file is put in its place or
    /// removed, so that concurrent calls count each artifact once.
    used: Mutex<HashMap<TenantId, Arc<AsyncMutex<Option<u64>>>>>,
}

impl FileArtifacts {
    /// Opens or makes the folder, and removes what an interrupted run left half-written.
    ///
    /// # Errors
    /// [`ArtifactError::Backend`] when the folder cannot be made or cleaned.
    pub async fn open(root: impl Into<PathBuf>, quota_bytes: u64) -> Result<Self, ArtifactError> {
        let root = root.into();
        let incoming = layout::incoming(&root);
        fs::create_dir_all(&incoming)
            .await
            .map_err(failed("opening the folder"))?;
        let mut left = fs::read_dir(&incoming)
            .await
            .map_err(failed("opening the folder"))?;
        while let Some(entry) = left.next_entry().await.map_err(failed("cleaning the folder"))? {
            fs::remove_file(entry.path())
                .await
                .map_err(failed("cleaning the folder"))?;
        }
        Ok(Self {
            root,
            quota_bytes,
            used: Mutex::default(),
        })
    }

    /// Copies every artifact into a new folder of the same layout. What is put meanwhile may be left out, and so is what
    /// is deleted meanwhile. Gives those whose content does not have its digest any more; they are copied as they are.
    ///
    /// # Errors
    /// [`ArtifactError::Backend`] when something cannot be read or written; the folder is of no use then.
    ///
    /// # Cancel safety
    /// Safe: the folder is then incomplete.
    pub async fn copy_into(&self, target: &Path) -> Result<Vec<(TenantId, Digest)>, ArtifactError> {
        let mut damaged = Vec::new();
        fs::create_dir_all(target)
            .await
            .map_err(failed("copying artifacts"))?;
        for owner in names(&self.root).await? {
            let Ok(tenant) = owner.parse::<TenantId>() else {
                continue;
            };
            let mut after = None;
            loop {
                let page = self.list(tenant, after, 1_000).await?;
                for stored in &page.artifacts {
                    if !self.copy(tenant, stored.digest, target).await? {
                        damaged.push((tenant, stored.digest));
                    }
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(damaged)
    }

    /// Copies one artifact. Gives whether its content has its digest.
    async fn copy(&self, tenant: TenantId, digest: Digest, target: &Path) -> Result<bool, ArtifactError> {
        let source = layout::file(&self.root, tenant, digest);
        let Some(mut from) = absent_is_none(fs::File::open(source).await)? else {
            return Ok(true);
        };
        fs::create_dir_all(layout::folder(target, tenant, digest))
            .await
            .map_err(failed("copying artifacts"))?;
        let mut to = fs::File::create(layout::file(target, tenant, digest))
            .await
            .map_err(failed("copying artifacts"))?;
        let (mut hash, mut piece) = (Sha256::new(), vec![0; COPY_BYTES]);
        loop {
            let read = from.read(&mut piece).await.map_err(failed("copying artifacts"))?;
            let Some(read) = piece.get(..read).filter(|read| !read.is_empty()) else {
                break;
            };
            hash.update(read);
            to.write_all(read).await.map_err(failed("copying artifacts"))?;
        }
        to.sync_all().await.map_err(failed("copying artifacts"))?;
        let found: [u8; 32] = hash.finalize().into();
        Ok(found == *digest.as_bytes())
    }

    fn usage_of(&self, tenant: TenantId) -> Arc<AsyncMutex<Option<u64>>> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(used.entry(tenant).or_default())
    }

    /// Writes the source to a temporary file while hashing it.
    async fn receive(
        &self,
        source: &mut dyn ByteSource,
        limit_bytes: u64,
        available: u64,
    ) -> Result<(tempfile::TempPath, Stored), ArtifactError> {
        let path = tempfile::Builder::new()
            .tempfile_in(layout::incoming(&self.root))
            .map_err(failed("making a file"))?
            .into_temp_path();
        let mut file = fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .await
            .map_err(failed("opening a file"))?;
        let mut hash = Sha256::new();
        let mut size_bytes: u64 = 0;
        while let Some(piece) = source.next().await.map_err(ArtifactError::Source)? {
            size_bytes = size_bytes.saturating_add(piece.len() as u64);
            if size_bytes > limit_bytes {
                return Err(ArtifactError::TooLarge { limit_bytes });
            }
            if size_bytes > available {
                return Err(ArtifactError::QuotaExceeded {
                    quota_bytes: self.quota_bytes,
                });
            }
            hash.update(&piece);
            file.write_all(&piece).await.map_err(failed("writing a file"))?;
        }
        file.sync_all().await.map_err(failed("syncing a file"))?;
        let digest: [u8; 32] = hash.finalize().into();
        Ok((
            path,
            Stored {
                digest: Digest::from_bytes(digest),
                size_bytes,
            },
        ))
    }

    async fn count(&self, tenant: TenantId) -> Result<u64, ArtifactError> {
        let mut total = 0;
        let Some(mut folders) = absent_is_none(fs::read_dir(layout::tenant(&self.root, tenant)).await)?
        else {
            return Ok(0);
        };
        while let Some(folder) = folders.next_entry().await.map_err(failed("counting artifacts"))? {
            let mut files = fs::read_dir(folder.path())
                .await
                .map_err(failed("counting artifacts"))?;
            while let Some(file) = files.next_entry().await.map_err(failed("counting artifacts"))? {
                total += file.metadata().await.map_err(failed("counting artifacts"))?.len();
            }
        }
        Ok(total)
    }
}

#[async_trait]
impl ArtifactStore for FileArtifacts {
    async fn put(
        &self,
        tenant: TenantId,
        source: &mut dyn ByteSource,
        limit_bytes: u64,
    ) -> Result<Stored, ArtifactError> {
        // No more can ever fit than the whole quota; what is in use is known only when the digest is.
        let (path, stored) = self.receive(source, limit_bytes, self.quota_bytes).await?;
        let usage = self.usage_of(tenant);
        let mut used = usage.lock().await;
        let target = layout::file(&self.root, tenant, stored.digest);
        if absent_is_none(fs::metadata(&target).await)?.is_some() {
            return Ok(stored);
        }
        let before = match *used {
            Some(bytes) => bytes,
            None => self.count(tenant).await?,
        };
        *used = Some(before);
        if before.saturating_add(stored.size_bytes) > self.quota_bytes {
            return Err(ArtifactError::QuotaExceeded {
                quota_bytes: self.quota_bytes,
            });
        }
        let folder = layout::folder(&self.root, tenant, stored.digest);
        fs::create_dir_all(&folder)
            .await
            .map_err(failed("making a folder"))?;
        fs::rename(&path, &target)
            .await
            .map_err(failed("placing a file"))?;
        *used = Some(before + stored.size_bytes);
        sync_folders(&folder, &self.root).await?;
        Ok(stored)
    }

    async fn get(
        &self,
        tenant: TenantId,
        digest: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, ArtifactError> {
        let path = layout::file(&self.root, tenant, digest);
        let Some(mut file) = absent_is_none(fs::File::open(path).await)? else {
            return Ok(None);
        };
        let size_bytes = file
            .metadata()
            .await
            .map_err(failed("reading an artifact"))?
            .len();
        let Some(range) = range else {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)
                .await
                .map_err(failed("reading an artifact"))?;
            if Digest::of(&bytes) != digest {
                return Err(ArtifactError::Damaged { digest });
            }
            return Ok(Some(bytes));
        };
        if range.start > range.end || range.end > size_bytes {
            return Err(ArtifactError::Range { range, size_bytes });
        }
        file.seek(SeekFrom::Start(range.start))
            .await
            .map_err(failed("reading an artifact"))?;
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
        file.read_exact(&mut bytes)
            .await
            .map_err(failed("reading an artifact"))?;
        Ok(Some(bytes))
    }

    async fn size(&self, tenant: TenantId, digest: Digest) -> Result<Option<u64>, ArtifactError> {
        let found = fs::metadata(layout::file(&self.root, tenant, digest)).await;
        Ok(absent_is_none(found)?.map(|data| data.len()))
    }

    async fn delete(&self, tenant: TenantId, digest: Digest) -> Result<bool, ArtifactError> {
        let usage = self.usage_of(tenant);
        let mut used = usage.lock().await;
        let path = layout::file(&self.root, tenant, digest);
        let Some(data) = absent_is_none(fs::metadata(&path).await)? else {
            return Ok(false);
        };
        fs::remove_file(&path)
            .await
            .map_err(failed("deleting an artifact"))?;
        *used = used.map(|bytes| bytes.saturating_sub(data.len()));
        if let Some(folder) = path.parent() {
            sync_folders(folder, folder).await?;
        }
        Ok(true)
    }

    async fn list(
        &self,
        tenant: TenantId,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<ArtifactPage, ArtifactError> {
        let limit = limit.clamp(1, 1_000);
        let mut page = ArtifactPage::default();
        let folder = layout::tenant(&self.root, tenant);
        let first = after.map(layout::part);
        // Names are hexadecimal digits of one length: their order is that of the digests.
        for part in names(&folder).await? {
            if first.as_ref().is_some_and(|first| part < *first) {
                continue;
            }
            for name in names(&folder.join(&part)).await? {
                let Ok(digest) = name.parse::<Digest>() else {
                    continue;
                };
                if after.is_some_and(|after| digest <= after) {
                    continue;
                }
                if page.artifacts.len() == limit {
                    page.next = page.artifacts.last().map(|last| last.digest);
                    return Ok(page);
                }
                // What was deleted meanwhile is left out.
                if let Some(size_bytes) = self.size(tenant, digest).await? {
                    page.artifacts.push(Stored { digest, size_bytes });
                }
            }
        }
        Ok(page)
    }

    async fn usage(&self, tenant: TenantId) -> Result<ArtifactUsage, ArtifactError> {
        let usage = self.usage_of(tenant);
        let mut used = usage.lock().await;
        let used_bytes = match *used {
            Some(bytes) => bytes,
            None => self.count(tenant).await?,
        };
        *used = Some(used_bytes);
        Ok(ArtifactUsage {
            used_bytes,
            quota_bytes: self.quota_bytes,
        })
    }
}

/// The names in a folder, in order; none when it is absent.
async fn names(folder: &Path) -> Result<Vec<String>, ArtifactError> {
    let mut names = Vec::new();
    let Some(mut entries) = absent_is_none(fs::read_dir(folder).await)? else {
        return Ok(names);
    };
    while let Some(entry) = entries.next_entry().await.map_err(failed("listing artifacts"))? {
        names.extend(entry.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

/// Makes names durable, from `folder` up to `root`.
async fn sync_folders(folder: &Path, root: &Path) -> Result<(), ArtifactError> {
    let mut next = Some(folder);
    while let Some(folder) = next {
        let handle = fs::File::open(folder).await.map_err(failed("syncing a folder"))?;
        handle.sync_all().await.map_err(failed("syncing a folder"))?;
        next = if folder == root { None } else { folder.parent() };
    }
    Ok(())
}

fn absent_is_none<T>(result: std::io::Result<T>) -> Result<Option<T>, ArtifactError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("looking an artifact up")(error)),
    }
}

fn failed(operation: &'static str) -> impl FnOnce(std::io::Error) -> ArtifactError {
    move |error| ArtifactError::Backend {
        operation,
        retry: retry(error.kind()),
        source: Box::new(error),
    }
}

/// What passes by itself; a folder that is full, read-only or gone does not.
const fn retry(kind: ErrorKind) -> Retry {
    match kind {
        ErrorKind::Interrupted | ErrorKind::ResourceBusy | ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            Retry::Transient
        }
        _ => Retry::Permanent,
    }
}
