//! The agents' side of the queue: implemented by `queue`, used by `orchestration` for agents that do not call by
//! themselves, so that every form of agent takes the same path of rights, limits and redaction.

use std::time::Duration;

use async_trait::async_trait;

use crate::lifecycle::Refusal;
use crate::model::{CommandId, Failure, Fence, Principal, Progress, Report, Task, TaskId, TenantId, Usage};
use crate::ports::{LeaseStatus, StoreError};

/// What an agent does with the work that it was assigned.
#[async_trait]
pub trait WorkDesk: Send + Sync + 'static {
    /// Checks that the agent may take work at all, before it is offered any.
    async fn may_claim(&self, agent: &Principal) -> Result<(), WorkError>;

    /// Takes an assignment.
    async fn acknowledge(&self, agent: &Principal, work: WorkRef) -> Result<Task, WorkError>;

    /// Keeps leases and tells progress. The answers stand in the order of the items; an item that may not be
    /// extended by this agent is answered [`LeaseStatus::Lost`].
    async fn heartbeat(&self, agent: &Principal, items: Vec<Beat>) -> Result<Vec<LeaseStatus>, WorkError>;

    /// Hands in an output.
    async fn report(&self, agent: &Principal, work: WorkRef, report: Report) -> Result<Task, WorkError>;

    /// Reports a failed attempt.
    async fn fail(&self, agent: &Principal, work: WorkRef, failure: Failure) -> Result<Task, WorkError>;

    /// Gives an assignment back.
    async fn decline(&self, agent: &Principal, work: WorkRef, why: String) -> Result<Task, WorkError>;
}

/// Names an attempt and the call about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkRef {
    /// The task.
    pub task: TaskId,
    /// Its tenant, which differs from the agent's where agents are shared.
    pub tenant: TenantId,
    /// The attempt's token.
    pub fence: Fence,
    /// Names the call, so that it can be repeated.
    pub command: CommandId,
}

/// A heartbeat for one attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct Beat {
    /// The task.
    pub task: TaskId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The attempt's token.
    pub fence: Fence,
    /// What the agent tells.
    pub progress: Option<Progress>,
    /// What it has used so far.
    pub usage: Option<Usage>,
    /// The limits that are not enforced for the attempt, when that is told; it needs to be told once.
    pub not_enforced: Option<Vec<String>>,
}

/// Why an agent's call was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorkError {
    /// The principal may not do this.
    #[error("the principal may not do this")]
    Forbidden,
    /// Too many calls.
    #[error("too many calls; try again in {} ms", retry_after.as_millis())]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// What was handed in breaks a limit or a rule.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The store's rules refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
