//! Acting on what runs: restart, switch over, scale, isolate.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;

use super::BoxError;
use crate::model::task_words as words;
use crate::model::{ComponentName, OperationId, Timestamp};

/// Acts on the components of one technology: processes, containers, deployments, units.
///
/// # Contract
/// - `start` is idempotent by id: a repeat begins nothing, and gives how the operation stands. The same id for something
///   else is [`InfrastructureError::Conflict`].
/// - One operation of a component is under way at a time; another one is [`InfrastructureError::Conflict`].
/// - An operation succeeds when its effect was seen, not when it was asked for; one that cannot be seen to end fails.
/// - A verb that the controller does not have is [`InfrastructureError::Unsupported`], and [`verbs`](Self::verbs) does not
///   name it. A controller that is switched off answers [`InfrastructureError::Disabled`] to everything but reads, never a
///   success.
/// - `cancel` ends what is under way, at the next moment at which nothing is half done; what has ended stays as it is.
/// - `status` knows an operation for an hour after its end at least; before a restart of the process only as far as the
///   technology itself remembers it.
/// - To isolate is to give the component no new work, then to stop it without ending it; to reinstate undoes that. Who
///   isolates for a time calls `Reinstate` when it is over: the time is not the controller's business.
#[async_trait]
pub trait InfrastructureController: Send + Sync + 'static {
    /// What it can do at all.
    fn verbs(&self) -> BTreeSet<VerbName>;

    /// Begins an operation, or finds that it was begun.
    async fn start(&self, request: OperationRequest) -> Result<OperationStatus, InfrastructureError>;

    /// How an operation stands; `None` for one that is not known.
    async fn status(&self, id: OperationId) -> Result<Option<OperationStatus>, InfrastructureError>;

    /// Ends an operation that is under way; `None` for one that is not known.
    async fn cancel(&self, id: OperationId) -> Result<Option<OperationStatus>, InfrastructureError>;

    /// How a component stands, looked up now.
    async fn health(&self, component: &ComponentName) -> Result<ComponentHealth, InfrastructureError>;
}

/// What to do to a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationRequest {
    /// Names the operation.
    pub id: OperationId,
    /// The component.
    pub component: ComponentName,
    /// What to do.
    pub verb: Verb,
}

/// What can be done to a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Asks it to end, waits the grace of its kind, ends it if need be, and starts it again.
    RestartGraceful,
    /// Ends it at once and starts it again.
    RestartForced,
    /// Makes a standby that is healthy do its work: find, check, redirect, verify, drain the old one.
    SwitchOver,
    /// Runs so many of it.
    Scale {
        /// How many.
        to: u32,
    },
    /// Gives it no new work, then stops it without ending it.
    Isolate,
    /// Undoes an isolation.
    Reinstate,
}

words! {
    /// The name of a verb, without its data.
    VerbName {
        /// See [`Verb::RestartGraceful`].
        RestartGraceful = "restart_graceful",
        /// See [`Verb::RestartForced`].
        RestartForced = "restart_forced",
        /// See [`Verb::SwitchOver`].
        SwitchOver = "switch_over",
        /// See [`Verb::Scale`].
        Scale = "scale",
        /// See [`Verb::Isolate`].
        Isolate = "isolate",
        /// See [`Verb::Reinstate`].
        Reinstate = "reinstate",
    }
}

impl Verb {
    /// Its name.
    pub const fn name(self) -> VerbName {
        match self {
            Self::RestartGraceful => VerbName::RestartGraceful,
            Self::RestartForced => VerbName::RestartForced,
            Self::SwitchOver => VerbName::SwitchOver,
            Self::Scale { .. } => VerbName::Scale,
            Self::Isolate => VerbName::Isolate,
            Self::Reinstate => VerbName::Reinstate,
        }
    }
}

words! {
    /// How an operation stands.
    OperationState {
        /// It is under way.
        Running = "running",
        /// Its effect was seen.
        Succeeded = "succeeded",
        /// It did not come to its effect.
        Failed = "failed",
        /// It was ended before.
        Cancelled = "cancelled",
    }
}

/// How an operation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationStatus {
    /// Which.
    pub id: OperationId,
    /// Of which component.
    pub component: ComponentName,
    /// What it does.
    pub verb: Verb,
    /// How it stands.
    pub state: OperationState,
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended, if it has.
    pub ended_at: Option<Timestamp>,
    /// What was done so far, in order: one line each, at most 64.
    pub steps: Vec<String>,
    /// Why it failed, if it has. No secret is in it.
    pub why: Option<String>,
}

/// How a component stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ComponentHealth {
    /// It does its work.
    Healthy {
        /// How many of it run, where that can be told.
        instances: Option<u32>,
    },
    /// It does not.
    Unhealthy {
        /// Why.
        why: String,
    },
    /// It is isolated.
    Isolated,
}

/// Why a controller did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InfrastructureError {
    /// It does not know the component.
    #[error("the component `{0}` is not known to this controller")]
    UnknownComponent(ComponentName),
    /// It is switched off.
    #[error("control of infrastructure is disabled")]
    Disabled,
    /// It has no such verb.
    #[error("`{}` is not supported here: {why}", verb.word())]
    Unsupported {
        /// The verb.
        verb: VerbName,
        /// Why not.
        why: String,
    },
    /// Another operation of the component is under way, or the id was used for something else.
    #[error(
        "the operation `{under_way}` of the component is under way, or its id was used for something else"
    )]
    Conflict {
        /// Which.
        under_way: OperationId,
    },
    /// What it acts through refuses the call: a repeat is of no use.
    #[error("{operation} was refused: {message}")]
    Refused {
        /// What was being done.
        operation: &'static str,
        /// What it says, without secrets.
        message: String,
    },
    /// What it acts through cannot be reached, or fails. The call may have taken effect.
    #[error("{operation} failed")]
    Unavailable {
        /// What was being done.
        operation: &'static str,
        /// After how long it may be asked again, if it said so.
        retry_after: Option<Duration>,
        /// Why.
        source: BoxError,
    },
}
