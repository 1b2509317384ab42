//! Choosing agents: implemented by `allocation`, used by `orchestration`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::model::{AgentId, DecisionId, Fence, Ratio, Shape, TaskId, TaskKind, TenantId};
use crate::ports::{Chooser, RegistryError};

/// Chooses agents.
#[async_trait]
pub trait Allocator: Send + Sync + 'static {
    /// How many more tasks of each requirement class the offered agents could take, by tenant. Free slots shared by
    /// several classes are counted for each: it bounds quotas, it does not reserve.
    fn capacity(&self, shapes: &[(TenantId, Shape)], offers: &[Offer]) -> Vec<u32>;

    /// A chooser over these offers, for one claim.
    fn chooser(&self, offers: Vec<Offer>) -> Arc<dyn Chooser>;

    /// Takes note of how attempts ended, once per attempt.
    async fn learn(&self, outcomes: Vec<AttemptOutcome>) -> Result<(), RegistryError>;
}

/// An agent that could take work now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The agent.
    pub agent: AgentId,
    /// How many tasks it could start now.
    pub free: u32,
    /// Whether being chosen is its acknowledgement (it waits in a poll, or this node hosts it).
    pub acknowledges: bool,
    /// Kinds of tasks that it must not get now: it fails at them.
    pub without: Vec<TaskKind>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub struct AttemptOutcome {
    /// The task.
    pub task: TaskId,
    /// The attempt.
    pub fence: Fence,
    /// The kind of the task.
    pub kind: TaskKind,
    /// The agent.
    pub agent: AgentId,
    /// The decision that chose it.
    pub decision: DecisionId,
    /// Whether it succeeded.
    pub succeeded: bool,
    /// How good the output was, when it was judged.
    pub quality: Option<Ratio>,
    /// From acknowledgement to end.
    pub latency: Duration,
    /// What it cost, in millionths, when told.
    pub cost_micros: Option<u64>,
}
