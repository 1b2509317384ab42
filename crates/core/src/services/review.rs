//! Reviewing, admitting, adding context, following the log.

use async_trait::async_trait;

use crate::model::{Json, ReviewPlan, Stage, StageOutcome, StoredTask, TaskSpec, TenantId};
use crate::ports::{AuditEntry, BoxError, ContextItem, TaskHistory};

/// A stage of review: implemented by `verification`, `evaluation`, `compliance`; used by `orchestration`.
#[async_trait]
pub trait ReviewStage: Send + Sync + 'static {
    /// Which stage it is.
    fn stage(&self) -> Stage;

    /// Whether it can do what the plan asks of it; asked at submit, so that no task waits for what is not there.
    fn accepts(&self, plan: &ReviewPlan) -> bool;

    /// Reviews a reported output.
    ///
    /// # Errors
    /// [`ReviewError`] when its backend failed: the stage is tried again, and never silently passed.
    async fn review(&self, work: ReviewWork) -> Result<ReviewVerdict, ReviewError>;
}

/// What is to be reviewed.
#[derive(Debug, Clone)]
pub struct ReviewWork {
    /// The task.
    pub stored: StoredTask,
    /// Its attempts and earlier stage reports; the last attempt holds the output.
    pub history: TaskHistory,
}

/// A verdict with its report.
#[derive(Debug, Clone, PartialEq)]
pub struct ReviewVerdict {
    /// The verdict.
    pub outcome: StageOutcome,
    /// The schema of the report.
    pub schema: String,
    /// The report.
    pub body: Option<Json>,
}

/// A stage's backend failed.
#[derive(Debug, thiserror::Error)]
#[error("the review stage could not decide")]
pub struct ReviewError(#[source] pub BoxError);

/// A rule that sees submissions before they are stored: implemented by `compliance`, used by `queue`.
#[async_trait]
pub trait AdmissionRule: Send + Sync + 'static {
    /// Decides about a submission.
    ///
    /// # Errors
    /// [`AdmissionError`] when the rule could not be evaluated, which refuses the submission.
    async fn admit(&self, tenant: TenantId, spec: &TaskSpec) -> Result<Admission, AdmissionError>;
}

/// What a rule says about a submission.
#[derive(Debug, Clone, PartialEq)]
pub enum Admission {
    /// Go on.
    Allow,
    /// Go on with this specification.
    Modify(Box<TaskSpec>),
    /// Refuse.
    Deny {
        /// Why, for the submitter.
        reason: String,
    },
}

/// A rule could not be evaluated.
#[derive(Debug, thiserror::Error)]
#[error("an admission rule could not be evaluated")]
pub struct AdmissionError(#[source] pub BoxError);

/// Adds to what an attempt knows: implemented by `federated-memory`, used by `orchestration`.
#[async_trait]
pub trait ContextSource: Send + Sync + 'static {
    /// Items of at most `budget_bytes` together.
    async fn context(&self, stored: &StoredTask, budget_bytes: usize) -> Vec<ContextItem>;
}

/// Follows the audit log: at least once, in order, idempotent by position.
#[async_trait]
pub trait LogConsumer: Send + Sync + 'static {
    /// Names its cursor.
    fn name(&self) -> &'static str;

    /// Takes the next entries.
    ///
    /// # Errors
    /// An error keeps the cursor where it is; the same entries come again.
    async fn consume(&self, entries: &[AuditEntry]) -> Result<(), BoxError>;
}
