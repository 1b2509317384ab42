//! Why the queue refuses, with stable codes.

use std::time::Duration;

use arbiter_core::lifecycle::Refusal;
use arbiter_core::model::{TaskId, Version};
use arbiter_core::ports::StoreError;
use arbiter_core::services::WorkError;

/// Why an operation was refused or failed. The text is meant for the caller; sources are for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The credential was not accepted.
    #[error("the credential was not accepted")]
    AuthFailed,
    /// The principal may not do this.
    #[error("the principal may not do this")]
    Forbidden,
    /// The principal's tenant is suspended.
    #[error("the tenant is suspended")]
    TenantSuspended,
    /// Too many calls.
    #[error("too many calls; try again in {} ms", retry_after.as_millis())]
    RateLimited {
        /// When to try again.
        retry_after: Duration,
    },
    /// A field breaks a rule.
    #[error("`{field}` {problem}")]
    InvalidTask {
        /// The field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A field is too large.
    #[error("`{field}` is too large: {actual} where {limit} is the limit")]
    TooLarge {
        /// The field.
        field: String,
        /// Its limit, in the field's own unit.
        limit: usize,
        /// Its size.
        actual: usize,
    },
    /// The principal may not submit tasks of this kind.
    #[error("tasks of kind `{kind}` may not be submitted here")]
    KindNotAllowed {
        /// The kind.
        kind: String,
    },
    /// The content policy refuses the text.
    #[error("the content policy refuses `{field}`: it looks like {pattern}")]
    SuspiciousContent {
        /// The field.
        field: String,
        /// What was found.
        pattern: &'static str,
    },
    /// The idempotency key was used for another content.
    #[error("the idempotency key was used for another content, by task `{task}`")]
    IdempotencyConflict {
        /// By this task.
        task: TaskId,
    },
    /// There is no such thing, or the principal may not know of it.
    #[error("not found")]
    NotFound,
    /// The state table has no such move.
    #[error("{0}")]
    IllegalTransition(#[source] Refusal),
    /// The lease is lost.
    #[error("the lease is lost: the task was given to somebody else, or has ended")]
    LeaseLost,
    /// The tenant has as many open tasks as it may have.
    #[error("the tenant has {open} open tasks and may have {limit}")]
    BacklogFull {
        /// Open tasks.
        open: u64,
        /// The limit.
        limit: u64,
    },
    /// What the caller expected does not hold.
    #[error("the task has version {current} now")]
    PreconditionFailed {
        /// Its version.
        current: Version,
    },
    /// An agent that is to be removed holds tasks.
    #[error("the agent holds {held} tasks; drain it and wait, or quarantine it")]
    AgentHoldsWork {
        /// How many.
        held: usize,
    },
    /// Another task of the same all-or-nothing submit was refused.
    #[error("another task of the same all-or-nothing submit was refused")]
    NeighbourRefused,
    /// Something that the queue needs cannot be reached; nothing was half done.
    #[error("the service is unavailable; try again in {} ms", retry_after.as_millis())]
    Unavailable {
        /// When to try again.
        retry_after: Duration,
        /// Why.
        source: arbiter_core::ports::BoxError,
    },
    /// The registry of agents cannot be reached. What was asked of it may have been done.
    #[error("the registry of agents is unavailable; try again in {} ms", retry_after.as_millis())]
    RegistryUnavailable {
        /// When to try again.
        retry_after: Duration,
        /// Why.
        source: arbiter_core::ports::BoxError,
    },
    /// The registry of agents does not take this call for what it says.
    #[error("the registry of agents refuses it{}", cause(source.as_ref()))]
    RegistryRefused {
        /// Why.
        source: arbiter_core::ports::BoxError,
    },
    /// A mistake of ours.
    #[error("internal error during {operation}")]
    Internal {
        /// What was being done.
        operation: &'static str,
        /// Why.
        source: arbiter_core::ports::BoxError,
    },
}

/// What the registry itself said.
fn cause(error: &(dyn std::error::Error + Send + Sync + 'static)) -> String {
    error.source().map(|said| format!(": {said}")).unwrap_or_default()
}

impl QueueError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::AuthFailed => "auth_failed",
            Self::Forbidden | Self::TenantSuspended => "forbidden",
            Self::RateLimited { .. } => "rate_limited",
            Self::InvalidTask { .. } | Self::NeighbourRefused => "invalid_task",
            Self::TooLarge { .. } => "too_large",
            Self::KindNotAllowed { .. } => "kind_not_allowed",
            Self::SuspiciousContent { .. } => "suspicious_content",
            Self::IdempotencyConflict { .. } => "idempotency_conflict",
            Self::NotFound => "not_found",
            Self::IllegalTransition(_) => "illegal_transition",
            Self::LeaseLost => "lease_lost",
            Self::BacklogFull { .. } => "backlog_full",
            Self::PreconditionFailed { .. } => "precondition_failed",
            Self::AgentHoldsWork { .. } => "in_use",
            Self::Unavailable { .. } => "unavailable",
            Self::RegistryUnavailable { .. } => "registry_unavailable",
            Self::RegistryRefused { .. } => "invalid_value",
            Self::Internal { .. } => "internal",
        }
    }

    /// A broken rule of a field.
    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::InvalidTask {
            field: field.into(),
            problem: problem.into(),
        }
    }
}

impl From<StoreError> for QueueError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy { retry_after } => Self::Unavailable {
                retry_after,
                source: Box::new(error),
            },
            error if error.is_transient() => Self::Unavailable {
                retry_after: Duration::from_secs(1),
                source: Box::new(error),
            },
            error => Self::Internal {
                operation: "a store call",
                source: Box::new(error),
            },
        }
    }
}

impl From<Refusal> for QueueError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound => Self::NotFound,
            Refusal::LeaseLost | Refusal::LeaseRequired => Self::LeaseLost,
            Refusal::VersionConflict { current } => Self::PreconditionFailed { current },
            refusal => Self::IllegalTransition(refusal),
        }
    }
}

/// Agents hear the same refusals through [`WorkDesk`](arbiter_core::services::WorkDesk).
impl From<QueueError> for WorkError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::RateLimited { retry_after } => Self::RateLimited { retry_after },
            QueueError::Unavailable { retry_after, .. } => Self::Store(StoreError::Busy { retry_after }),
            QueueError::NotFound => Self::Refused(Refusal::NotFound),
            QueueError::LeaseLost => Self::Refused(Refusal::LeaseLost),
            QueueError::IllegalTransition(refusal) => Self::Refused(refusal),
            QueueError::PreconditionFailed { current } => Self::Refused(Refusal::VersionConflict { current }),
            QueueError::InvalidTask { field, problem } => Self::Invalid { field, problem },
            QueueError::TooLarge { ref field, .. } => Self::Invalid {
                field: field.clone(),
                problem: error.to_string(),
            },
            QueueError::Internal { operation, source } => Self::Store(StoreError::Backend {
                operation,
                applied: arbiter_core::ports::Applied::Unknown,
                retry: arbiter_core::ports::Retry::Permanent,
                source,
            }),
            _ => Self::Forbidden,
        }
    }
}
