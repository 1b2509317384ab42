//! Delivering an assignment to an agent that does not ask for work.

use std::sync::Arc;

use async_trait::async_trait;

use super::BoxError;
use crate::model::{AgentId, Failure, Fence, Progress, Report, StoredTask, TenantId, Timestamp, Usage};

/// Runs one attempt on an agent that does not pull: a command, a webhook, a model.
#[async_trait]
pub trait AgentTransport: Send + Sync + 'static {
    /// Delivers the assignment and waits for its end.
    ///
    /// The attempt ends early when `delivery.stop` says so; the transport then ends whatever it started, gives it the
    /// grace that its kind promises, and answers [`Delivered::Stopped`]. Whatever the answer, nothing that the
    /// transport started is left behind.
    ///
    /// # Errors
    /// [`TransportError`] when the agent could not be started or reached, so that the attempt may be given back.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started, without grace.
    async fn deliver(&self, delivery: Delivery) -> Result<Delivered, TransportError>;
}

/// What to deliver.
#[derive(Clone)]
pub struct Delivery {
    /// The agent.
    pub agent: AgentId,
    /// The task.
    pub stored: StoredTask,
    /// The attempt's token.
    pub fence: Fence,
    /// The attempt's number.
    pub number: u16,
    /// When the attempt must have ended.
    pub deadline: Timestamp,
    /// What earlier attempts and other domains have to say to this one.
    pub context: Vec<ContextItem>,
    /// Where the agent's progress goes. Called from the delivery's own future; must not block.
    pub progress: Arc<dyn ProgressSink>,
    /// Says when to stop.
    pub stop: Arc<dyn StopSignal>,
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Delivery")
            .field("task", &self.stored.task.id)
            .field("agent", &self.agent)
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}

/// Something that an attempt should know beside its task.
#[derive(Debug, Clone, PartialEq)]
pub struct ContextItem {
    /// The sort: `failed_attempt`, `review`, `memory`, …
    pub kind: String,
    /// The tenant that it comes from.
    pub tenant: TenantId,
    /// The text.
    pub text: String,
}

/// Takes what an agent, and the transport about it, tell while it works.
pub trait ProgressSink: Send + Sync {
    /// The limits that the transport does not enforce for the attempt, in words that stay the same. Told once, as soon as
    /// they are known, so that they are kept although the attempt may be ended from outside.
    fn not_enforced(&self, limits: &[String]);

    /// Progress and, when told, what was used so far.
    fn tell(&self, progress: Option<Progress>, usage: Option<Usage>);
}

/// Says when an attempt must stop.
#[async_trait]
pub trait StopSignal: Send + Sync {
    /// Returns when the attempt must stop; at once, if it must already.
    async fn stopped(&self);
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Delivered {
    /// The agent reported success.
    Reported(Report),
    /// It failed.
    Failed(Failure),
    /// It was stopped as asked.
    Stopped,
}

/// Why an agent could not be started or reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The transport does not host this agent.
    #[error("the agent `{0}` is not hosted here")]
    UnknownAgent(AgentId),
    /// It could not be started or reached.
    #[error("the agent could not be started during {operation}")]
    Unreachable {
        /// What was being done.
        operation: &'static str,
        /// Why.
        source: BoxError,
    },
}
