//! Hints between nodes and between the parts of one.

use async_trait::async_trait;

use crate::model::{LaneId, TaskId};

/// Carries hints, best effort and coalesced. Correctness never depends on them: who waits for one also waits for a
/// timer.
pub trait Wakeups: Send + Sync + 'static {
    /// Publishes hints. Never blocks and never fails.
    fn publish(&self, hints: &[Hint]);

    /// Hints from now on.
    fn subscribe(&self) -> Box<dyn HintStream>;
}

/// What may have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// A lane has work.
    Lane(LaneId),
    /// A task changed.
    Task(TaskId),
    /// An agent has free slots, or may take work that it could not.
    Agents,
    /// The registry of agents changed: a profile, a mode, a removal.
    Registry,
}

/// Hints as they come.
#[async_trait]
pub trait HintStream: Send {
    /// Waits for hints. An empty answer means that some were dropped: look at everything.
    ///
    /// # Cancel safety
    /// Safe: hints that were not returned are kept or summed up by an empty answer.
    async fn next(&mut self) -> Vec<Hint>;
}
