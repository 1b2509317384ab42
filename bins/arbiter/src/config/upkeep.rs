//! The sections `agents` and `backup`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{AgentsSection, BackupSection};

/// What keeps a node in order.
#[derive(Debug, Clone)]
pub(crate) struct UpkeepConfig {
    /// How long an agent may be silent before it is removed.
    pub(crate) remove_agents_after: Duration,
    /// Where a running server writes backups.
    pub(crate) backups: Option<PathBuf>,
}

impl UpkeepConfig {
    pub(super) fn of(
        agents: &AgentsSection,
        backup: &BackupSection,
        folder: &Path,
        problems: &mut Vec<String>,
    ) -> Self {
        // A week: agents on machines that are switched off over a holiday keep their record.
        let hours = agents.remove_after_hours.unwrap_or(168);
        if !(2..=8_760).contains(&hours) {
            problems.push(format!(
                "agents.remove_after_hours: must lie in 2..=8760, not {hours}"
            ));
        }
        Self {
            remove_agents_after: Duration::from_hours(hours.into()),
            backups: backup.folder.as_ref().map(|path| folder.join(path)),
        }
    }
}
