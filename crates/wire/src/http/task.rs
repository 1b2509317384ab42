//! Tasks.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Problem;
use crate::task::{ArtifactForm, ConstraintsForm, OnFailureForm, RequiresForm, ReviewForm, TaskForm};

/// What became of a submitted task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Submitted {
    /// The task's id.
    pub id: String,
    /// Whether it was stored before, by a call with the same idempotency key and content.
    pub repeated: bool,
}

/// Many tasks.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitMany {
    /// 1–1000 tasks.
    #[serde(deserialize_with = "crate::object::many")]
    #[schemars(length(min = 1, max = 1000))]
    pub tasks: Vec<TaskForm>,
    /// Whether one refused task refuses all; otherwise each has its own answer.
    #[serde(default)]
    pub all_or_nothing: bool,
}

/// What became of many tasks, in the order in which they were given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubmittedMany {
    /// One answer for each task.
    pub answers: Vec<SubmitAnswer>,
}

/// What became of one task of many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SubmitAnswer {
    /// It was stored.
    Stored(Submitted),
    /// It was refused.
    Refused(Problem),
}

/// A task as it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskView {
    /// Its id.
    pub id: String,
    /// Its tenant.
    pub tenant: String,
    /// The principal that submitted it.
    pub submitter: String,
    /// Its kind.
    pub kind: String,
    /// A line for people.
    pub title: String,
    /// 0–100.
    pub priority: u8,
    /// How secret it is.
    pub security: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its state: queued, assigned, running, reviewing, held, succeeded, failed, cancelled or dead_lettered.
    pub state: String,
    /// Why, for held, failed and dead_lettered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What a queued task waits for, when it cannot be claimed yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Rises by one with each transition; also the `ETag`.
    pub version: u64,
    /// Attempts that count.
    pub attempts: u16,
    /// The agent that has it, if one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// When it was stored.
    pub submitted_at: String,
    /// When it last changed its state.
    pub changed_at: String,
    /// When it must have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<String>,
    /// The latest word of its agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressView>,
    /// What was asked, where one task is read by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spec: Option<Box<SpecView>>,
}

/// What was asked, as it is stored: secrets were replaced before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SpecView {
    /// What is to be done.
    pub instructions: String,
    /// The input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Input files.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<ArtifactForm>,
    /// What an agent must be able to do.
    pub requires: RequiresForm,
    /// Limits of the work.
    pub constraints: ConstraintsForm,
    /// The moment before which no attempt starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<String>,
    /// What must have succeeded first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    /// What happens when one of them does not succeed.
    pub on_prerequisite_failure: OnFailureForm,
    /// Which reviews the output must pass.
    pub review: ReviewForm,
    /// The submitter's trace (W3C Trace Context).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Something that was done to a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskEventView {
    /// The index of its entry in the audit log, for a proof.
    pub index: u64,
    /// When.
    pub at: String,
    /// The operation that was called, if one was, then what happened, in order.
    pub actions: Vec<String>,
    /// Who did it; absent when the engine did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// The version of the task that it made, if it made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The reason that the new state carries, if it carries one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its detail, such as a decision or a reason, unless there is none or it was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// What was done to a task, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskEventPageView {
    /// The events. A page may be short, or empty, and still have a cursor.
    pub events: Vec<TaskEventView>,
    /// Where to go on, if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What an agent told while it worked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressView {
    /// When.
    pub at: String,
    /// How much is done, 0–1, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fraction: Option<f64>,
    /// A line for people.
    pub message: String,
}

/// A page of tasks, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TaskPageView {
    /// The tasks. A page with filters may be short, or empty, and still have a cursor.
    pub tasks: Vec<TaskView>,
    /// Where to go on, if there may be more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// The finished attempts of a task and the reports of its review stages, oldest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryView {
    /// Attempts.
    pub attempts: Vec<AttemptView>,
    /// Review stages.
    pub stages: Vec<StageView>,
}

/// A finished attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// Its number, from 1.
    pub number: u16,
    /// Its agent.
    pub agent: String,
    /// Its fencing token.
    pub fence: u64,
    /// When it was assigned.
    pub assigned_at: String,
    /// When it ended.
    pub ended_at: String,
    /// Why this agent was chosen.
    pub chosen_because: String,
    /// How it ended: reported, lost, returned, ended, or the class of its failure.
    pub outcome: String,
    /// A line for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The output, when it reported one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Files that it made.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub artifacts: Vec<ArtifactForm>,
    /// What it used.
    pub usage: UsageForm,
    /// The limits that were not enforced for it, in the words of `arbiter config show`; empty when all were. Absent when
    /// nobody could say: the agent asked for the work itself, or the attempt was ended before its limits were told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_enforced: Option<Vec<String>>,
}

/// A review stage's report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StageView {
    /// The stage.
    pub stage: String,
    /// The token of the attempt that was reviewed.
    pub fence: u64,
    /// When.
    pub at: String,
    /// How it ended.
    pub outcome: String,
    /// The schema of its body.
    pub schema: String,
}

/// What an attempt used; absent is not known, which is not 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Usage")]
pub struct UsageForm {
    /// Files changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// Lines changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
    /// Model tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Cost, in millionths of the deployment's currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
    /// How long it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

/// Why something is done; it is kept in the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Because {
    /// 1–2000 characters.
    pub reason: String,
}

/// What a person decides about a held task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseForm {
    /// What is decided.
    pub decision: ReleaseWord,
    /// Why; it is kept in the audit log.
    pub reason: String,
}

/// A decision about a held task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseWord {
    /// Go on where it was held.
    Resume,
    /// Accept the output.
    Accept,
    /// Refuse it.
    Reject,
}
