//! What a backup says of itself.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const MANIFEST_DIGEST: &str = "manifest.sha256";
pub(super) const FORMAT: &str = "arbiter-backup";
pub(super) const VERSION: u32 = 1;

/// The database: the embedded store's, whatever kind of store the backup was taken of.
pub(super) const DATABASE: &str = "arbiter.db";

/// The folder of artifacts.
pub(super) const ARTIFACTS: &str = "artifacts";

/// Files of a data folder beside the database and the artifacts. Without them nobody could go on signing the log or act
/// as the operator.
pub(super) const KEYS: [&str; 3] = ["audit.key", "audit.trust.json", "operator.key"];

/// The stored form, version 1. A newer version is refused: a restore that leaves something out would not be one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: String,
    pub(super) version: u32,
    /// The program that took it.
    pub(super) program: String,
    pub(super) made_at: String,
    /// The name of the audit log.
    pub(super) origin: String,
    /// How many entries it has.
    pub(super) entries: u64,
    /// Its signed head (C2SP tlog-checkpoint).
    pub(super) checkpoint: String,
    /// Artifacts whose content did not have its digest any more when the backup was taken.
    pub(super) damaged: Vec<String>,
    /// Every other file, by path.
    pub(super) files: BTreeMap<String, FileEntry>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    pub(super) size_bytes: u64,
    pub(super) sha256: String,
}

/// Files below a folder, by path with `/` between the parts; and the folders themselves.
pub(super) fn files_below(root: &Path) -> std::io::Result<(Vec<String>, Vec<PathBuf>)> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    let mut next = 0;
    while let Some(folder) = folders.get(next).cloned() {
        next += 1;
        for entry in std::fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else if let Ok(below) = entry.path().strip_prefix(root) {
                files.push(below.to_string_lossy().into_owned());
            }
        }
    }
    files.sort_unstable();
    Ok((files, folders))
}

/// The size and digest of a file, which is flushed to the disk on the way.
pub(super) fn measured(path: &Path) -> std::io::Result<FileEntry> {
    let mut file = File::open(path)?;
    let (mut hash, mut size_bytes) = (Sha256::new(), 0);
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = file.read(&mut piece)?;
        let Some(read) = piece.get(..read).filter(|read| !read.is_empty()) else {
            break;
        };
        hash.update(read);
        size_bytes += read.len() as u64;
    }
    file.sync_all()?;
    Ok(FileEntry {
        size_bytes,
        sha256: hex(&hash.finalize()),
    })
}

pub(super) fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _a_string_takes_everything = write!(text, "{byte:02x}");
        text
    })
}

/// Whether a path of a manifest stays inside of its folder.
pub(super) fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for path in ["arbiter.db", "artifacts/a/b"] {
            assert!(is_inside(path), "{path}");
        }
        for path in ["", "/etc/passwd", "../x", "a/../../x", "./a"] {
            assert!(!is_inside(path), "{path}");
        }
    }

    #[test]
    fn a_file_is_measured_whole() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a");
        let content = vec![7; 200_000];
        std::fs::write(&path, &content).expect("written");
        let found = measured(&path).expect("measured");
        assert_eq!((found.size_bytes, found.sha256), (200_000, digest(&content)));
        assert_eq!(
            digest(b""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
