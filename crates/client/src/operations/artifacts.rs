//! Artifacts: files by digest.

use std::sync::Arc;

use arbiter_core::model::Digest;
use arbiter_core::ports::{BoxError, ByteSource, Bytes as OnePiece};
use arbiter_net::{Bytes, Content, Method, StatusCode, WholeResponse};
use arbiter_wire::http::{ArtifactPageView, ArtifactQuotaView, ArtifactView};
use async_trait::async_trait;
use sha2::{Digest as _, Sha256};

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const PUT: Operation = ("artifact.put", Method::PUT, "/v1/artifacts/{digest}");
pub(super) const GET: Operation = ("artifact.get", Method::GET, "/v1/artifacts/{digest}");
pub(super) const LIST: Operation = ("artifact.list", Method::GET, "/v1/artifacts");
pub(super) const QUOTA: Operation = ("artifact.quota", Method::GET, "/v1/artifacts/quota");
pub(super) const DELETE: Operation = ("artifact.delete", Method::DELETE, "/v1/artifacts/{digest}");

/// So much is read at a time.
const PART_BYTES: u64 = 4 << 20;

/// Bytes in memory as content.
struct InMemory(Bytes);

impl Content for InMemory {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn open(&self) -> Result<Box<dyn ByteSource>, BoxError> {
        Ok(Box::new(OnePiece::new(self.0.to_vec())))
    }
}

impl Client {
    /// Stores bytes, under their digest.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn artifact_put(&self, bytes: impl Into<Bytes>) -> Result<ArtifactView, ClientError> {
        let bytes = bytes.into();
        let digest = Digest::of(&bytes);
        self.artifact_put_content(digest, Arc::new(InMemory(bytes))).await
    }

    /// Stores a file under its digest, piece by piece. The server checks the digest and keeps all of it or nothing.
    ///
    /// # Errors
    /// [`ClientError`]; `invalid_value` when the content has another digest.
    pub async fn artifact_put_content(
        &self,
        digest: Digest,
        content: Arc<dyn Content>,
    ) -> Result<ArtifactView, ClientError> {
        let call = self.call(&PUT, &[&digest]).content(content);
        call.waits(self.shared.transfer_timeout).read().await
    }

    /// Opens a file; `None` when it is absent, or may not be known of.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn artifact_open(&self, digest: Digest) -> Result<Option<ArtifactReader>, ClientError> {
        let Some((first, size_bytes)) = self.artifact_part(digest, 0, PART_BYTES).await? else {
            return Ok(None);
        };
        Ok(Some(ArtifactReader {
            client: self.clone(),
            digest,
            size_bytes,
            first: Some(first),
            read: 0,
            hash: Sha256::new(),
        }))
    }

    /// Reads a whole file, checked against its digest; `None` when it is absent, or may not be known of.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn artifact_get(&self, digest: Digest) -> Result<Option<Vec<u8>>, ClientError> {
        let Some(mut reader) = self.artifact_open(digest).await? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        while let Some(piece) = reader.piece().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes))
    }

    /// Up to `length` bytes of a file from `from` on, which must lie inside, and the size of the whole file; `None` when
    /// it is absent, or may not be known of. A part has no digest to check.
    ///
    /// # Errors
    /// [`ClientError`]; `range_not_satisfiable` when it begins outside of the file.
    pub async fn artifact_part(
        &self,
        digest: Digest,
        from: u64,
        length: u64,
    ) -> Result<Option<(Bytes, u64)>, ClientError> {
        let last = from.saturating_add(length.max(1)).saturating_sub(1);
        let call = self
            .call(&GET, &[&digest])
            .header("accept", "*/*")
            .header("range", &format!("bytes={from}-{last}"))
            .waits(self.shared.transfer_timeout);
        let answer = match call.send().await {
            Ok(answer) => answer,
            Err(error) if error.code() == "not_found" => return Ok(None),
            // No range lies inside an empty file.
            Err(error) if error.status() == Some(416) && from == 0 => return Ok(Some((Bytes::new(), 0))),
            Err(error) => return Err(error),
        };
        let size = match answer.status {
            StatusCode::PARTIAL_CONTENT => size_of_all(&answer, from),
            // Ranges may be left aside.
            _ if from == 0 => Some(answer.body.len() as u64),
            _ => None,
        };
        let size = size.ok_or_else(|| ClientError::Answer {
            operation: GET.0,
            status: answer.status.as_u16(),
            source: "it is not the range that was asked for".into(),
        })?;
        Ok(Some((answer.body, size)))
    }

    /// A page of files, by digest.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn artifact_list(
        &self,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<ArtifactPageView, ClientError> {
        let query = [
            ("cursor", cursor),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.call_with(&LIST, &[], &query).read().await
    }

    /// Reads how much of its quota the tenant uses.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn artifact_quota(&self) -> Result<ArtifactQuotaView, ClientError> {
        self.call(&QUOTA, &[]).read().await
    }

    /// Deletes a file.
    ///
    /// # Errors
    /// [`ClientError`]; `not_found` when it is absent.
    pub async fn artifact_delete(&self, digest: Digest) -> Result<(), ClientError> {
        self.call(&DELETE, &[&digest]).once().done().await
    }
}

/// The size of the whole file, from `content-range: bytes <from>-<last>/<size>`, if the range is the one asked for.
fn size_of_all(answer: &WholeResponse, from: u64) -> Option<u64> {
    let told = answer.header("content-range")?.strip_prefix("bytes ")?;
    let (range, size) = told.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let covered = last.checked_sub(first)?.checked_add(1)?;
    let size = size.parse().ok()?;
    (first == from && covered == answer.body.len() as u64 && last < size).then_some(size)
}

/// Reads a file piece by piece. The end comes only after the whole content was found to have its digest.
pub struct ArtifactReader {
    client: Client,
    digest: Digest,
    size_bytes: u64,
    first: Option<Bytes>,
    read: u64,
    hash: Sha256,
}

impl ArtifactReader {
    /// How many bytes the file has.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// [`ClientError::Damaged`] at the end of a content that has another digest; else as all calls.
    ///
    /// # Cancel safety
    /// Safe: a piece that was not given is read again.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        if self.read >= self.size_bytes {
            let found: [u8; 32] = self.hash.clone().finalize().into();
            if self.read == self.size_bytes && found == *self.digest.as_bytes() {
                return Ok(None);
            }
            return Err(ClientError::Damaged {
                expected: self.digest,
            });
        }
        let piece = match self.first.take() {
            Some(first) => first,
            None => {
                let part = self.client.artifact_part(self.digest, self.read, PART_BYTES);
                match part.await? {
                    Some((piece, size)) if size == self.size_bytes && !piece.is_empty() => piece,
                    // Deleted, or another file, while it was read.
                    _ => {
                        return Err(ClientError::Damaged {
                            expected: self.digest,
                        });
                    }
                }
            }
        };
        self.hash.update(&piece);
        self.read += piece.len() as u64;
        Ok(Some(piece))
    }
}

#[async_trait]
impl ByteSource for ArtifactReader {
    async fn next(&mut self) -> Result<Option<Vec<u8>>, BoxError> {
        Ok(self.piece().await?.map(|piece| piece.to_vec()))
    }
}

impl std::fmt::Debug for ArtifactReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArtifactReader")
            .field("digest", &self.digest)
            .field("size_bytes", &self.size_bytes)
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}
