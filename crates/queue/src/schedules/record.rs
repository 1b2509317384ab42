//! What a tenant says of a schedule, and how it is kept.

use std::time::Duration;

use arbiter_core::model::{Json, PrincipalId, ScheduleId, TaskId, TaskSpec, TenantId, Timestamp};
use arbiter_core::ports::{SpecCodec, StoreError};
use serde::{Deserialize, Serialize};

use super::plan::Upcoming;
use crate::records::{Kept, corrupt};
use crate::repeats::MadeOf;
use crate::submission::Submission;

/// What the record's kind is called in the store.
pub(crate) const KIND: &str = "schedule";

/// What happens with instants that nobody was there to meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CatchUp {
    /// They are passed over.
    Skip,
    /// The last of them is made up for.
    #[default]
    Last,
    /// Each is made up for, the last `limit` of them at most.
    All {
        /// 1–100.
        limit: u16,
    },
}

impl CatchUp {
    /// How many instants [`Self::All`] makes up for at most.
    pub const MOST: u16 = 100;

    /// The stable word of stored and wire forms.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Last => "last",
            Self::All { .. } => "all",
        }
    }

    /// The bound, where there is one.
    pub const fn limit(self) -> Option<u16> {
        match self {
            Self::All { limit } => Some(limit),
            Self::Skip | Self::Last => None,
        }
    }

    /// The policy that has this word and bound.
    pub fn from_word(word: &str, limit: Option<u16>) -> Option<Self> {
        match (word, limit) {
            ("skip", None) => Some(Self::Skip),
            ("last", None) => Some(Self::Last),
            ("all", limit) => {
                let limit = limit.unwrap_or(Self::MOST);
                (1..=Self::MOST).contains(&limit).then_some(Self::All { limit })
            }
            _ => None,
        }
    }
}

/// What happens while the task of the run before has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// The next one is submitted all the same.
    Allow,
    /// The instant is passed over.
    #[default]
    Skip,
}

impl Overlap {
    /// The stable word of stored and wire forms.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Skip => "skip",
        }
    }

    /// The policy that has this word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Allow, Self::Skip]
            .into_iter()
            .find(|policy| policy.word() == word)
    }
}

/// A schedule to make.
#[derive(Debug, Clone)]
pub struct NewSchedule {
    /// A name for people, 1–100 characters.
    pub name: String,
    /// When: a cron expression (see [`Cron`](super::Cron)).
    pub cron: String,
    /// In which time zone of the IANA database.
    pub zone: String,
    /// What is submitted then: no prerequisites, no idempotency key, and no moments but those of the schedule.
    pub task: Submission,
    /// What happens with instants that nobody was there to meet.
    pub catch_up: CatchUp,
    /// What happens while the task of the run before has not ended.
    pub overlap: Overlap,
    /// The longest random delay, up to an hour.
    pub jitter: Duration,
}

/// A change of a schedule; what is absent stays as it is.
#[derive(Debug, Clone, Default)]
pub struct ScheduleChange {
    /// Another name.
    pub name: Option<String>,
    /// Another expression.
    pub cron: Option<String>,
    /// Another time zone.
    pub zone: Option<String>,
    /// Another task.
    pub task: Option<Submission>,
    /// Another way to catch up.
    pub catch_up: Option<CatchUp>,
    /// Another way with overlaps.
    pub overlap: Option<Overlap>,
    /// Another jitter.
    pub jitter: Option<Duration>,
    /// Pauses it, or resumes it.
    pub paused: Option<bool>,
    /// Why it is paused.
    pub reason: Option<String>,
}

impl ScheduleChange {
    /// Whether it changes what is done or when: who does that answers for it from then on.
    pub(super) const fn is_substantial(&self) -> bool {
        self.cron.is_some()
            || self.zone.is_some()
            || self.task.is_some()
            || self.catch_up.is_some()
            || self.overlap.is_some()
            || self.jitter.is_some()
    }
}

/// A schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Whose it is.
    pub tenant: TenantId,
    /// A name for people.
    pub name: String,
    /// The expression.
    pub cron: String,
    /// The time zone.
    pub zone: String,
    /// What is submitted.
    pub task: TaskSpec,
    /// What happens with instants that nobody was there to meet.
    pub catch_up: CatchUp,
    /// What happens while the task of the run before has not ended.
    pub overlap: Overlap,
    /// The longest random delay.
    pub jitter: Duration,
    /// Why it does nothing at present, if it is paused.
    pub paused: Option<Paused>,
    /// Who made it.
    pub created_by: PrincipalId,
    /// When.
    pub created_at: Timestamp,
    /// As whom it submits: who made it, or changed last what it does.
    pub acts_as: PrincipalId,
    /// How far it has come.
    pub progress: ScheduleProgress,
    /// Counts its changes, runs not among them; the `ETag`.
    pub revision: u64,
}

/// Why a schedule is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paused {
    /// `requested`, or what the runner found: `principal_disabled` or `principal_gone`.
    pub reason: String,
    /// What the person who paused it said.
    pub note: Option<String>,
    /// Who that was; none means the runner.
    pub by: Option<PrincipalId>,
    /// When.
    pub at: Timestamp,
}

impl Paused {
    /// The reason when a person paused it.
    pub const REQUESTED: &'static str = "requested";
    /// The reason when the principal that it acts as was disabled.
    pub const PRINCIPAL_DISABLED: &'static str = "principal_disabled";
    /// The reason when the principal that it acts as is no more.
    pub const PRINCIPAL_GONE: &'static str = "principal_gone";
}

/// How far a schedule has come.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScheduleProgress {
    /// What comes next; none while it is paused.
    pub next: Option<Upcoming>,
    /// Instants whose tasks could not be submitted yet: they are tried again.
    pub waiting: usize,
    /// The last instant that a task was submitted for.
    pub last_at: Option<Timestamp>,
    /// That task.
    pub last_task: Option<TaskId>,
    /// Instants that were passed over: missed, or while the task before had not ended.
    pub skipped: u64,
    /// Tries in a row that failed.
    pub failures: u32,
    /// The code of the last failure since the last success.
    pub last_error: Option<String>,
}

/// The stored form, version 1. What changes with each run is kept apart, so that runs do not change the revision.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) version: u32,
    #[serde(flatten)]
    pub(super) terms: Terms,
    pub(super) paused: Option<PausedBody>,
    pub(super) created_by: String,
    pub(super) created_at: i64,
    pub(super) acts_as: String,
    /// SHA-256 of the terms that it was made with: it recognises a repeated call.
    pub(super) made_of: String,
}

impl MadeOf for Body {
    fn made_of(&self) -> Option<&str> {
        Some(&self.made_of)
    }
}

/// What was agreed on: what is done, and when.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) name: String,
    pub(super) cron: String,
    pub(super) zone: String,
    /// As JSON text in the form of [`SpecCodec`].
    pub(super) task: String,
    pub(super) catch_up: String,
    pub(super) catch_up_limit: Option<u16>,
    pub(super) overlap: String,
    pub(super) jitter_seconds: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PausedBody {
    pub(super) reason: String,
    pub(super) note: Option<String>,
    pub(super) by: Option<String>,
    pub(super) at: i64,
}

impl Terms {
    pub(super) fn catch_up(&self) -> Option<CatchUp> {
        CatchUp::from_word(&self.catch_up, self.catch_up_limit)
    }

    pub(super) fn overlap(&self) -> Option<Overlap> {
        Overlap::from_word(&self.overlap)
    }

    pub(super) fn set_catch_up(&mut self, catch_up: CatchUp) {
        catch_up.word().clone_into(&mut self.catch_up);
        self.catch_up_limit = catch_up.limit();
    }

    pub(super) fn task(&self, codec: &dyn SpecCodec) -> Result<TaskSpec, StoreError> {
        let json = Json::parse(self.task.as_str()).map_err(|error| corrupt(WHAT, error))?;
        codec.decode(&json).map_err(|error| corrupt(WHAT, error))
    }
}

const WHAT: &str = "document of kind `schedule`";

pub(super) fn bad(what: &str) -> StoreError {
    corrupt(WHAT, format!("{what} cannot be read"))
}

/// Reads a stored schedule.
pub(super) fn schedule(
    kept: &Kept<Body>,
    progress: ScheduleProgress,
    codec: &dyn SpecCodec,
) -> Result<Schedule, StoreError> {
    let Body { terms, paused, .. } = &kept.body;
    let paused = match paused {
        Some(paused) => Some(Paused {
            reason: paused.reason.clone(),
            note: paused.note.clone(),
            by: principal(paused.by.as_deref())?,
            at: Timestamp::from_micros(paused.at),
        }),
        None => None,
    };
    Ok(Schedule {
        id: kept.id.parse().map_err(|_| bad("its id"))?,
        tenant: kept.tenant,
        name: terms.name.clone(),
        cron: terms.cron.clone(),
        zone: terms.zone.clone(),
        task: terms.task(codec)?,
        catch_up: terms.catch_up().ok_or_else(|| bad("its way to catch up"))?,
        overlap: terms.overlap().ok_or_else(|| bad("its way with overlaps"))?,
        jitter: Duration::from_secs(u64::from(terms.jitter_seconds)),
        paused,
        created_by: kept.body.created_by.parse().map_err(|_| bad("its maker"))?,
        created_at: Timestamp::from_micros(kept.body.created_at),
        acts_as: kept.body.acts_as.parse().map_err(|_| bad("its principal"))?,
        progress,
        revision: kept.revision,
    })
}

fn principal(text: Option<&str>) -> Result<Option<PrincipalId>, StoreError> {
    text.map(|text| text.parse().map_err(|_| bad("a principal")))
        .transpose()
}
