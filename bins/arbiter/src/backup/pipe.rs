//! Rows on their way from one kind of store to the other, with the artifacts, which one keeps as files and the other as
//! rows.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use arbiter_adapter_files::artifact_file;
use arbiter_adapter_postgres::PostgresStore;
use arbiter_adapter_sqlite::{SqliteStore, import};
use arbiter_core::model::{Digest, TenantId};
use arbiter_core::ports::TreeHead;
use arbiter_wire::transfer::{ArtifactRow, Piece, Rows, TransferError};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::Progress;
use super::manifest::{ARTIFACTS, DATABASE, Manifest};
use crate::exit::Failure;
use crate::log_key;

/// How many batches may wait for who takes them.
const AHEAD: usize = 2;

/// How much of an artifact is read at once.
const PIECE_BYTES: usize = 256 << 10;

/// Copies a shared store into the folder of a backup. Gives the head of the audit log in the copy, and the artifacts whose
/// content does not have its digest any more; they are copied as they are.
pub(super) async fn copy_out(
    store: &PostgresStore,
    root: &Path,
    progress: &Progress,
) -> Result<(TreeHead, Vec<String>), Failure> {
    let (give, given) = channel(AHEAD);
    let (pass, passed) = channel(AHEAD);
    let mut files = Files::new(root.join(ARTIFACTS));
    let (given, passing, taken) = futures_util::join!(
        store.export(give),
        files.pass(given, pass, progress),
        import(root.join(DATABASE), passed),
    );
    passing.map_err(|error| Failure::unavailable("the artifacts could not be copied", error))?;
    let head = cause(given, taken).map_err(|error| match error {
        TransferError::Store(error) => Failure::from(error),
        error => Failure::unavailable("the store could not be copied", error),
    })?;
    Ok((head, files.damaged))
}

/// Why a backup was not moved into a store.
pub(super) enum NotMoved {
    /// An artifact of it cannot be read.
    Artifact(Failure),
    /// Its rows were not given or not taken.
    Rows(TransferError),
}

/// Fills a shared store with the database of a backup and its artifacts, which are read where they are.
pub(super) async fn copy_in(
    source: &SqliteStore,
    artifacts: Vec<Artifact>,
    store: &PostgresStore,
    progress: &Progress,
) -> Result<TreeHead, NotMoved> {
    let (give, given) = channel(AHEAD);
    let (pass, passed) = channel(AHEAD);
    let (given, passing, taken) = futures_util::join!(
        source.export(give),
        pass_in(artifacts, given, pass, progress),
        store.import(passed),
    );
    passing.map_err(NotMoved::Artifact)?;
    cause(given, taken).map_err(NotMoved::Rows)
}

/// Sends artifacts, then passes rows on.
async fn pass_in(
    artifacts: Vec<Artifact>,
    given: Receiver<Rows>,
    pass: Sender<Rows>,
    progress: &Progress,
) -> Result<(), Failure> {
    for artifact in artifacts {
        if !artifact.send(&pass).await? {
            return Ok(());
        }
        progress.add(1);
    }
    pass_on(given, pass, progress).await;
    Ok(())
}

/// Who stopped for a reason of its own says why; the other was only left alone.
fn cause(
    given: Result<(), TransferError>,
    taken: Result<TreeHead, TransferError>,
) -> Result<TreeHead, TransferError> {
    match (given, taken) {
        (Ok(()) | Err(TransferError::Unwanted), taken) => taken,
        (Err(error), _) => Err(error),
    }
}

/// Passes rows on, without the document that says which key signs the audit log: the first node with the key puts it down
/// anew. The key may have been replaced while the store was an embedded one, which has no such document.
async fn pass_on(mut given: Receiver<Rows>, pass: Sender<Rows>, progress: &Progress) {
    let mut left_out = 0;
    while let Some(mut rows) = given.recv().await {
        match &mut rows {
            Rows::Documents(documents) => {
                let before = documents.len();
                documents.retain(|document| document.kind != log_key::KIND);
                left_out += (before - documents.len()) as u64;
            }
            Rows::End(end) => end.counts.leave_out("document", left_out),
            _ => {}
        }
        progress.add(rows.count());
        if pass.send(rows).await.is_err() {
            return;
        }
    }
}

/// Artifacts that become files.
struct Files {
    folder: PathBuf,
    open: Option<Open>,
    damaged: Vec<String>,
}

struct Open {
    row: ArtifactRow,
    file: File,
    hash: Sha256,
}

impl Files {
    const fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            open: None,
            damaged: Vec::new(),
        }
    }

    /// Passes rows on, but for artifacts.
    async fn pass(
        &mut self,
        mut given: Receiver<Rows>,
        pass: Sender<Rows>,
        progress: &Progress,
    ) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        while let Some(rows) = given.recv().await {
            progress.add(rows.count());
            match rows {
                Rows::Artifact(row) => self.begin(row)?,
                Rows::Piece(piece) => self.write(&piece)?,
                rows => {
                    self.finish();
                    if pass.send(rows).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, row: ArtifactRow) -> std::io::Result<()> {
        self.finish();
        let path = artifact_file(&self.folder, row.tenant, row.digest);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        self.open = Some(Open {
            row,
            file: File::create_new(path)?,
            hash: Sha256::new(),
        });
        Ok(())
    }

    fn write(&mut self, piece: &Piece) -> std::io::Result<()> {
        if let Some(open) = &mut self.open {
            open.hash.update(&piece.0);
            open.file.write_all(&piece.0)?;
        }
        Ok(())
    }

    fn finish(&mut self) {
        if let Some(Open { row, hash, .. }) = self.open.take()
            && *row.digest.as_bytes() != <[u8; 32]>::from(hash.finalize())
        {
            self.damaged.push(format!("{}/{}", row.tenant, row.digest));
        }
    }
}

/// An artifact of a backup.
pub(super) struct Artifact {
    row: ArtifactRow,
    path: PathBuf,
}

impl Artifact {
    /// Sends it; false when nobody takes it.
    async fn send(self, pass: &Sender<Rows>) -> Result<bool, Failure> {
        let shown = self.path.display();
        let cannot =
            |error: std::io::Error| Failure::unavailable(format!("`{shown}` could not be read"), error);
        let mut file = File::open(&self.path).map_err(cannot)?;
        if pass.send(Rows::Artifact(self.row)).await.is_err() {
            return Ok(false);
        }
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            let mut part = (&mut file).take(PIECE_BYTES as u64);
            if part.read_to_end(&mut piece).map_err(cannot)? == 0 {
                return Ok(true);
            }
            if pass.send(Rows::Piece(Piece(piece))).await.is_err() {
                return Ok(false);
            }
        }
    }
}

/// The artifacts that a manifest names.
pub(super) fn artifacts(backup: &Path, manifest: &Manifest) -> Result<Vec<Artifact>, Failure> {
    let mut found = Vec::new();
    for (path, entry) in &manifest.files {
        let Some(below) = path.strip_prefix(&format!("{ARTIFACTS}/")) else {
            continue;
        };
        let mut parts = below.split('/');
        let (tenant, digest) = (parts.next(), parts.next_back());
        let row = tenant
            .and_then(|tenant| tenant.parse::<TenantId>().ok())
            .zip(digest.and_then(|digest| digest.parse::<Digest>().ok()))
            .map(|(tenant, digest)| ArtifactRow {
                tenant,
                digest,
                size_bytes: entry.size_bytes,
                is_damaged: manifest.damaged.contains(&format!("{tenant}/{digest}")),
            });
        let is_in_place = |row: &ArtifactRow| {
            artifact_file(Path::new(ARTIFACTS), row.tenant, row.digest) == Path::new(path)
        };
        let row = row.filter(is_in_place).ok_or_else(|| {
            Failure::configuration(format!(
                "`{path}` in the backup is no artifact, and nothing was restored"
            ))
        })?;
        found.push(Artifact {
            row,
            path: backup.join(path),
        });
    }
    Ok(found)
}
