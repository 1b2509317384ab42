//! The artifacts of a server.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::ops::Range;
use std::sync::Arc;

use arbiter_core::model::{Digest, InvalidDigest, TenantId};
use arbiter_core::ports::{
    ArtifactError, ArtifactPage, ArtifactStore, ArtifactUsage, BoxError, ByteSource, Retry, Stored,
};
use arbiter_net::Content;
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

use crate::client::Client;
use crate::error::ClientError;

/// The most files of one page.
const MOST_AT_ONCE: usize = 1_000;
const PIECE_BYTES: usize = 64 << 10;

/// Files that a server keeps for the tenant of the client's key. The tenant that calls name is that one: the server keeps
/// no others for this key.
#[derive(Debug, Clone)]
pub struct RemoteArtifacts {
    client: Client,
}

impl RemoteArtifacts {
    /// The files that this client may see.
    pub const fn new(client: Client) -> Self {
        Self { client }
    }
}

#[async_trait]
impl ArtifactStore for RemoteArtifacts {
    /// The content is kept in a temporary file meanwhile: its digest must be known before its first byte is sent, and each
    /// attempt sends it from its beginning.
    async fn put(
        &self,
        _: TenantId,
        source: &mut dyn ByteSource,
        limit_bytes: u64,
    ) -> Result<Stored, ArtifactError> {
        let spooled = Spooled::take(source, limit_bytes).await?;
        let (digest, size_bytes) = (spooled.digest, spooled.size_bytes);
        let stored = self.client.artifact_put_content(digest, Arc::new(spooled)).await;
        match stored {
            Ok(_) => Ok(Stored { digest, size_bytes }),
            // The server does not say which of its limits it was.
            Err(error) if error.code() == "too_large" => Err(ArtifactError::TooLarge {
                limit_bytes: limit_bytes.min(size_bytes.saturating_sub(1)),
            }),
            Err(error) => Err(failed("storing a file", error)),
        }
    }

    async fn get(
        &self,
        _: TenantId,
        digest: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Option<Vec<u8>>, ArtifactError> {
        const READING: &str = "reading a file";
        let Some(range) = range else {
            return self
                .client
                .artifact_get(digest)
                .await
                .map_err(|error| failed(READING, error));
        };
        let Some(size_bytes) = self.size(TenantId::SYSTEM, digest).await? else {
            return Ok(None);
        };
        if range.start > range.end || range.end > size_bytes {
            return Err(ArtifactError::Range { range, size_bytes });
        }
        let mut bytes = Vec::new();
        let mut from = range.start;
        while from < range.end {
            let part = self.client.artifact_part(digest, from, range.end - from);
            match part.await.map_err(|error| failed(READING, error))? {
                Some((piece, _)) if !piece.is_empty() => {
                    let wanted = piece.len().min((range.end - from) as usize);
                    bytes.extend_from_slice(&piece[..wanted]);
                    from += wanted as u64;
                }
                Some(_) => return Err(ArtifactError::Damaged { digest }),
                None => return Ok(None),
            }
        }
        Ok(Some(bytes))
    }

    async fn size(&self, _: TenantId, digest: Digest) -> Result<Option<u64>, ArtifactError> {
        let part = self.client.artifact_part(digest, 0, 1).await;
        let part = part.map_err(|error| failed("measuring a file", error))?;
        Ok(part.map(|(_, size_bytes)| size_bytes))
    }

    /// The server's own cursors are for callers that go through all of them: here each page reads the list from its
    /// beginning.
    async fn list(
        &self,
        _: TenantId,
        after: Option<Digest>,
        limit: usize,
    ) -> Result<ArtifactPage, ArtifactError> {
        const LISTING: &str = "listing files";
        let (mut artifacts, mut cursor) = (Vec::new(), None);
        loop {
            let page = self.client.artifact_list(cursor, Some(MOST_AT_ONCE)).await;
            let page = page.map_err(|error| failed(LISTING, error))?;
            for view in page.artifacts {
                let digest = view
                    .digest
                    .parse()
                    .map_err(|error: InvalidDigest| ArtifactError::Backend {
                        operation: LISTING,
                        retry: Retry::Permanent,
                        source: error.into(),
                    })?;
                if after.is_none_or(|after| digest > after) {
                    artifacts.push(Stored {
                        digest,
                        size_bytes: view.size_bytes,
                    });
                }
            }
            cursor = page.next;
            if artifacts.len() > limit || cursor.is_none() {
                break;
            }
        }
        let more = artifacts.len() > limit;
        artifacts.truncate(limit);
        let next = artifacts.last().map(|last| last.digest).filter(|_| more);
        Ok(ArtifactPage { artifacts, next })
    }

    async fn usage(&self, _: TenantId) -> Result<ArtifactUsage, ArtifactError> {
        let quota = self.client.artifact_quota().await;
        let quota = quota.map_err(|error| failed("reading the quota", error))?;
        Ok(ArtifactUsage {
            used_bytes: quota.used_bytes,
            quota_bytes: quota.quota_bytes,
        })
    }

    async fn delete(&self, _: TenantId, digest: Digest) -> Result<bool, ArtifactError> {
        match self.client.artifact_delete(digest).await {
            Ok(()) => Ok(true),
            Err(error) if error.code() == "not_found" => Ok(false),
            Err(error) => Err(failed("deleting a file", error)),
        }
    }
}

fn failed(operation: &'static str, error: ClientError) -> ArtifactError {
    if let ClientError::Damaged { expected } = error {
        return ArtifactError::Damaged { digest: expected };
    }
    let retry = if error.is_transient() {
        Retry::Transient
    } else {
        Retry::Permanent
    };
    ArtifactError::Backend {
        operation,
        retry,
        source: Box::new(error),
    }
}

/// Content in a temporary file, which is gone when this is dropped.
struct Spooled {
    file: NamedTempFile,
    digest: Digest,
    size_bytes: u64,
}

impl Spooled {
    async fn take(source: &mut dyn ByteSource, limit_bytes: u64) -> Result<Self, ArtifactError> {
        let unwritable = |error: std::io::Error| ArtifactError::Backend {
            operation: "keeping a file for its way",
            retry: Retry::Permanent,
            source: error.into(),
        };
        let mut file = NamedTempFile::new().map_err(unwritable)?;
        let (mut hash, mut size_bytes) = (Sha256::new(), 0);
        while let Some(piece) = source.next().await.map_err(ArtifactError::Source)? {
            size_bytes += piece.len() as u64;
            if size_bytes > limit_bytes {
                return Err(ArtifactError::TooLarge { limit_bytes });
            }
            hash.update(&piece);
            file.write_all(&piece).map_err(unwritable)?;
        }
        file.flush().map_err(unwritable)?;
        Ok(Self {
            file,
            digest: Digest::from_bytes(hash.finalize().into()),
            size_bytes,
        })
    }
}

impl Content for Spooled {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn open(&self) -> Result<Box<dyn ByteSource>, BoxError> {
        Ok(Box::new(Pieces(self.file.reopen()?)))
    }
}

struct Pieces(File);

#[async_trait]
impl ByteSource for Pieces {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BoxError> {
        let mut piece = vec![0; PIECE_BYTES];
        let count = self.0.read(&mut piece)?;
        piece.truncate(count);
        Ok((count > 0).then_some(piece))
    }
}
