//! What a review stage says.

use super::task::HoldReason;
use super::{CommandId, Fence, Json, Stage, Timestamp};

/// The verdict of one review stage on one reported output.
#[derive(Debug, Clone, PartialEq)]
pub enum StageOutcome {
    /// The output passes.
    Passed,
    /// It does not; the reasons go into the next attempt's context.
    Failed {
        /// At least one reason.
        reasons: Vec<String>,
    },
    /// A person must decide.
    Unsure {
        /// Why.
        why: HoldReason,
    },
    /// The stage's backend failed; it is tried again later, and never silently passed.
    Errored {
        /// What failed.
        message: String,
    },
}

impl StageOutcome {
    /// The stable word used in wire forms.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed { .. } => "failed",
            Self::Unsure { .. } => "unsure",
            Self::Errored { .. } => "errored",
        }
    }
}

/// What a stage hands back beside its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct StageReport {
    /// The stage.
    pub stage: Stage,
    /// The attempt whose output was reviewed.
    pub fence: Fence,
    /// The command that stored the verdict.
    pub command: CommandId,
    /// When.
    pub at: Timestamp,
    /// The verdict.
    pub outcome: StageOutcome,
    /// The schema of the body, such as `verification/1`.
    pub schema: String,
    /// The stage's own report.
    pub body: Option<Json>,
}
