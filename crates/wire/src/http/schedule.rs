//! Schedules.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::task::TaskForm;

/// A schedule to make.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleForm {
    /// A name for people.
    #[schemars(length(min = 1, max = 100))]
    pub name: String,
    /// When: minute, hour, day of month, month and day of week, such as `30 2 * * mon-fri`.
    #[schemars(length(min = 9, max = 200))]
    pub cron: String,
    /// In which time zone of the IANA database, such as `Europe/Berlin`; UTC.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// What is submitted then: a task without `after`, `idempotency_key`, `not_before` and `constraints.deadline`.
    #[serde(deserialize_with = "crate::object::one")]
    pub task: TaskForm,
    /// What happens with instants that were missed because nothing ran.
    #[serde(default)]
    pub catch_up: CatchUpWord,
    /// How many `all` makes up for at most; 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub catch_up_limit: Option<u16>,
    /// What happens while the task of the run before has not ended.
    #[serde(default)]
    pub overlap: OverlapWord,
    /// The longest delay of a run; each has its own, so that schedules of one time do not come at once.
    #[serde(default)]
    #[schemars(range(min = 0, max = 3600))]
    pub jitter_seconds: u32,
}

fn utc() -> String {
    "UTC".to_owned()
}

/// What happens with instants that were missed because nothing ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUpWord {
    /// They are passed over.
    Skip,
    /// The last one is made up for.
    #[default]
    Last,
    /// Each is made up for, up to a limit.
    All,
}

/// What happens while the task of the run before has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OverlapWord {
    /// The next one is submitted all the same.
    Allow,
    /// The instant is passed over.
    #[default]
    Skip,
}

/// A change of a schedule; what is absent stays as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleChangeForm {
    /// Another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub name: Option<String>,
    /// Another expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 200))]
    pub cron: Option<String>,
    /// Another time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Another task.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::object::optional"
    )]
    pub task: Option<TaskForm>,
    /// Another way to catch up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<CatchUpWord>,
    /// With `catch_up` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub catch_up_limit: Option<u16>,
    /// Another way with overlaps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<OverlapWord>,
    /// Another longest delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub jitter_seconds: Option<u32>,
    /// Pauses it, or resumes it. What comes during a pause is passed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Why it is paused; with `"paused": true` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    pub reason: Option<String>,
}

/// A schedule.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ScheduleView {
    /// Its id.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// A name for people.
    pub name: String,
    /// When: minute, hour, day of month, month and day of week.
    pub cron: String,
    /// In which time zone.
    pub time_zone: String,
    /// What is submitted then, without secrets.
    pub task: TaskForm,
    /// What happens with instants that were missed.
    pub catch_up: CatchUpWord,
    /// How many `all` makes up for at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up_limit: Option<u16>,
    /// What happens while the task of the run before has not ended.
    pub overlap: OverlapWord,
    /// The longest delay of a run.
    pub jitter_seconds: u64,
    /// Why it does nothing at present, if it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<SchedulePausedView>,
    /// What comes next; absent while it is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<InstantView>,
    /// The last instant that a task was submitted for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<String>,
    /// That task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_task: Option<String>,
    /// Instants whose tasks could not be submitted yet and are tried again.
    pub waiting: u64,
    /// Instants that were passed over.
    pub skipped: u64,
    /// Tries in a row that failed.
    pub failures: u32,
    /// The code of the last failure since the last success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// The principal that made it.
    pub created_by: String,
    /// When it was made.
    pub created_at: String,
    /// The principal as whom it submits: who made it, or changed last what it does.
    pub acts_as: String,
    /// Counts its changes, runs not among them; also the `ETag`.
    pub revision: u64,
}

/// Why a schedule is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SchedulePausedView {
    /// `requested`, or `principal_disabled` or `principal_gone`: the principal that it acts as may not act any more.
    pub reason: String,
    /// What the person who paused it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The principal that paused it; absent when the server did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When.
    pub at: String,
}

/// A page of schedules, by id.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct SchedulePageView {
    /// The schedules.
    pub schedules: Vec<ScheduleView>,
    /// Where to go on, if there may be more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An instant that a schedule comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstantView {
    /// The instant that the expression names.
    pub at: String,
    /// The same, as the clocks of the time zone show it.
    pub local: String,
    /// When its task is submitted: with the delay.
    pub due: String,
}

/// What comes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstantListView {
    /// The instants, in order.
    pub instants: Vec<InstantView>,
}
