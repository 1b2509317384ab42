//! Attempts: under way, finished, and what agents hand in.

use std::sync::Arc;

use super::task::words;
use super::{AgentId, ArtifactRef, CommandId, DecisionId, Fence, Holder, Json, Ratio, Timestamp, Usage};
use crate::ports::Scope;

/// An attempt under way or under review.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenAttempt {
    /// Its number, from 1; numbers restart when an operator requeues the task, fences never do.
    pub number: u16,
    /// The agent.
    pub agent: AgentId,
    /// Its fencing token.
    pub fence: Fence,
    /// When it was assigned.
    pub assigned_at: Timestamp,
    /// When the agent acknowledged, or was assigned while none has.
    pub started_at: Timestamp,
    /// When the agent acknowledged.
    pub acknowledged_at: Option<Timestamp>,
    /// The decision that chose the agent.
    pub decision: DecisionId,
    /// Why this agent was chosen.
    pub rationale: Arc<str>,
    /// The limits that are not enforced for it, in words of its transport that stay the same; empty when all are, none
    /// until the transport has told.
    pub not_enforced: Option<Vec<String>>,
}

/// A slot that stays taken after its attempt was ended from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// The token of the attempt.
    pub fence: Fence,
    /// Who held it.
    pub holder: Holder,
    /// When the slot is given back at the latest.
    pub until: Timestamp,
    /// What is given back.
    pub loads: Vec<Scope>,
}

/// What an agent tells while it works.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// When it was told, by the store's clock.
    pub at: Timestamp,
    /// How much is done, 0–1, if the agent knows.
    pub fraction: Option<Ratio>,
    /// A line for people.
    pub message: String,
}

/// A finished attempt, written once.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// The attempt as it was opened.
    pub open: OpenAttempt,
    /// When it ended.
    pub ended_at: Timestamp,
    /// The command that ended it: a repeat of that command gets the first answer.
    pub command: CommandId,
    /// How it ended.
    pub outcome: AttemptEnd,
    /// What it used.
    pub usage: Usage,
}

impl Attempt {
    /// The limits that were not enforced for it, in words of its transport that stay the same; empty when all were.
    ///
    /// None when nobody could say: its agent asked for the work itself, or the attempt was ended from outside before
    /// its transport had told.
    pub fn not_enforced(&self) -> Option<&[String]> {
        let told = match &self.outcome {
            AttemptEnd::Reported(report) => report.not_enforced.as_deref(),
            AttemptEnd::Failed(failure) => failure.not_enforced.as_deref(),
            AttemptEnd::Lost | AttemptEnd::Returned { .. } | AttemptEnd::Ended { .. } => None,
        };
        told.or(self.open.not_enforced.as_deref())
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq)]
pub enum AttemptEnd {
    /// The agent reported success.
    Reported(Report),
    /// It failed.
    Failed(Failure),
    /// The lease ended without a word from the agent.
    Lost,
    /// It was given back and does not count.
    Returned {
        /// Why.
        why: String,
    },
    /// It was ended from outside: cancelled, overdue, over budget, requeued.
    Ended {
        /// Why.
        why: String,
    },
}

/// What an agent hands in.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// The output.
    pub output: Option<Json>,
    /// Files that it made.
    pub artifacts: Vec<ArtifactRef>,
    /// What it claims about them.
    pub claims: Vec<Json>,
    /// What supports the claims.
    pub evidence: Vec<Json>,
    /// What the attempt used.
    pub usage: Usage,
    /// The limits that were not enforced for it: see [`Attempt::not_enforced`].
    pub not_enforced: Option<Vec<String>>,
}

words! {
    /// The class of a failed attempt.
    FailureClass {
        /// The agent says that it failed.
        Agent = "agent",
        /// The agent ended by a signal or with a non-zero status.
        Crash = "crash",
        /// It ran longer than the attempt may.
        Timeout = "timeout",
        /// Its answer is not what the protocol says.
        Protocol = "protocol",
        /// It went over a limit in output, memory or processes.
        Limit = "limit",
        /// It could not be started or reached.
        Transport = "transport",
        /// Review refused its output.
        Review = "review",
    }
}

/// Why an attempt failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The class.
    pub class: FailureClass,
    /// The agent's own word for it, if it gave one.
    pub code: Option<String>,
    /// A line for people and for the next attempt's context.
    pub message: String,
    /// What the attempt used.
    pub usage: Usage,
    /// The limits that were not enforced for it: see [`Attempt::not_enforced`].
    pub not_enforced: Option<Vec<String>>,
}
