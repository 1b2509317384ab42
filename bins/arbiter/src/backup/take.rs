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
use arbiter_core::ports::{AuditLog as _, Clock, IdSource, TreeHead};
use serde_json::json;

use super::manifest::{FORMAT, MANIFEST, MANIFEST_DIGEST, Manifest, VERSION, digest, files_below, measured};
use crate::app::App;
use crate::checkpoint::Checkpointer;
use crate::engine::LOG_ORIGIN;
use crate::exit::Failure;

/// Files of a data folder beside the database and the artifacts. Without them nobody could go on signing the log or act
/// as the operator.
const FILES: [&str; 3] = ["audit.key", "audit.trust.json", "operator.key"];

/// What a backup is taken of.
#[derive(Clone)]
pub(crate) struct Source {
    store: Arc<SqliteStore>,
    artifacts: Arc<FileArtifacts>,
    checkpointer: Checkpointer,
    data_dir: PathBuf,
    clock: Arc<dyn Clock>,
    ids: Arc<dyn IdSource>,
}

impl Source {
    /// # Errors
    /// A usage failure for a store that other nodes share.
    pub(crate) fn of(app: &App) -> Result<Self, Failure> {
        let embedded = app.handle.embedded().zip(app.files.as_ref());
        let (store, files) = embedded.ok_or_else(|| {
            Failure::usage(
                "a shared store is backed up with the tools of its database, such as pg_dump or base backups; keep \
                 `audit.key` and `audit.trust.json` of the data folder beside it",
            )
        })?;
        Ok(Self {
            store: Arc::clone(store),
            artifacts: Arc::clone(files),
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
pub(crate) async fn take(source: &Source, target: &Path, by: PrincipalId) -> Result<Taken, Failure> {
    if target.exists() {
        return Err(Failure::usage(format!(
            "`{}` is there already; name a folder that is not",
            target.display()
        )));
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
    // The database first: whatever artifact it names was there before.
    let head = source.store.backup(root.join("arbiter.db")).await?;
    let checkpoint = source
        .checkpointer
        .sign_at(head)
        .await
        .map_err(|error| Failure::unavailable("the head of the backup could not be signed", error))?;
    for name in FILES {
        copy_if_there(&source.data_dir.join(name), &root.join(name)).map_err(cannot)?;
    }
    let damaged = source.artifacts.copy_into(&root.join("artifacts")).await;
    let damaged =
        damaged.map_err(|error| Failure::unavailable("the artifacts could not be copied", error))?;
    let damaged: Vec<String> = damaged
        .into_iter()
        .map(|(tenant, digest)| format!("{tenant}/{digest}"))
        .collect();
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
    source.store.append(source.ids.batch(), vec![record]).await?;
    tracing::info!(
        event = "backup_taken",
        files = taken.files,
        bytes = taken.bytes,
        "a backup was taken"
    );
    Ok(())
}
