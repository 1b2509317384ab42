//! How many rows there are, so that none is lost on the way without a sign.

use std::collections::BTreeMap;

/// The tables of a store whose rows are counted. Artifacts are checked one by one; loads and tallies are compared with
/// the tasks.
pub const TABLES: [&str; 16] = [
    "document",
    "document_index",
    "lease",
    "outbox",
    "agent",
    "agent_outcome",
    "lane",
    "task",
    "task_spec",
    "attempt",
    "stage_report",
    "dependency",
    "audit_batch",
    "audit_append",
    "metric_series",
    "metric_point",
];

/// How many rows each table has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// Says how many rows a table has.
    pub fn set(&mut self, table: &'static str, rows: u64) {
        self.0.insert(table, rows);
    }

    /// Leaves rows of a table out of the count.
    pub fn leave_out(&mut self, table: &'static str, rows: u64) {
        let count = self.0.entry(table).or_default();
        *count = count.saturating_sub(rows);
    }

    /// How many rows a table has.
    pub fn of(&self, table: &str) -> u64 {
        self.0.get(table).copied().unwrap_or(0)
    }

    /// The rows of all tables.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// The first table of which `other` has another number of rows.
    pub(super) fn difference(&self, other: &Self) -> Option<&'static str> {
        TABLES.into_iter().find(|table| self.of(table) != other.of(table))
    }
}
