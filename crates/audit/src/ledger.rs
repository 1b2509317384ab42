//! The order of task versions: each transition of a task has exactly one leaf, in order.

use std::collections::HashMap;

use arbiter_core::model::TaskId;

use crate::json::read_uuid;
use crate::leaf::Outcome;
use crate::view::LeafView;

/// The resource kind whose versions are followed.
pub const TASK_KIND: &str = "task";

/// What a leaf says about the version of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// The index of the leaf.
    pub index: u64,
    /// The task; `None` if the resource id is not a task id.
    pub task: Option<TaskId>,
    /// The version that the leaf says was made.
    pub version: u64,
    /// How the action ended.
    pub outcome: Outcome,
}

impl Observation {
    /// Reads what the leaf at `index` says; `None` if it makes no version of a task.
    pub fn of(index: u64, leaf: &LeafView<'_>) -> Option<Self> {
        let resource = leaf.resource.filter(|resource| resource.kind == TASK_KIND)?;
        let version = resource.version?;
        let task = resource
            .id
            .plain()
            .and_then(|id| read_uuid(id.as_bytes()))
            .map(TaskId::from_bytes);
        Some(Self {
            index,
            task,
            version,
            outcome: leaf.outcome,
        })
    }
}

/// A breach of the rule that versions 1, 2, 3, … of every task have one leaf each, in this order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A version is missing, repeated or out of order.
    #[error("entry {index}: task {task} has version {found} where {expected} belongs")]
    Order {
        /// The index of the leaf.
        index: u64,
        /// The task.
        task: TaskId,
        /// The version that belongs here.
        expected: u64,
        /// The version that the leaf carries.
        found: u64,
    },
    /// A refusal carries a version, although it changed nothing.
    #[error("entry {index}: a refusal carries version {version}")]
    Refusal {
        /// The index of the leaf.
        index: u64,
        /// The version that the leaf carries.
        version: u64,
    },
    /// The resource is of kind `task` and has a version, but its id is not a task id.
    #[error("entry {index}: the resource id is not a task id")]
    TaskId {
        /// The index of the leaf.
        index: u64,
    },
}

/// Follows the versions of all tasks; memory grows with the number of tasks, 24 bytes each.
#[derive(Debug, Clone, Default)]
pub struct VersionLedger {
    last: HashMap<TaskId, u64>,
}

impl VersionLedger {
    /// A ledger before the first leaf of a log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next observation in log order and returns what is wrong with it. After a gap it goes on from the
    /// version that was found, so that one lost leaf is one finding.
    pub fn observe(&mut self, observation: &Observation) -> Option<Finding> {
        let Observation {
            index,
            task,
            version,
            outcome,
        } = *observation;
        if outcome == Outcome::Refused {
            return Some(Finding::Refusal { index, version });
        }
        let Some(task) = task else {
            return Some(Finding::TaskId { index });
        };
        let last = self.last.entry(task).or_default();
        let expected = last.saturating_add(1);
        *last = version.max(*last);
        (version != expected).then_some(Finding::Order {
            index,
            task,
            expected,
            found: version,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(index: u64, task: u8, version: u64) -> Observation {
        Observation {
            index,
            task: Some(TaskId::from_bytes([task; 16])),
            version,
            outcome: Outcome::Done,
        }
    }

    #[test]
    fn versions_of_each_task_run_from_one_without_gaps() {
        let mut ledger = VersionLedger::new();
        for (index, task, version) in [(0, 1, 1), (1, 2, 1), (2, 1, 2), (3, 2, 2), (4, 1, 3)] {
            assert_eq!(ledger.observe(&done(index, task, version)), None);
        }
        let order = |index, expected, found| {
            Some(Finding::Order {
                index,
                task: TaskId::from_bytes([1; 16]),
                expected,
                found,
            })
        };
        assert_eq!(ledger.observe(&done(5, 1, 3)), order(5, 4, 3));
        assert_eq!(ledger.observe(&done(6, 1, 6)), order(6, 4, 6));
        assert_eq!(ledger.observe(&done(7, 1, 5)), order(7, 7, 5));
        assert_eq!(ledger.observe(&done(8, 1, 7)), None);
        assert_eq!(ledger.observe(&done(9, 1, u64::MAX)), order(9, 8, u64::MAX));
        assert!(ledger.observe(&done(10, 3, 2)).is_some());
    }

    #[test]
    fn refusals_with_a_version_and_unknown_ids_are_findings() {
        let mut ledger = VersionLedger::new();
        let refused = Observation {
            outcome: Outcome::Refused,
            ..done(0, 1, 1)
        };
        assert_eq!(
            ledger.observe(&refused),
            Some(Finding::Refusal { index: 0, version: 1 })
        );
        let unnamed = Observation {
            task: None,
            ..done(1, 1, 1)
        };
        assert_eq!(ledger.observe(&unnamed), Some(Finding::TaskId { index: 1 }));
        assert_eq!(ledger.observe(&done(2, 1, 1)), None);
    }
}
