//! What to do after failures: implemented by `failure`, used by `queue` and `orchestration`.

use crate::lifecycle::RetryPlan;
use crate::model::{AgentId, ComponentFailure, Failure, TaskId, TaskKind, TenantId};

/// Decides what follows a failed attempt, and hears of failures.
pub trait FailureHandler: Send + Sync + 'static {
    /// What to do with the task now. Pure and quick.
    fn plan(&self, failure: &AttemptFailure<'_>) -> RetryPlan;

    /// Takes note of a failure. Never blocks: an event that cannot be taken is counted and dropped.
    fn report(&self, event: FailureEvent);
}

/// A failed attempt.
#[derive(Debug, Clone, Copy)]
pub struct AttemptFailure<'a> {
    /// The task.
    pub task: TaskId,
    /// Its tenant.
    pub tenant: TenantId,
    /// Its kind.
    pub kind: &'a TaskKind,
    /// The agent.
    pub agent: Option<AgentId>,
    /// Attempts that count so far, this one included.
    pub attempts: u16,
    /// How many the task may make.
    pub max_attempts: u16,
    /// How it failed.
    pub failure: &'a Failure,
}

/// Something failed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum FailureEvent {
    /// An attempt.
    Attempt {
        /// The task.
        task: TaskId,
        /// Its tenant.
        tenant: TenantId,
        /// Its kind.
        kind: TaskKind,
        /// The agent.
        agent: AgentId,
        /// How.
        failure: Failure,
    },
    /// A part of the system.
    Component(ComponentFailure),
}
