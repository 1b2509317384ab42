//! A put in progress: chunks that nobody sees until the last transaction.

use std::mem;
use std::sync::Arc;

use arbiter_core::model::TenantId;
use arbiter_core::ports::{ArtifactError, Stored};
use uuid::Uuid;

use super::NO_SHARD;
use super::clear::Cleaner;
use super::finish::{Finish, Finished, finish};
use crate::error::Fault;
use crate::session::{Session, uuid};
use crate::store::Core;

/// How large a chunk is, all but the last.
pub(crate) const CHUNK_BYTES: usize = 256 * 1024;

/// In errors.
const OPERATION: &str = "put an artifact";

const BEGIN: &str = "INSERT INTO artifact_upload (id, touched_at) VALUES ($1, $2)";

const GO_ON: &str = "UPDATE artifact_upload SET touched_at = $2 WHERE id = $1 AND touched_at IS NOT NULL";

pub(crate) const CHUNK: &str =
    "INSERT INTO artifact_chunk (upload, place, tenant, body) VALUES ($1, $2, $3, $4)";

/// A put in progress. One that is dropped before its end is cleared away.
pub(super) struct Upload<'a> {
    core: &'a Arc<Core>,
    cleaner: &'a Cleaner,
    tenant: Uuid,
    id: Uuid,
    /// What is not stored yet. The last chunk is stored by the last transaction.
    chunk: Vec<u8>,
    /// How many chunks are stored.
    places: i32,
    /// Whether there is something to clear away.
    is_open: bool,
}

impl<'a> Upload<'a> {
    pub(super) fn new(core: &'a Arc<Core>, cleaner: &'a Cleaner, tenant: TenantId) -> Self {
        Self {
            core,
            cleaner,
            tenant: uuid(tenant.as_bytes()),
            id: core.random_id(),
            chunk: Vec::new(),
            places: 0,
            is_open: false,
        }
    }

    /// Takes a piece of the content, and stores the chunks that are full.
    pub(super) async fn take(&mut self, mut piece: &[u8]) -> Result<(), ArtifactError> {
        while !piece.is_empty() {
            if self.chunk.len() == CHUNK_BYTES {
                self.store()
                    .await
                    .map_err(|fault| fault.into_artifact(OPERATION))?;
            }
            let room = CHUNK_BYTES - self.chunk.len();
            let (now, later) = piece.split_at(room.min(piece.len()));
            self.chunk.extend_from_slice(now);
            piece = later;
        }
        Ok(())
    }

    /// Stores a chunk in a transaction of its own.
    async fn store(&mut self) -> Result<(), Fault> {
        let (upload, place, tenant) = (self.id, self.places, self.tenant);
        let chunk = mem::take(&mut self.chunk);
        self.places = place
            .checked_add(1)
            .ok_or(Fault::Misuse("the artifact has too many chunks"))?;
        if place == 0 {
            self.is_open = true;
            self.cleaner.sweep();
        }
        let stored = self.core.transact(NO_SHARD, move |write| {
            Box::pin(async move {
                let session = &write.session;
                touch(session, upload, place).await?;
                session
                    .execute(CHUNK, &[&upload, &place, &tenant, &chunk])
                    .await?;
                Ok(())
            })
        });
        stored.await
    }

    /// Stores the rest and makes the whole an artifact.
    pub(super) async fn finish(mut self, stored: Stored, quota_bytes: u64) -> Result<Stored, ArtifactError> {
        let work = Finish {
            tenant: self.tenant,
            upload: self.id,
            place: self.places,
            rest: mem::take(&mut self.chunk),
            stored,
            quota_bytes,
        };
        let finished = self.core.transact(NO_SHARD, move |write| {
            Box::pin(async move { finish(&write.session, &work).await })
        });
        // when the outcome is unknown, what is cleared is what has not become an artifact
        match finished.await.map_err(|fault| fault.into_artifact(OPERATION))? {
            Finished::Stored => {
                self.is_open = false;
                Ok(stored)
            }
            Finished::WasThere => Ok(stored),
            Finished::Full => Err(ArtifactError::QuotaExceeded { quota_bytes }),
        }
    }
}

/// Says that an upload goes on. One that was given up does not.
async fn touch(session: &Session<'_>, upload: Uuid, place: i32) -> Result<(), Fault> {
    let statement = if place == 0 { BEGIN } else { GO_ON };
    let touched = session
        .execute(statement, &[&upload, &session.now.as_micros()])
        .await?;
    if touched == 1 { Ok(()) } else { Err(Fault::GivenUp) }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.cleaner.clear_later(self.id);
        }
    }
}
