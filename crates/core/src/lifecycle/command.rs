//! What can be asked of a task, and why it may be refused.

use std::sync::Arc;
use std::time::Duration;

use crate::mechanism::Backoff;
use crate::model::{
    DeadReason, Decision, FailReason, Failure, Fence, HoldReason, Holder, Json, Operation, Report,
    StageOutcome, StateName, TaskId, Usage, Version,
};
use crate::ports::Scope;

/// The times and counts that leases and retries follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long an agent has to acknowledge; 10 s.
    pub acknowledge_within: Duration,
    /// How long a lease lasts without a heartbeat; 45 s.
    pub lease: Duration,
    /// How many attempts of a task may be given back before they count; 10.
    pub max_returns: u16,
    /// How many errors of a stage's backend in a row hold the task; 5.
    pub max_stage_errors: u16,
    /// How long a task waits between attempts.
    pub backoff: Backoff,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            acknowledge_within: Duration::from_secs(10),
            lease: Duration::from_secs(45),
            max_returns: 10,
            max_stage_errors: 5,
            backoff: Backoff::TASK,
        }
    }
}

/// A command on one task.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Give the task to a holder: a queued one to an agent, one in review to a node.
    Assign {
        /// The holder.
        to: Holder,
        /// Whether it has taken the task already.
        acknowledged: bool,
        /// Why it was chosen.
        decision: Option<Arc<Decision>>,
        /// What the lease takes up.
        loads: Vec<Scope>,
    },
    /// The agent takes what it was assigned.
    Acknowledge,
    /// The agent gives it back.
    Decline {
        /// Why.
        why: String,
    },
    /// The attempt is taken away because its agent or node is drained; it is given back.
    Revoke {
        /// Why.
        why: String,
    },
    /// The agent hands in its output.
    Report(Box<Report>),
    /// The attempt failed.
    Fail {
        /// How.
        failure: Failure,
        /// What to do now.
        plan: RetryPlan,
    },
    /// The attempt used more than its budget.
    Exceed {
        /// Which part of the budget.
        part: String,
        /// What was used.
        usage: Usage,
    },
    /// A review stage is done.
    Stage {
        /// Its verdict.
        outcome: StageOutcome,
        /// The schema of its report.
        schema: String,
        /// Its report.
        body: Option<Json>,
        /// What to do if the verdict is a failure.
        plan: RetryPlan,
    },
    /// Withdraw the task.
    Cancel {
        /// Why.
        why: String,
    },
    /// Decide a held task.
    Release {
        /// The decision.
        decision: ReleaseDecision,
        /// Why.
        why: String,
    },
    /// Queue a failed task again.
    Retry {
        /// Why.
        why: String,
    },
    /// Give the task up.
    DeadLetter {
        /// Why.
        why: String,
    },
    /// Queue a dead letter again.
    Requeue {
        /// Why.
        why: String,
    },
    /// A prerequisite ended.
    Prerequisite {
        /// Which one.
        id: TaskId,
        /// Whether it succeeded.
        succeeded: bool,
    },
    /// Do what is overdue.
    Due,
}

impl Command {
    /// The command's word.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Assign { .. } => "assign",
            Self::Acknowledge => "acknowledge",
            Self::Decline { .. } => "decline",
            Self::Revoke { .. } => "revoke",
            Self::Report(_) => "report",
            Self::Fail { .. } => "fail",
            Self::Exceed { .. } => "exceed",
            Self::Stage { .. } => "stage",
            Self::Cancel { .. } => "cancel",
            Self::Release { .. } => "release",
            Self::Retry { .. } => "retry",
            Self::DeadLetter { .. } => "dead_letter",
            Self::Requeue { .. } => "requeue",
            Self::Prerequisite { .. } => "prerequisite",
            Self::Due => "due",
        }
    }

    /// The operation that a caller uses for it, for records of calls that did not name one.
    pub(crate) const fn operation(&self) -> Option<Operation> {
        Some(match self {
            Self::Acknowledge => Operation::WorkAcknowledge,
            Self::Decline { .. } => Operation::WorkDecline,
            Self::Report(_) => Operation::WorkReport,
            Self::Fail { .. } => Operation::WorkFail,
            Self::Cancel { .. } => Operation::TaskCancel,
            Self::Release { .. } => Operation::TaskRelease,
            Self::Retry { .. } => Operation::TaskRetry,
            Self::DeadLetter { .. } => Operation::TaskDeadLetter,
            Self::Requeue { .. } => Operation::TaskRequeue,
            _ => return None,
        })
    }

    /// Whether only the holder of the lease may give it.
    pub(crate) const fn needs_lease(&self) -> bool {
        matches!(
            self,
            Self::Acknowledge
                | Self::Decline { .. }
                | Self::Report(_)
                | Self::Fail { .. }
                | Self::Exceed { .. }
                | Self::Stage { .. }
        )
    }
}

/// What a person decides about a held task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseDecision {
    /// Go on where it was held.
    Resume,
    /// Accept the output: succeeded. Only when there is one.
    Accept,
    /// Refuse it: failed by policy.
    Reject,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryPlan {
    /// Try again while attempts are left, else dead-letter. `after` replaces the rules' back-off.
    Retry {
        /// How long to wait.
        after: Option<Duration>,
    },
    /// Hold for a person.
    Hold(HoldReason),
    /// Fail for good.
    Fail(FailReason),
    /// Give up at once.
    DeadLetter(DeadReason),
}

/// What must hold for a command to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// This holder has the lease with this token.
    Lease {
        /// The token.
        fence: Fence,
        /// The holder.
        holder: Holder,
    },
    /// The task has this version.
    Version(Version),
    /// Nothing.
    Any,
}

/// Why a command was refused. The task is unchanged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The task does not exist in the tenant.
    #[error("the task does not exist")]
    NotFound,
    /// The token is stale, or somebody else's.
    #[error("the lease is lost: the task was given to somebody else, or has ended")]
    LeaseLost,
    /// The task has changed since.
    #[error("the task has version {current} now")]
    VersionConflict {
        /// Its version.
        current: Version,
    },
    /// The state table has no such move.
    #[error("a task that is {from} cannot be changed by `{command}`", from = from.word())]
    Illegal {
        /// The state.
        from: StateName,
        /// The command.
        command: &'static str,
    },
    /// Only the holder of the lease may do this, and the call names no lease.
    #[error("this needs the fencing token of the lease")]
    LeaseRequired,
    /// Nothing is overdue.
    #[error("nothing is overdue")]
    NotDue,
}

impl Refusal {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::LeaseLost => "lease_lost",
            Self::VersionConflict { .. } => "precondition_failed",
            Self::Illegal { .. } => "illegal_transition",
            Self::LeaseRequired => "lease_required",
            Self::NotDue => "not_due",
        }
    }
}
