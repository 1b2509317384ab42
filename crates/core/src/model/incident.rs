//! Incidents, as far as others than their own domain know them.

use super::task::words;
use super::{ComponentName, FailureKind, IncidentId, Severity, Timestamp};

words! {
    /// How an incident stands.
    IncidentState {
        /// Nobody has taken it yet.
        Open = "open",
        /// Somebody has taken note of it; nobody further is called.
        Acknowledged = "acknowledged",
        /// Somebody works on it.
        Investigating = "investigating",
        /// What failed works again.
        Resolved = "resolved",
        /// It was looked back on; nothing changes it any more.
        Closed = "closed",
    }
}

impl IncidentState {
    /// Whether what failed still fails, as far as is known.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::Acknowledged | Self::Investigating)
    }
}

/// An incident as people outside are told of it. Every text was redacted.
#[derive(Debug, Clone, PartialEq)]
pub struct IncidentSummary {
    /// Its id.
    pub id: IncidentId,
    /// One line that says what is wrong.
    pub title: String,
    /// What failed.
    pub component: ComponentName,
    /// How.
    pub kind: FailureKind,
    /// How bad it is.
    pub severity: Severity,
    /// How it stands.
    pub state: IncidentState,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When its latest failure was seen.
    pub last_failure_at: Timestamp,
    /// How many failures it sums up.
    pub failures: u64,
    /// What more is known, by name, in order.
    pub details: Vec<(String, String)>,
    /// Where to read on: text and address.
    pub links: Vec<(String, String)>,
}
