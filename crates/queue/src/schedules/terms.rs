//! What a schedule may say: checks, and the form in which it is kept.

use std::time::Duration;

use arbiter_core::model::{Principal, ScheduleId, TenantId, Timestamp};

use super::calendar::{Calendar, Zone};
use super::plan::Timing;
use super::record::{Body, CatchUp, NewSchedule, Paused, PausedBody, ScheduleChange, Terms, bad};
use super::service::Schedules;
use crate::error::QueueError;
use crate::records::RecordError;
use crate::submission::Submission;

/// The longest name, and the longest word about a pause, in characters.
const MAX_NAME: usize = 100;
const MAX_NOTE: usize = 1_000;
const MAX_JITTER: Duration = Duration::from_hours(1);

/// The label of a made task that names its schedule.
pub(super) const LABEL_SCHEDULE: &str = "schedule";
/// The label of a made task that names its instant.
pub(super) const LABEL_INSTANT: &str = "scheduled_for";

impl Schedules {
    /// When a kept schedule comes.
    pub(super) fn timing(&self, id: ScheduleId, terms: &Terms) -> Result<Timing, RecordError> {
        Ok(Timing {
            id,
            calendar: calendar(&terms.cron, &terms.zone)?,
            jitter: Duration::from_secs(u64::from(terms.jitter_seconds)),
            catch_up: terms.catch_up().ok_or_else(|| bad("its way to catch up"))?,
            grace: self.settings.grace,
        })
    }

    pub(super) async fn terms(
        &self,
        principal: &Principal,
        tenant: TenantId,
        new: NewSchedule,
    ) -> Result<Terms, RecordError> {
        let calendar = calendar(&new.cron, &new.zone)?;
        let mut terms = Terms {
            name: self.line("name", new.name, MAX_NAME)?,
            cron: calendar.cron.to_string(),
            zone: calendar.zone.name().to_owned(),
            task: self.task(principal, tenant, new.task).await?,
            catch_up: String::new(),
            catch_up_limit: None,
            overlap: new.overlap.word().to_owned(),
            jitter_seconds: jitter(new.jitter)?,
        };
        terms.set_catch_up(checked(new.catch_up)?);
        Ok(terms)
    }

    pub(super) async fn amend(
        &self,
        principal: &Principal,
        tenant: TenantId,
        terms: &mut Terms,
        change: ScheduleChange,
    ) -> Result<(), RecordError> {
        let (cron, zone) = (change.cron.as_ref(), change.zone.as_ref());
        let calendar = calendar(cron.unwrap_or(&terms.cron), zone.unwrap_or(&terms.zone))?;
        terms.cron = calendar.cron.to_string();
        calendar.zone.name().clone_into(&mut terms.zone);
        if let Some(name) = change.name {
            terms.name = self.line("name", name, MAX_NAME)?;
        }
        if let Some(catch_up) = change.catch_up {
            terms.set_catch_up(checked(catch_up)?);
        }
        if let Some(overlap) = change.overlap {
            overlap.word().clone_into(&mut terms.overlap);
        }
        if let Some(longest) = change.jitter {
            terms.jitter_seconds = jitter(longest)?;
        }
        if let Some(task) = change.task {
            terms.task = self.task(principal, tenant, task).await?;
        }
        Ok(())
    }

    pub(super) fn pause(
        &self,
        principal: &Principal,
        body: &mut Body,
        change: &ScheduleChange,
        now: Timestamp,
    ) -> Result<(), RecordError> {
        let note = match &change.reason {
            Some(_) if change.paused != Some(true) => {
                return Err(RecordError::invalid(
                    "reason",
                    "says why a schedule is paused; pause it",
                ));
            }
            Some(reason) => Some(self.line("reason", reason.clone(), MAX_NOTE)?),
            None => None,
        };
        match change.paused {
            Some(true) => {
                body.paused = Some(PausedBody {
                    reason: Paused::REQUESTED.to_owned(),
                    note,
                    by: Some(principal.id.to_string()),
                    at: now.as_micros(),
                });
            }
            Some(false) => body.paused = None,
            None => {}
        }
        Ok(())
    }

    /// A line of text for people, without secrets.
    fn line(&self, field: &'static str, text: String, longest: usize) -> Result<String, RecordError> {
        if text.trim().is_empty() || text.chars().any(char::is_control) {
            return Err(RecordError::invalid(field, "must be a line of text"));
        }
        if text.chars().count() > longest {
            let problem = format!("is longer than {longest} characters");
            return Err(RecordError::invalid(field, problem));
        }
        Ok(self.queue.content.reason(text))
    }

    /// Checks the task as if `principal` submitted it now, and gives its stored form without secrets.
    pub(super) async fn task(
        &self,
        principal: &Principal,
        tenant: TenantId,
        mut task: Submission,
    ) -> Result<String, RecordError> {
        let spec = &mut task.spec;
        spec.trace = None;
        if !task.after.is_empty() || !spec.after.is_empty() {
            let problem = "may wait for no other task: each of its runs is a new one";
            return Err(RecordError::invalid("task.after", problem));
        }
        if task.idempotency_key.is_some() {
            let problem = "is made of schedule and instant";
            return Err(RecordError::invalid("task.idempotency_key", problem));
        }
        if spec.not_before.is_some() || spec.constraints.deadline.is_some() {
            let problem = "may name no moment: neither `not_before` nor `constraints.deadline`";
            return Err(RecordError::invalid("task", problem));
        }
        for label in [LABEL_SCHEDULE, LABEL_INSTANT] {
            let taken = spec.labels.insert(label.to_owned(), "-".to_owned());
            if taken.is_some() {
                let problem = format!("may not name `{label}`, which each run sets");
                return Err(RecordError::invalid("task.labels", problem));
            }
        }
        let mut spec = self.queue.template(principal, tenant, task).await?;
        for label in [LABEL_SCHEDULE, LABEL_INSTANT] {
            spec.labels.remove(label);
        }
        let body = self.codec.encode(&spec).map_err(|source| QueueError::Internal {
            operation: "writing the task of a schedule",
            source,
        })?;
        Ok(body.as_str().to_owned())
    }
}

pub(super) fn calendar(cron: &str, zone: &str) -> Result<Calendar, RecordError> {
    Ok(Calendar {
        cron: cron
            .parse()
            .map_err(|error: super::InvalidCron| RecordError::invalid("cron", error.to_string()))?,
        zone: Zone::named(zone).ok_or_else(|| {
            RecordError::invalid(
                "time_zone",
                "is no zone of the IANA database, such as Europe/Berlin",
            )
        })?,
    })
}

fn checked(catch_up: CatchUp) -> Result<CatchUp, RecordError> {
    match catch_up {
        CatchUp::All { limit } if !(1..=CatchUp::MOST).contains(&limit) => {
            let problem = format!("must lie in 1..={}", CatchUp::MOST);
            Err(RecordError::invalid("catch_up_limit", problem))
        }
        catch_up => Ok(catch_up),
    }
}

fn jitter(longest: Duration) -> Result<u32, RecordError> {
    if longest > MAX_JITTER {
        return Err(RecordError::invalid("jitter_seconds", "must lie in 0..=3600"));
    }
    Ok(u32::try_from(longest.as_secs()).unwrap_or(u32::MAX))
}
