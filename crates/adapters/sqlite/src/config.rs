//! Settings of the store.

use std::path::PathBuf;

/// Where the store lives and how much it may hold in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteConfig {
    /// The folder of the database and its lock file; made if it does not exist.
    pub directory: PathBuf,
    /// How many mutations may wait for the writer before further ones are told that the store is busy; 4096.
    pub queue: usize,
    /// How many threads read; 2.
    pub readers: usize,
    /// How many agents the registry takes; 10 000.
    pub max_agents: usize,
    /// How many series of measurements there is room for; 20 000.
    pub max_series: usize,
}

impl SqliteConfig {
    /// The default settings for a folder.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            queue: 4096,
            readers: 2,
            max_agents: 10_000,
            max_series: 20_000,
        }
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.directory.join("arbiter.db")
    }

    /// The file that the owning process keeps locked.
    pub fn lock_file(&self) -> PathBuf {
        self.directory.join("arbiter.lock")
    }
}
