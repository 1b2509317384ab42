//! Says where the process that owns a data folder can be reached, so that a second one can tell.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::exit::Failure;

const FILE: &str = "server.json";
/// The lock of the store that its owner holds.
const LOCK: &str = "arbiter.lock";

/// Where the owner of a data folder listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    /// Its process.
    pub(crate) pid: u32,
    /// Its base address, such as `http://127.0.0.1:7700`.
    pub(crate) url: String,
}

/// The note of the owner, removed when dropped.
#[derive(Debug)]
pub(crate) struct Note(PathBuf);

impl Drop for Note {
    fn drop(&mut self) {
        let _a_stale_note_names_a_process_that_is_gone = std::fs::remove_file(&self.0);
    }
}

/// Writes where this process listens.
pub(crate) fn announce(data_dir: &Path, address: SocketAddr, tls: bool) -> Result<Note, Failure> {
    let scheme = if tls { "https" } else { "http" };
    let owner = Owner {
        pid: std::process::id(),
        url: format!("{scheme}://{address}"),
    };
    let path = data_dir.join(FILE);
    let failed = |error: anyhow::Error| {
        Failure::unavailable(format!("`{}` could not be written", path.display()), error)
    };
    let text = serde_json::to_string(&owner).map_err(|error| failed(error.into()))?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| failed(error.into()))?;
    Ok(Note(path))
}

/// The process that owns a data folder, if it serves.
pub(crate) fn find(data_dir: &Path) -> Option<Owner> {
    let text = std::fs::read_to_string(data_dir.join(FILE)).ok()?;
    let owner: Owner = serde_json::from_str(&text).ok()?;
    // A note may be left by a process that was killed, and its number and port be somebody else's by now: a key must not
    // go there. The system gives the lock up with the process that wrote its number into it.
    let lock = std::fs::File::open(data_dir.join(LOCK)).ok()?;
    if !matches!(lock.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)) {
        return None;
    }
    let holder = std::fs::read_to_string(data_dir.join(LOCK)).ok()?;
    (holder.trim() == owner.pid.to_string()).then_some(owner)
}
