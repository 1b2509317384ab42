//! The sections `agents`, `backup` and `retention`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{AgentsSection, BackupSection, RetentionSection};

/// What keeps a node in order.
#[derive(Debug, Clone)]
pub(crate) struct UpkeepConfig {
    /// How long an agent may be silent before it is removed.
    pub(crate) remove_agents_after: Duration,
    /// How many agents the registry takes.
    pub(crate) most_agents: usize,
    /// Where a running server writes backups.
    pub(crate) backups: Option<PathBuf>,
    /// How long closed tasks are kept; for good, when it is absent.
    pub(crate) keep_tasks: Option<Duration>,
    /// How long details of the audit log are kept; for good, when it is absent.
    pub(crate) keep_details: Option<Duration>,
}

impl UpkeepConfig {
    pub(super) fn of(
        agents: &AgentsSection,
        backup: &BackupSection,
        retention: &RetentionSection,
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
        let most_agents = agents.most.unwrap_or(10_000);
        if !(1..=1_000_000).contains(&most_agents) {
            problems.push(format!("agents.most: must lie in 1..=1000000, not {most_agents}"));
        }
        Self {
            most_agents,
            remove_agents_after: Duration::from_hours(hours.into()),
            keep_tasks: days("retention.tasks_days", retention.tasks_days, problems),
            keep_details: days(
                "retention.audit_details_days",
                retention.audit_details_days,
                problems,
            ),
            backups: backup.folder.as_ref().map(|path| folder.join(path)),
        }
    }
}

/// A time in whole days.
fn days(key: &str, days: Option<u32>, problems: &mut Vec<String>) -> Option<Duration> {
    let days = days?;
    if !(1..=36_500).contains(&days) {
        problems.push(format!("{key}: must lie in 1..=36500, not {days}"));
    }
    Some(Duration::from_hours(u64::from(days) * 24))
}
