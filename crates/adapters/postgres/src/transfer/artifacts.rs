//! Artifacts on their way.

use arbiter_core::model::{Digest, TenantId};
use arbiter_wire::transfer::{ArtifactRow, Damage, Piece, Rows};
use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::export::{Source, Stop};
use super::import::refused;
use crate::artifacts::{ADD, CHUNK, CHUNK_BYTES, USE};
use crate::error::Fault;
use crate::number::{natural, whole};
use crate::session::{Session, get, id_bytes, uuid};

/// How many artifacts are looked up at once.
const PAGE: i64 = 500;

const ARTIFACTS: &str = "SELECT tenant, digest, size_bytes, upload FROM artifact
     WHERE (tenant, digest) > ($1, $2) ORDER BY tenant, digest LIMIT $3";

const CHUNKS: &str = "SELECT body FROM artifact_chunk WHERE upload = $1 ORDER BY place";

const KEEP_USAGE: &str =
    "INSERT INTO artifact_usage (tenant, used_bytes) VALUES ($1, 0) ON CONFLICT DO NOTHING";

impl Source<'_, '_> {
    pub(super) async fn artifacts(&self) -> Result<(), Stop> {
        let mut after = (Uuid::nil(), Vec::<u8>::new());
        loop {
            let rows = self
                .session
                .query(ARTIFACTS, &[&after.0, &after.1, &PAGE])
                .await?;
            let Some(last) = rows.last() else {
                return Ok(());
            };
            after = (get(last, 0)?, get(last, 1)?);
            for row in &rows {
                let digest: &[u8] = get(row, 1)?;
                let digest = digest.try_into().map_err(|_| Fault::Damaged("digest"))?;
                let artifact = ArtifactRow {
                    tenant: TenantId::from_bytes(id_bytes(row, 0)?),
                    digest: Digest::from_bytes(digest),
                    size_bytes: natural(get(row, 2)?),
                    is_damaged: false,
                };
                self.artifact(artifact, get(row, 3)?).await?;
            }
        }
    }

    async fn artifact(&self, artifact: ArtifactRow, upload: Uuid) -> Result<(), Stop> {
        self.send(Rows::Artifact(artifact)).await?;
        let mut chunks = std::pin::pin!(self.session.stream(CHUNKS, &[&upload]).await?);
        while let Some(row) = chunks.try_next().await.map_err(Fault::from)? {
            self.send(Rows::Piece(Piece(get(&row, 0)?))).await?;
        }
        Ok(())
    }
}

/// An artifact that is arriving.
pub(super) struct Arriving {
    row: ArtifactRow,
    upload: Uuid,
    hash: Sha256,
    size_bytes: u64,
    chunk: Vec<u8>,
    places: i32,
}

impl Arriving {
    pub(super) fn new(row: ArtifactRow, upload: Uuid) -> Self {
        Self {
            row,
            upload,
            hash: Sha256::new(),
            size_bytes: 0,
            chunk: Vec::new(),
            places: 0,
        }
    }

    /// Takes a piece of its content, and stores the chunks that are full.
    pub(super) async fn take(&mut self, session: &Session<'_>, mut piece: &[u8]) -> Result<(), Fault> {
        self.hash.update(piece);
        self.size_bytes += piece.len() as u64;
        while !piece.is_empty() {
            let room = CHUNK_BYTES - self.chunk.len();
            let (now, later) = piece.split_at(room.min(piece.len()));
            self.chunk.extend_from_slice(now);
            piece = later;
            if self.chunk.len() == CHUNK_BYTES {
                self.store(session).await?;
            }
        }
        Ok(())
    }

    async fn store(&mut self, session: &Session<'_>) -> Result<(), Fault> {
        let chunk = std::mem::take(&mut self.chunk);
        let tenant = uuid(self.row.tenant.as_bytes());
        session
            .execute(CHUNK, &[&self.upload, &self.places, &tenant, &chunk])
            .await?;
        self.places = self
            .places
            .checked_add(1)
            .ok_or(Fault::Misuse("the artifact has too many chunks"))?;
        Ok(())
    }

    /// Makes it an artifact, if it is whole.
    pub(super) async fn finish(mut self, session: &Session<'_>) -> Result<(), Fault> {
        if !self.chunk.is_empty() {
            self.store(session).await?;
        }
        let ArtifactRow {
            tenant,
            digest,
            size_bytes,
            is_damaged,
        } = self.row;
        let is_sound = *digest.as_bytes() == <[u8; 32]>::from(self.hash.finalize());
        if self.size_bytes != size_bytes || !(is_sound || is_damaged) {
            return Err(refused(Damage::Artifact { tenant, digest }));
        }
        let (tenant, digest) = (uuid(tenant.as_bytes()), digest.as_bytes().as_slice());
        let (size_bytes, chunk_bytes) = (whole(size_bytes), CHUNK_BYTES as i32);
        session
            .execute(ADD, &[&tenant, &digest, &size_bytes, &chunk_bytes, &self.upload])
            .await?;
        session.execute(KEEP_USAGE, &[&tenant]).await?;
        session.execute(USE, &[&tenant, &size_bytes]).await?;
        Ok(())
    }
}
