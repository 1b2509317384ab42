//! Restoring a backup into a shared store, and its keys into a data folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbiter_adapter_sqlite::{SqliteConfig, SqliteStore};
use arbiter_adapter_system::{OsEntropy, SystemClock, TokioSpawner};
use arbiter_audit::keyring::Keyring;
use arbiter_core::ports::{Clock, Entropy};
use arbiter_wire::transfer::TransferError;

use super::manifest::KEYS;
use super::pipe::{NotMoved, artifacts, copy_in};
use super::restore::{Copied, Restored, copy, ensure_empty, read, refuse, verify};
use super::{Progress, manifest::Manifest};
use crate::config::{Config, SharedStore};
use crate::exit::Failure;
use crate::storage::{self, Handle};

/// Fills the shared store of the configuration, which must be empty, with a backup, and puts the keys of the backup into the
/// data folder. Every digest is checked and the audit log verified as for any other restore; then the rows go in one
/// transaction. `trusted` are keys that the caller knows from elsewhere.
///
/// # Errors
/// A failure that says what is wrong and what to do. Nothing was restored then, unless it says that nobody knows.
pub(crate) async fn restore_shared(
    backup: &Path,
    config: &Config,
    shared: &SharedStore,
    trusted: Option<Keyring>,
    progress: &Progress,
) -> Result<Restored, Failure> {
    let data_dir = &config.data_dir;
    let manifest = read(backup)?;
    let is_placed = holds_the_keys(data_dir, backup, &manifest);
    if !is_placed {
        ensure_empty(data_dir)?;
    }
    let (clock, entropy): (Arc<dyn Clock>, Arc<dyn Entropy>) =
        (Arc::new(SystemClock::new()), Arc::new(OsEntropy::new()));
    // at first, so that a setting that is wrong is told before everything was read
    let opened = storage::open(config, &clock, &entropy, &TokioSpawner::new()).await?;
    let Handle::Shared { store, .. } = &opened.handle else {
        return Err(Failure::configuration("the configuration names no shared store"));
    };
    let empty = store.ensure_empty().await.map_err(NotMoved::Rows);
    empty.map_err(|error| not_moved(error, backup, shared, Keys::WereThere))?;
    let cannot = |error: std::io::Error| {
        Failure::unavailable(
            format!("the data folder `{}` could not be written", data_dir.display()),
            error,
        )
    };
    let parent = match data_dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(cannot)?;
    let folder = tempfile::Builder::new()
        .prefix(".arbiter-restore-")
        .tempdir_in(parent)
        .map_err(cannot)?;
    let problems = copy(backup, folder.path(), &manifest, Copied::AllButArtifacts).map_err(cannot)?;
    refuse(backup, problems)?;
    let artifacts = artifacts(backup, &manifest)?;
    let report = verify(folder.path(), &manifest, config.rules, trusted).await?;
    // The keys first: a store whose keys are nowhere is worse than keys without a store.
    let keys = Keys::place(folder.path(), data_dir, is_placed).map_err(cannot)?;
    let source = SqliteStore::open(&SqliteConfig::new(folder.path()), config.rules, clock, entropy)?;
    let moved = copy_in(&source, artifacts, store, progress).await;
    source.close().await;
    opened.handle.close().await;
    if let Err(error) = moved {
        return Err(not_moved(error, backup, shared, keys));
    }
    Ok(Restored {
        files: manifest.files.len(),
        report,
        damaged: manifest.damaged,
    })
}

/// Whether a data folder holds the keys of a backup and nothing else: what an earlier restore, which was cut short, left.
fn holds_the_keys(data_dir: &Path, backup: &Path, manifest: &Manifest) -> bool {
    let Ok(entries) = std::fs::read_dir(data_dir) else {
        return false;
    };
    let mut found: Vec<_> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.file_name())
        .collect();
    let mut expected: Vec<_> = KEYS
        .iter()
        .filter(|name| manifest.files.contains_key(**name))
        .map(std::ffi::OsString::from)
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    let same = |name: &std::ffi::OsString| {
        let (one, other) = (
            std::fs::read(data_dir.join(name)),
            std::fs::read(backup.join(name)),
        );
        one.ok().zip(other.ok()).is_some_and(|(one, other)| one == other)
    };
    found == expected && found.iter().all(same)
}

/// The keys in their data folder.
enum Keys {
    /// They were there.
    WereThere,
    /// They were put there.
    Placed(PathBuf),
}

impl Keys {
    fn place(from: &Path, data_dir: &Path, is_placed: bool) -> std::io::Result<Self> {
        if is_placed {
            return Ok(Self::WereThere);
        }
        let folder = tempfile::Builder::new().prefix(".keys-").tempdir_in(
            data_dir
                .parent()
                .filter(|parent| !parent.as_os_str().is_empty())
                .unwrap_or(Path::new(".")),
        )?;
        for name in KEYS {
            let from = from.join(name);
            if from.exists() {
                std::fs::copy(&from, folder.path().join(name))?;
                std::fs::File::open(folder.path().join(name))?.sync_all()?;
            }
        }
        std::fs::File::open(folder.path())?.sync_all()?;
        let kept = folder.keep();
        // an empty folder in its place gives way
        if let Err(error) = std::fs::rename(&kept, data_dir) {
            let _nothing_is_left = std::fs::remove_dir_all(&kept);
            return Err(error);
        }
        Ok(Self::Placed(data_dir.to_path_buf()))
    }

    fn take_back(self) {
        if let Self::Placed(folder) = self {
            let _what_is_left_is_recognised = std::fs::remove_dir_all(folder);
        }
    }
}

fn not_moved(error: NotMoved, backup: &Path, shared: &SharedStore, keys: Keys) -> Failure {
    let place = format!("schema `{}` at {}", shared.schema, shared.address());
    let error = match error {
        NotMoved::Artifact(failure) => {
            keys.take_back();
            return failure;
        }
        NotMoved::Rows(error) => error,
    };
    if let TransferError::Store(store) = &error
        && store.may_have_applied()
    {
        return Failure::unavailable(
            format!(
                "the connection to the {place} ended while the restore was committed; restore again: if that finds the \
                 store not empty, the restore was done"
            ),
            error,
        );
    }
    keys.take_back();
    match error {
        TransferError::NotEmpty { table } => Failure::usage(format!(
            "the {place} is not empty (there are rows in `{table}`), and nothing was restored; name another schema with \
             store.schema, or drop this one if it is of no use"
        )),
        TransferError::Damaged(damage) => Failure {
            source: Some(anyhow::Error::from(damage)),
            ..Failure::configuration(format!(
                "the backup `{}` does not add up, and nothing was restored",
                backup.display()
            ))
        },
        TransferError::Store(error) => Failure {
            message: format!("the {place} could not be filled, and nothing was restored; restore again"),
            ..Failure::from(error)
        },
        error => Failure::internal("the backup was not moved, and nothing was restored", error),
    }
}
