//! What is asked: the specification of a task.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::task::words;
use super::{Digest, Json, Priority, Ratio, TaskId, TaskKind, Timestamp};

/// What a submitter asks for. Written once, never changed.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSpec {
    /// What sort of work it is.
    pub kind: TaskKind,
    /// A line for people, at most 200 characters.
    pub title: String,
    /// What to do, at most 100 000 characters.
    pub instructions: String,
    /// Input for the agent, at most 1 MiB; anything larger is an artifact.
    pub input: Option<Json>,
    /// Named inputs kept in the artifact store.
    pub artifacts: Vec<ArtifactRef>,
    /// How urgent it is.
    pub priority: Priority,
    /// What an agent must be able to do.
    pub requires: Requires,
    /// Limits in time, attempts and cost.
    pub constraints: Constraints,
    /// The earliest moment at which an attempt may start.
    pub not_before: Option<Timestamp>,
    /// Tasks of the same tenant that must have succeeded first.
    pub after: Vec<TaskId>,
    /// What happens when one of `after` does not succeed.
    pub on_prerequisite_failure: OnPrerequisiteFailure,
    /// Which review stages the output passes before the task counts as succeeded.
    pub review: ReviewPlan,
    /// Words for finding the task again.
    pub labels: BTreeMap<String, String>,
    /// How sensitive the input is.
    pub security: SecurityLevel,
    /// The W3C trace context of the submitter.
    pub trace: Option<TraceContext>,
}

impl TaskSpec {
    /// A specification with every optional part at its default.
    pub fn new(kind: TaskKind, title: impl Into<String>, instructions: impl Into<String>) -> Self {
        Self {
            kind,
            title: title.into(),
            instructions: instructions.into(),
            input: None,
            artifacts: Vec::new(),
            priority: Priority::default(),
            requires: Requires::default(),
            constraints: Constraints::default(),
            not_before: None,
            after: Vec::new(),
            on_prerequisite_failure: OnPrerequisiteFailure::default(),
            review: ReviewPlan::default(),
            labels: BTreeMap::new(),
            security: SecurityLevel::default(),
            trace: None,
        }
    }
}

/// A named file in the artifact store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactRef {
    /// The file's name as the agent sees it: letters, digits, `.`, `_`, `-`; no path.
    pub name: String,
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size_bytes: u64,
}

impl ArtifactRef {
    /// Whether `name` may be an artifact's name: 1–128 of letters, digits, `.`, `_`, `-`, not starting with `.`.
    pub fn is_name(name: &str) -> bool {
        (1..=128).contains(&name.len())
            && !name.starts_with('.')
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
    }
}

/// What an agent must be able to do to be offered a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Requires {
    /// Programming or natural languages, all of them.
    pub languages: BTreeSet<String>,
    /// Specialisations, all of them.
    pub specialisations: BTreeSet<String>,
    /// Tools, all of them.
    pub tools: BTreeSet<String>,
    /// The lowest success rate that is good enough.
    pub minimum_success_rate: Option<Ratio>,
}

/// Limits in time, attempts and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraints {
    /// After this moment the task fails whatever its state.
    pub deadline: Option<Timestamp>,
    /// How long one attempt may run; 300 s by default.
    pub attempt_timeout: Duration,
    /// How many attempts are made before the task is dead-lettered; 3 by default.
    pub max_attempts: u16,
    /// What the agent may use, per attempt.
    pub budget: Budget,
}

impl Default for Constraints {
    fn default() -> Self {
        Self {
            deadline: None,
            attempt_timeout: Duration::from_secs(300),
            max_attempts: 3,
            budget: Budget::default(),
        }
    }
}

/// What an attempt may use at most. Absent means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Files changed.
    pub files: Option<u64>,
    /// Lines changed.
    pub lines: Option<u64>,
    /// Model tokens, in and out.
    pub tokens: Option<u64>,
    /// Cost in millionths of the deployment's currency.
    pub cost_micros: Option<u64>,
}

/// What an attempt has used so far. Absent means not measured, which is not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Files changed.
    pub files: Option<u64>,
    /// Lines changed.
    pub lines: Option<u64>,
    /// Model tokens, in and out.
    pub tokens: Option<u64>,
    /// Cost in millionths of the deployment's currency.
    pub cost_micros: Option<u64>,
    /// How long the agent says it worked.
    pub duration: Option<Duration>,
}

impl Budget {
    /// The name of the first part of the budget that `usage` is above; equal to the limit passes.
    pub fn exceeded_by(&self, usage: &Usage) -> Option<&'static str> {
        [
            ("files", self.files, usage.files),
            ("lines", self.lines, usage.lines),
            ("tokens", self.tokens, usage.tokens),
            ("cost", self.cost_micros, usage.cost_micros),
        ]
        .into_iter()
        .find_map(|(name, limit, used)| (used? > limit?).then_some(name))
    }
}

/// What happens to a task when a prerequisite does not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnPrerequisiteFailure {
    /// It fails.
    #[default]
    Fail,
    /// It is held for a person.
    Hold,
}

words! {
    /// How sensitive a task's input is. An agent must be cleared for the level.
    #[derive(Default)]
    SecurityLevel {
        /// For everybody inside.
        #[default]
        Internal = "internal",
        /// For cleared agents.
        Confidential = "confidential",
        /// For cleared agents; inputs are redacted whole in logs, telemetry and notifications.
        Restricted = "restricted",
    }
}

/// A stage of review, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Claims are checked against evidence.
    Verify,
    /// The output is judged against a rubric.
    Judge,
    /// Rules and gates are applied.
    Comply,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Self; 3] = [Self::Verify, Self::Judge, Self::Comply];

    /// The stage's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Verify => "verify",
            Self::Judge => "judge",
            Self::Comply => "comply",
        }
    }
}

/// Which review stages a task asks for.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ReviewPlan {
    /// Verification of the agent's claims.
    pub verification: Option<VerificationPlan>,
    /// Judgement against a rubric, given by name.
    pub rubric: Option<String>,
    /// Gates to run, and the working spec that they follow.
    pub compliance: Option<CompliancePlan>,
}

/// What the verification stage must do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VerificationPlan {
    /// Names of methods; empty means every installed one.
    pub methods: Vec<String>,
    /// Below this confidence the task is held.
    pub minimum_confidence: Option<Ratio>,
}

/// What the compliance stage must do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CompliancePlan {
    /// Names of gates.
    pub gates: Vec<String>,
    /// The id of the working spec.
    pub working_spec: Option<String>,
}

impl ReviewPlan {
    /// The stages that are asked for, in order.
    pub fn stages(&self) -> Vec<Stage> {
        let mut stages = Vec::new();
        if self.verification.is_some() {
            stages.push(Stage::Verify);
        }
        if self.rubric.is_some() {
            stages.push(Stage::Judge);
        }
        if self.compliance.is_some() {
            stages.push(Stage::Comply);
        }
        stages
    }
}

/// The `traceparent` header of W3C Trace Context level 1, checked for form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext(String);

/// A text that is not a `traceparent` header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a W3C traceparent (00-<32 hex digits>-<16 hex digits>-<2 hex digits>)")]
pub struct InvalidTraceContext;

impl TraceContext {
    /// Checks the form of version 00 (W3C Trace Context §3.2).
    pub fn parse(text: &str) -> Result<Self, InvalidTraceContext> {
        let parts: Vec<&str> = text.split('-').collect();
        let hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        };
        match parts.as_slice() {
            ["00", trace, span, flags]
                if hex(trace, 32)
                    && hex(span, 16)
                    && hex(flags, 2)
                    && trace.bytes().any(|b| b != b'0')
                    && span.bytes().any(|b| b != b'0') =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidTraceContext),
        }
    }

    /// The header's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_names_what_was_exceeded_and_ignores_what_was_not_measured() {
        let budget = Budget {
            tokens: Some(10),
            ..Budget::default()
        };
        assert_eq!(budget.exceeded_by(&Usage::default()), None);
        assert_eq!(
            budget.exceeded_by(&Usage {
                tokens: Some(10),
                ..Usage::default()
            }),
            None
        );
        assert_eq!(
            budget.exceeded_by(&Usage {
                tokens: Some(11),
                ..Usage::default()
            }),
            Some("tokens")
        );
    }

    #[test]
    fn stages_keep_their_order() {
        let plan = ReviewPlan {
            compliance: Some(CompliancePlan::default()),
            verification: Some(VerificationPlan::default()),
            rubric: Some("clarity".into()),
        };
        assert_eq!(plan.stages(), Stage::ALL);
    }

    #[test]
    fn traceparent_form_is_checked() {
        assert!(TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").is_ok());
        for bad in [
            "",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        ] {
            assert!(TraceContext::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn artifact_names_hold_no_path() {
        assert!(ArtifactRef::is_name("report-1.json"));
        for bad in ["", ".hidden", "../x", "a/b", "a b", "ä"] {
            assert!(!ArtifactRef::is_name(bad), "{bad}");
        }
    }
}
