//! Reading artifacts. Row-level security hides those of other tenants.

use std::ops::Range;

use arbiter_core::model::{Digest, TenantId};
use arbiter_core::ports::{ArtifactError, ArtifactPage, Stored};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::Fault;
use crate::number::{natural, whole};
use crate::session::{Session, get, uuid};

/// How many chunks are read by one statement.
const CHUNKS: u64 = 8;

const FIND: &str = "SELECT size_bytes, chunk_bytes, upload FROM artifact WHERE tenant = $1 AND digest = $2";

/// What of the chunks from place `$2` to place `$3` lies between the bytes `$5` and `$6` of the artifact.
const CHUNKS_OF: &str = "SELECT substring(body
       FROM (greatest($5::bigint - place * $4::bigint, 0) + 1)::integer
       FOR (least($6::bigint - place * $4::bigint, $4::bigint) - greatest($5::bigint - place * $4::bigint, 0))::integer)
     FROM artifact_chunk WHERE upload = $1 AND place BETWEEN $2 AND $3 ORDER BY place";

const PAGE: &str =
    "SELECT digest, size_bytes FROM artifact WHERE tenant = $1 AND digest > $2 ORDER BY digest LIMIT $3";

const USED: &str = "SELECT used_bytes FROM artifact_usage WHERE tenant = $1";

/// What there is to know of an artifact before its content is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    pub(super) size_bytes: u64,
    pub(super) chunk_bytes: u64,
    pub(super) upload: Uuid,
}

pub(super) async fn find(
    session: &Session<'_>,
    tenant: TenantId,
    digest: Digest,
) -> Result<Option<Found>, Fault> {
    let row = session
        .query_opt(FIND, &[&uuid(tenant.as_bytes()), &digest.as_bytes().as_slice()])
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Found {
        size_bytes: natural(get(&row, 0)?),
        // INVARIANT: the schema stores none below one
        chunk_bytes: natural(get::<i32>(&row, 1)?.into()).max(1),
        upload: get(&row, 2)?,
    }))
}

/// The whole content, checked against its digest, or a range of it.
pub(super) async fn content(
    session: &Session<'_>,
    tenant: TenantId,
    digest: Digest,
    range: Option<Range<u64>>,
) -> Result<Result<Option<Vec<u8>>, ArtifactError>, Fault> {
    let Some(found) = find(session, tenant, digest).await? else {
        return Ok(Ok(None));
    };
    let size_bytes = found.size_bytes;
    let mut hash = range.is_none().then(Sha256::new);
    let range = range.unwrap_or(0..size_bytes);
    if range.start > range.end || range.end > size_bytes {
        return Ok(Err(ArtifactError::Range { range, size_bytes }));
    }
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    for part in parts(&range, found.chunk_bytes) {
        let rows = session
            .query(
                CHUNKS_OF,
                &[
                    &found.upload,
                    &place(part.start)?,
                    &place(part.end - 1)?,
                    &whole(found.chunk_bytes),
                    &whole(range.start),
                    &whole(range.end),
                ],
            )
            .await?;
        for row in &rows {
            let piece: &[u8] = get(row, 0)?;
            bytes.extend_from_slice(piece);
            if let Some(hash) = &mut hash {
                hash.update(piece);
            }
        }
    }
    let is_other = hash.is_some_and(|hash| *digest.as_bytes() != <[u8; 32]>::from(hash.finalize()));
    if is_other || bytes.len() != length {
        return Ok(Err(ArtifactError::Damaged { digest }));
    }
    Ok(Ok(Some(bytes)))
}

/// The places of the chunks in which a range lies, as many at once as are read by one statement.
fn parts(range: &Range<u64>, chunk_bytes: u64) -> impl Iterator<Item = Range<u64>> + use<> {
    let first = range.start / chunk_bytes;
    let end = if range.is_empty() {
        first
    } else {
        range.end.div_ceil(chunk_bytes)
    };
    (0..(end - first).div_ceil(CHUNKS)).map(move |part| {
        let start = first + part * CHUNKS;
        start..end.min(start + CHUNKS)
    })
}

fn place(number: u64) -> Result<i32, Fault> {
    i32::try_from(number).map_err(|_| Fault::Damaged("artifact"))
}

pub(super) async fn page(
    session: &Session<'_>,
    tenant: TenantId,
    after: Option<Digest>,
    limit: usize,
) -> Result<ArtifactPage, Fault> {
    let after = after.as_ref().map_or([].as_slice(), |after| after.as_bytes());
    let rows = session
        .query(PAGE, &[&uuid(tenant.as_bytes()), &after, &whole(limit + 1)])
        .await?;
    let mut page = ArtifactPage::default();
    for row in &rows {
        if page.artifacts.len() == limit {
            page.next = page.artifacts.last().map(|last| last.digest);
            break;
        }
        let digest: &[u8] = get(row, 0)?;
        let digest = digest.try_into().map_err(|_| Fault::Damaged("digest"))?;
        page.artifacts.push(Stored {
            digest: Digest::from_bytes(digest),
            size_bytes: natural(get(row, 1)?),
        });
    }
    Ok(page)
}

pub(super) async fn used(session: &Session<'_>, tenant: TenantId) -> Result<u64, Fault> {
    let row = session.query_opt(USED, &[&uuid(tenant.as_bytes())]).await?;
    row.map_or(Ok(0), |row| Ok(natural(get(&row, 0)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_a_range_and_nothing_else() {
        for (range, expected) in [
            (0..0, ""),
            (20..20, ""),
            (0..1, "0..1"),
            (9..10, "0..1"),
            (9..11, "0..2"),
            (0..80, "0..8"),
            (0..81, "0..8 8..9"),
            (75..170, "7..15 15..17"),
        ] {
            let found: Vec<String> = parts(&range, 10).map(|part| format!("{part:?}")).collect();
            assert_eq!(found.join(" "), expected, "{range:?}");
        }
    }
}
