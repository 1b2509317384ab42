//! The transactions that add and remove artifacts, and count them.
//!
//! INVARIANT: each of them holds the lock of the tenant's usage before it looks, so that what a tenant keeps is exact,
//! whatever runs on other nodes. Nothing that holds another lock waits for this one.

use arbiter_core::model::Digest;
use arbiter_core::ports::Stored;
use uuid::Uuid;

use super::clear::{CHUNKS_AT_ONCE, GIVE_UP};
use super::upload::{CHUNK, CHUNK_BYTES};
use crate::error::Fault;
use crate::number::{natural, whole};
use crate::session::{Session, get};

const COUNT: &str = "INSERT INTO artifact_usage (tenant, used_bytes) VALUES ($1, 0) ON CONFLICT DO NOTHING";

const LOCK: &str = "SELECT used_bytes FROM artifact_usage WHERE tenant = $1 FOR UPDATE";

pub(crate) const USE: &str = "UPDATE artifact_usage SET used_bytes = used_bytes + $2 WHERE tenant = $1";

const IS_THERE: &str = "SELECT FROM artifact WHERE tenant = $1 AND digest = $2";

const END: &str = "DELETE FROM artifact_upload WHERE id = $1 AND touched_at IS NOT NULL";

pub(crate) const ADD: &str =
    "INSERT INTO artifact (tenant, digest, size_bytes, chunk_bytes, upload) VALUES ($1, $2, $3, $4, $5)";

const REMOVE: &str =
    "DELETE FROM artifact WHERE tenant = $1 AND digest = $2 RETURNING size_bytes, chunk_bytes, upload";

const REMOVE_CHUNKS: &str = "DELETE FROM artifact_chunk WHERE upload = $1";

/// What the last transaction of a put needs.
pub(super) struct Finish {
    pub(super) tenant: Uuid,
    pub(super) upload: Uuid,
    /// The place of the last chunk; others were stored before, if it is not the first.
    pub(super) place: i32,
    /// The last chunk; empty only when the artifact is.
    pub(super) rest: Vec<u8>,
    pub(super) stored: Stored,
    pub(super) quota_bytes: u64,
}

/// What became of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finished {
    /// It is an artifact.
    Stored,
    /// There was such an artifact; the upload is of no use.
    WasThere,
    /// The quota does not take it.
    Full,
}

/// Makes an upload an artifact.
pub(super) async fn finish(session: &Session<'_>, work: &Finish) -> Result<Finished, Fault> {
    let Finish {
        tenant,
        upload,
        place,
        rest,
        stored,
        quota_bytes,
    } = work;
    let digest = stored.digest.as_bytes().as_slice();
    session.execute(COUNT, &[tenant]).await?;
    let used_bytes = lock(session, *tenant).await?.unwrap_or(0);
    if session.query_opt(IS_THERE, &[tenant, &digest]).await?.is_some() {
        return Ok(Finished::WasThere);
    }
    if used_bytes.saturating_add(stored.size_bytes) > *quota_bytes {
        return Ok(Finished::Full);
    }
    if *place > 0 && session.execute(END, &[upload]).await? != 1 {
        return Err(Fault::GivenUp);
    }
    if !rest.is_empty() {
        session.execute(CHUNK, &[upload, place, tenant, rest]).await?;
    }
    let (size_bytes, chunk_bytes) = (whole(stored.size_bytes), CHUNK_BYTES as i32);
    session
        .execute(ADD, &[tenant, &digest, &size_bytes, &chunk_bytes, upload])
        .await?;
    session.execute(USE, &[tenant, &size_bytes]).await?;
    Ok(Finished::Stored)
}

/// What became of a deletion.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Deleted {
    /// Whether there was such an artifact.
    pub(super) was_there: bool,
    /// The upload whose chunks are still to be cleared away, when they are many.
    pub(super) left: Option<Uuid>,
}

/// Deletes an artifact.
pub(super) async fn delete(session: &Session<'_>, tenant: Uuid, digest: Digest) -> Result<Deleted, Fault> {
    // a tenant without a row keeps nothing
    if lock(session, tenant).await?.is_none() {
        return Ok(Deleted::default());
    }
    let removed = session
        .query_opt(REMOVE, &[&tenant, &digest.as_bytes().as_slice()])
        .await?;
    let Some(removed) = removed else {
        return Ok(Deleted::default());
    };
    let size_bytes: i64 = get(&removed, 0)?;
    let chunk_bytes: i64 = get::<i32>(&removed, 1)?.into();
    let upload: Uuid = get(&removed, 2)?;
    session.execute(USE, &[&tenant, &-size_bytes]).await?;
    let is_small = natural(size_bytes).div_ceil(natural(chunk_bytes).max(1)) <= CHUNKS_AT_ONCE as u64;
    if is_small {
        session.execute(REMOVE_CHUNKS, &[&upload]).await?;
    } else {
        session.execute(GIVE_UP, &[&upload]).await?;
    }
    Ok(Deleted {
        was_there: true,
        left: (!is_small).then_some(upload),
    })
}

/// Locks a tenant's usage and gives it.
async fn lock(session: &Session<'_>, tenant: Uuid) -> Result<Option<u64>, Fault> {
    let row = session.query_opt(LOCK, &[&tenant]).await?;
    row.map(|row| Ok(natural(get(&row, 0)?))).transpose()
}
