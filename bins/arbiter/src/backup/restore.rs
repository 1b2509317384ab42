//! Restoring a backup into a new data folder.

use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use arbiter_adapter_sqlite::{SqliteConfig, SqliteStore};
use arbiter_adapter_system::{OsEntropy, SystemClock};
use arbiter_audit::keyring::Keyring;
use arbiter_audit::log::LogVerifier;
use arbiter_audit::report::Report;
use arbiter_core::lifecycle::Rules;
use arbiter_core::ports::AuditTree as _;

use super::manifest::{ARTIFACTS, DATABASE, FORMAT, MANIFEST, MANIFEST_DIGEST, Manifest, VERSION};
use super::manifest::{digest, files_below, is_inside, measured};
use crate::commands::audit::{follow, vouched};
use crate::engine::LOG_ORIGIN;
use crate::exit::Failure;
use crate::trust::Trust;

/// The most problems that are named.
const PROBLEMS: usize = 20;

/// A backup that was restored.
#[derive(Debug)]
pub(crate) struct Restored {
    /// How many files it has.
    pub(crate) files: usize,
    /// What the verification of its audit log found.
    pub(crate) report: Report,
    /// Artifacts that were damaged when it was taken.
    pub(crate) damaged: Vec<String>,
}

/// Copies a backup into a data folder that is not there or empty. The folder appears only when every digest is right and
/// the audit log is the one that was signed. `trusted` are keys that the caller knows from elsewhere; without them, those
/// of the backup are believed.
///
/// # Errors
/// A failure that names everything that is wrong.
pub(crate) async fn restore(
    backup: &Path,
    data_dir: &Path,
    rules: Rules,
    trusted: Option<Keyring>,
) -> Result<Restored, Failure> {
    ensure_empty(data_dir)?;
    let manifest = read(backup)?;
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
    let problems = copy(backup, folder.path(), &manifest, Copied::All).map_err(cannot)?;
    refuse(backup, problems)?;
    let report = verify(folder.path(), &manifest, rules, trusted).await?;
    let (_, folders) = files_below(folder.path()).map_err(cannot)?;
    for folder in folders {
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(cannot)?;
    }
    let kept = folder.keep();
    // An empty folder in its place gives way.
    let placed = std::fs::rename(&kept, data_dir).and_then(|()| File::open(parent)?.sync_all());
    if let Err(error) = placed {
        let _nothing_is_left = std::fs::remove_dir_all(&kept);
        return Err(cannot(error));
    }
    Ok(Restored {
        files: manifest.files.len(),
        report,
        damaged: manifest.damaged,
    })
}

pub(super) fn ensure_empty(data_dir: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(data_dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Ok(false) => Err(Failure::usage(format!(
            "the data folder `{}` is not empty; name a new one with --data-dir",
            data_dir.display()
        ))),
        Err(error) => Err(Failure::unavailable(
            format!("the data folder `{}` cannot be read", data_dir.display()),
            error,
        )),
    }
}

pub(super) fn read(backup: &Path) -> Result<Manifest, Failure> {
    let file = |name: &str| {
        let path = backup.join(name);
        std::fs::read(&path).map_err(|error| {
            Failure::usage(format!(
                "`{}` is no backup: `{name}` cannot be read: {error}",
                backup.display()
            ))
        })
    };
    let (text, stated) = (file(MANIFEST)?, file(MANIFEST_DIGEST)?);
    let damaged =
        |why: &str| Failure::configuration(format!("the backup `{}` is damaged: {why}", backup.display()));
    if digest(&text).as_bytes() != stated.trim_ascii() {
        return Err(damaged(&format!(
            "`{MANIFEST}` does not have the digest in `{MANIFEST_DIGEST}`"
        )));
    }
    let value: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| damaged(&format!("`{MANIFEST}`: {error}")))?;
    // The version first: a newer form has fields that are not known here.
    if value["format"] != FORMAT || value["version"] != VERSION {
        return Err(Failure::configuration(format!(
            "the backup `{}` has format {} version {}; this program reads {FORMAT} version {VERSION}",
            backup.display(),
            value["format"],
            value["version"]
        )));
    }
    let manifest: Manifest =
        serde_json::from_value(value).map_err(|error| damaged(&format!("`{MANIFEST}`: {error}")))?;
    if manifest.origin != LOG_ORIGIN {
        return Err(damaged(&format!("its audit log is `{}`", manifest.origin)));
    }
    Ok(manifest)
}

/// Which files are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    All,
    /// Artifacts are looked at where they are.
    #[cfg(feature = "postgres")]
    AllButArtifacts,
}

/// Copies files, and compares every file with the manifest. Gives what is wrong.
pub(super) fn copy(
    backup: &Path,
    target: &Path,
    manifest: &Manifest,
    which: Copied,
) -> std::io::Result<Vec<String>> {
    let mut problems = Vec::new();
    let (found, _) = files_below(backup)?;
    let known =
        |path: &String| manifest.files.contains_key(path) || path == MANIFEST || path == MANIFEST_DIGEST;
    let found: BTreeSet<String> = found.into_iter().collect();
    problems.extend(
        found
            .iter()
            .filter(|path| !known(path))
            .map(|path| format!("`{path}` is not in the manifest")),
    );
    for (path, entry) in &manifest.files {
        if !is_inside(path) {
            problems.push(format!("`{path}` is no path of a backup"));
            continue;
        }
        if !found.contains(path) {
            problems.push(format!("`{path}` is missing"));
            continue;
        }
        let (from, to) = (backup.join(path), target.join(path));
        let is_copied = which == Copied::All || !path.starts_with(&format!("{ARTIFACTS}/"));
        if is_copied {
            if let Some(folder) = to.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::copy(&from, &to)?;
            std::fs::set_permissions(&to, Permissions::from_mode(0o600))?;
        }
        if measured(if is_copied { &to } else { &from })? != *entry {
            problems.push(format!("`{path}` does not have its digest"));
        }
    }
    for name in [DATABASE, "audit.key", "audit.trust.json"] {
        if !manifest.files.contains_key(name) {
            problems.push(format!("the manifest has no `{name}`"));
        }
    }
    Ok(problems)
}

pub(super) fn refuse(backup: &Path, problems: Vec<String>) -> Result<(), Failure> {
    if problems.is_empty() {
        return Ok(());
    }
    let count = problems.len();
    let mut named: Vec<String> = problems.into_iter().take(PROBLEMS).collect();
    if count > PROBLEMS {
        named.push(format!("and {} more", count - PROBLEMS));
    }
    Err(Failure::configuration(format!(
        "the backup `{}` is damaged, and nothing was restored:\n  - {}",
        backup.display(),
        named.join("\n  - ")
    )))
}

/// Opens the copy and verifies its audit log, whole, against the signed head of the manifest.
pub(super) async fn verify(
    folder: &Path,
    manifest: &Manifest,
    rules: Rules,
    trusted: Option<Keyring>,
) -> Result<Report, Failure> {
    let trust = Trust::open(folder)?;
    let keyring = match trusted {
        None => trust.keyring()?,
        Some(mut keyring) => {
            for handover in trust.handovers() {
                // One that the keys do not vouch for gives no trust: the head is refused below.
                let _adopted_if_vouched_for = keyring.adopt(handover);
            }
            keyring
        }
    };
    let signed = vouched(&keyring, &manifest.checkpoint)?;
    let store = SqliteStore::open(
        &SqliteConfig::new(folder),
        rules,
        Arc::new(SystemClock::new()),
        Arc::new(OsEntropy::new()),
    )?;
    let head = store.head().await?;
    let mut verifier = LogVerifier::new();
    let followed = follow(&store, &mut verifier, head.size).await;
    store.close().await;
    followed?;
    let report = verifier.finish(&signed);
    let _no_process_owns_the_copy = std::fs::remove_file(SqliteConfig::new(folder).lock_file());
    if report.is_sound() {
        return Ok(report);
    }
    let fault = report
        .fault
        .as_ref()
        .map_or_else(|| format!("{:?}", report.findings), ToString::to_string);
    Err(Failure::configuration(format!(
        "the audit log of the backup is not the one that was signed, and nothing was restored: {fault}"
    )))
}
