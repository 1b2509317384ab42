//! Taking a backup while the store is in use.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbiter_adapter_files::FileArtifacts;
use arbiter_adapter_sqlite::SqliteStore;
use arbiter_core::model::{
    AuditAction, Json, Operation, PrincipalId, Record, RecordOutcome, Resource, TenantId,
};
use arbiter_core::ports::{AuditLog, Clock, IdSource, TreeHead};
use serde_json::json;

use super::Progress;
use super::manifest::{ARTIFACTS, DATABASE, FORMAT, KEYS, MANIFEST, MANIFEST_DIGEST, Manifest, VERSION};
use super::manifest::{digest, files_below, measured};
use crate::app::App;
use crate::checkpoint::Checkpointer;
use crate::engine::LOG_ORIGIN;
use crate::exit::Failure;
use crate::storage::Handle;

/// What a backup is taken of.
#[derive(Clone)]
pub(crate) struct Source {
    contents: Contents,
    log: Arc<dyn AuditLog>,
    checkpointer: Checkpointer,
    data_dir: PathBuf,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

/// Where its contents are.
#[derive(Clone)]
enum Contents {
    Embedded {
        store: Arc<SqliteStore>,
        artifacts: Arc<FileArtifacts>,
    },
    #[cfg(feature = "postgres")]
    Shared(Arc<arbiter_adapter_postgres::PostgresStore>),
}

impl Contents {
    fn of(app: &App) -> Result<Self, Failure> {
        match (&app.handle, &app.files) {
            (Handle::Embedded(store), Some(artifacts)) => Ok(Self::Embedded {
                store: Arc::clone(store),
                artifacts: Arc::clone(artifacts),
            }),
            (Handle::Embedded(_), None) => Err(Failure::internal(
                "the artifacts could not be found",
                anyhow::anyhow!("an embedded store keeps them as files"),
            )),
            #[cfg(feature = "postgres")]
            (Handle::Shared { store, .. }, _) => Ok(Self::Shared(Arc::clone(store))),
        }
    }

    /// Copies the database and the artifacts. Gives the head of the audit log that is in the copy, and the artifacts that
    /// were damaged before.
    async fn copy(
        &self,
        root: &Path,
        #[cfg_attr(
            not(feature = "postgres"),
            expect(unused_variables, reason = "an embedded store is copied in one step")
        )]
        progress: &Progress,
    ) -> Result<(TreeHead, Vec<String>), Failure> {
        match self {
            Self::Embedded { store, artifacts } => {
                // The database first: whatever artifact it names was there before.
                let head = store.backup(root.join(DATABASE)).await?;
                let damaged = artifacts.copy_into(&root.join(ARTIFACTS)).await;
                let damaged = damaged
                    .map_err(|error| Failure::unavailable("the artifacts could not be copied", error))?;
                let damaged = damaged
                    .into_iter()
                    .map(|(tenant, digest)| format!("{tenant}/{digest}"));
                Ok((head, damaged.collect()))
            }
            #[cfg(feature = "postgres")]
            Self::Shared(store) => super::pipe::copy_out(store, root, progress).await,
        }
    }
}

impl Source {
    /// # Errors
    /// A failure when the artifacts cannot be found.
    pub(crate) fn of(app: &App) -> Result<Self, Failure> {
        Ok(Self {
            contents: Contents::of(app)?,
            log: app.store.clone(),
            checkpointer: app.checkpointer.clone(),
            data_dir: app.config.data_dir.clone(),
            clock: Arc::clone(&app.clock),
            ids: Arc::clone(&app.ids),
        })
    }

    /// The time, for the name of a backup.
    pub(crate) fn now(&self) -> String {
        self.clock.now().to_string()
    }
}

/// A backup that was taken.
#[derive(Debug, Clone)]
pub(crate) struct Taken {
    /// Where it is.
    pub(crate) folder: PathBuf,
    /// The head of the audit log that is in it.
    pub(crate) head: TreeHead,
    /// How many files it has, manifest aside.
    pub(crate) files: usize,
    /// How many bytes.
    pub(crate) bytes: u64,
    /// Artifacts that were damaged before.
    pub(crate) damaged: Vec<String>,
}

/// Takes a backup into a new folder, which appears whole or not at all.
///
/// # Errors
/// A failure that says what could not be read or written.
///
/// # Cancel safety
/// Safe: what was copied so far is removed.
pub(crate) async fn take(
    source: &Source,
    target: &Path,
    by: PrincipalId,
    progress: &Progress,
) -> Result<Taken, Failure> {
    if target.exists() {
        return Err(Failure::usage(format!(
            "`{}` is there already; name a folder that is not",
            target.display()
        )));
    }
    if let Some(log_key) = &source.checkpointer.log_key
        && !log_key.is_ours().await?
    {
        return Err(Failure::usage(
            "another node's key signs the audit log of this store; take the backup there, or with a copy of its `audit.key`",
        ));
    }
    let cannot = |error: std::io::Error| {
        Failure::unavailable(
            format!("the backup `{}` could not be written", target.display()),
            error,
        )
    };
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    // Only its owner may look into it: it holds keys.
    let folder = tempfile::Builder::new()
        .prefix(".arbiter-backup-")
        .tempdir_in(parent)
        .map_err(cannot)?;
    let root = folder.path().to_path_buf();
    let (head, damaged) = source.contents.copy(&root, progress).await?;
    let checkpoint = source
        .checkpointer
        .sign_at(head)
        .await
        .map_err(|error| Failure::unavailable("the head of the backup could not be signed", error))?;
    for name in KEYS {
        copy_if_there(&source.data_dir.join(name), &root.join(name)).map_err(cannot)?;
    }
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        version: VERSION,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: source.now(),
        origin: LOG_ORIGIN.to_owned(),
        entries: head.size,
        checkpoint,
        damaged: damaged.clone(),
        files: BTreeMap::new(),
    };
    let sealed = tokio::task::spawn_blocking(move || seal(&root, manifest)).await;
    let manifest = sealed
        .map_err(|error| Failure::internal("the backup could not be sealed", error))?
        .map_err(cannot)?;
    let kept = folder.keep();
    let placed = std::fs::rename(&kept, target).and_then(|()| File::open(parent)?.sync_all());
    if let Err(error) = placed {
        let _nothing_is_left = std::fs::remove_dir_all(&kept);
        return Err(cannot(error));
    }
    let taken = Taken {
        folder: target.to_path_buf(),
        head,
        files: manifest.files.len(),
        bytes: manifest.files.values().map(|file| file.size_bytes).sum(),
        damaged,
    };
    record(source, &taken, by).await?;
    Ok(taken)
}

fn copy_if_there(from: &Path, to: &Path) -> std::io::Result<()> {
    match std::fs::copy(from, to) {
        Ok(_) => std::fs::set_permissions(to, Permissions::from_mode(0o600)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Measures every file, writes the manifest, and flushes all of it to the disk.
fn seal(root: &Path, mut manifest: Manifest) -> std::io::Result<Manifest> {
    let (files, folders) = files_below(root)?;
    for path in files {
        let entry = measured(&root.join(&path))?;
        manifest.files.insert(path, entry);
    }
    let text = serde_json::to_vec_pretty(&manifest)?;
    write(
        &root.join(MANIFEST_DIGEST),
        format!("{}\n", digest(&text)).as_bytes(),
    )?;
    write(&root.join(MANIFEST), &text)?;
    for folder in folders {
        File::open(folder)?.sync_all()?;
    }
    Ok(manifest)
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

async fn record(source: &Source, taken: &Taken, by: PrincipalId) -> Result<(), Failure> {
    let detail = json!({
        "schema": "backup/1",
        "entries": taken.head.size,
        "files": taken.files,
        "bytes": taken.bytes,
    });
    let record = Record {
        at: source.clock.now(),
        tenant: TenantId::SYSTEM,
        principal: Some(by),
        operation: Some(Operation::SystemBackup),
        actions: vec![AuditAction::BackedUp],
        resource: Resource::new("backup", ""),
        outcome: RecordOutcome::Done,
        reason: None,
        count: None,
        detail: Some(Json::of(&detail)),
    };
    source.log.append(source.ids.batch(), vec![record]).await?;
    tracing::info!(
        event = "backup_taken",
        files = taken.files,
        bytes = taken.bytes,
        "a backup was taken"
    );
    Ok(())
}
