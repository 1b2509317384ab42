//! Schedules, here or there.

use std::time::Duration;

use arbiter_api::view;
use arbiter_core::model::ScheduleId;
use arbiter_queue::schedules::{CatchUp, NewSchedule, Overlap, ScheduleChange, Upcoming};
use arbiter_wire::http::{
    CatchUpWord, InstantListView, OverlapWord, ScheduleChangeForm, ScheduleForm, ScheduleView,
};

use super::Reach;
use crate::commands::submission;
use crate::exit::Failure;
use crate::schedules::schedules;

impl Reach {
    /// Makes a schedule. Gives it, and whether a call with the same key had made it before.
    pub(crate) async fn create_schedule(
        &self,
        form: ScheduleForm,
        key: Option<&str>,
    ) -> Result<(ScheduleView, bool), Failure> {
        match self {
            Self::Store(app) => {
                let input = form.task.read().map_err(|error| Failure {
                    code: error.code(),
                    ..Failure::usage(format!("the task: {error}"))
                })?;
                let new = NewSchedule {
                    name: form.name,
                    cron: form.cron,
                    zone: form.time_zone,
                    task: submission(input),
                    catch_up: match form.catch_up {
                        CatchUpWord::Skip => CatchUp::Skip,
                        CatchUpWord::Last => CatchUp::Last,
                        CatchUpWord::All => CatchUp::All {
                            limit: form.catch_up_limit.unwrap_or(CatchUp::MOST),
                        },
                    },
                    overlap: match form.overlap {
                        OverlapWord::Allow => Overlap::Allow,
                        OverlapWord::Skip => Overlap::Skip,
                    },
                    jitter: Duration::from_secs(u64::from(form.jitter_seconds)),
                };
                let who = &app.operator;
                let made = schedules(app).create(who, who.tenant, new, key).await?;
                Ok((view::schedule(&made.schedule), made.repeated))
            }
            Self::Server(client) => Ok(client.schedule_create(&form, key).await?),
        }
    }

    /// A page of schedules after the cursor of an earlier one, and where to go on.
    pub(crate) async fn schedules(
        &self,
        after: Option<String>,
        limit: usize,
    ) -> Result<(Vec<ScheduleView>, Option<String>), Failure> {
        match self {
            Self::Store(app) => {
                let after = after.map(|text| text.parse()).transpose();
                let after = after
                    .map_err(|error: arbiter_core::model::InvalidId| Failure::usage(error.to_string()))?;
                let who = &app.operator;
                let found = schedules(app).list(who, who.tenant, after, limit).await?;
                let next = found.last().filter(|_| found.len() >= limit);
                let next = next.map(|last| last.id.to_string());
                Ok((found.iter().map(view::schedule).collect(), next))
            }
            Self::Server(client) => {
                let page = client.schedule_list(after, Some(limit)).await?;
                Ok((page.schedules, page.next))
            }
        }
    }

    /// A schedule.
    pub(crate) async fn schedule(&self, id: ScheduleId) -> Result<ScheduleView, Failure> {
        match self {
            Self::Store(app) => {
                let who = &app.operator;
                Ok(view::schedule(&schedules(app).get(who, who.tenant, id).await?))
            }
            Self::Server(client) => Ok(client.schedule_get(id).await?),
        }
    }

    /// Pauses a schedule, or lets it go on.
    pub(crate) async fn pause_schedule(
        &self,
        id: ScheduleId,
        if_revision: Option<u64>,
        paused: bool,
        reason: Option<String>,
    ) -> Result<ScheduleView, Failure> {
        match self {
            Self::Store(app) => {
                let change = ScheduleChange {
                    paused: Some(paused),
                    reason,
                    ..ScheduleChange::default()
                };
                let (service, who) = (schedules(app), &app.operator);
                let changed = service.update(who, who.tenant, id, if_revision, change);
                Ok(view::schedule(&changed.await?))
            }
            Self::Server(client) => {
                let change = ScheduleChangeForm {
                    paused: Some(paused),
                    reason,
                    ..ScheduleChangeForm::default()
                };
                Ok(client.schedule_update(id, if_revision, &change).await?)
            }
        }
    }

    /// Deletes a schedule.
    pub(crate) async fn delete_schedule(
        &self,
        id: ScheduleId,
        if_revision: Option<u64>,
    ) -> Result<(), Failure> {
        match self {
            Self::Store(app) => {
                let who = &app.operator;
                Ok(schedules(app).delete(who, who.tenant, id, if_revision).await?)
            }
            Self::Server(client) => Ok(client.schedule_delete(id, if_revision).await?),
        }
    }

    /// What a schedule comes to next.
    pub(crate) async fn schedule_next(
        &self,
        id: ScheduleId,
        count: usize,
    ) -> Result<InstantListView, Failure> {
        match self {
            Self::Store(app) => {
                let (service, who) = (schedules(app), &app.operator);
                let schedule = service.get(who, who.tenant, id).await?;
                let found = service.next(who, who.tenant, id, count).await?;
                Ok(view::instants(&schedule.zone, found))
            }
            Self::Server(client) => Ok(client.schedule_next(id, Some(count)).await?),
        }
    }

    /// What an expression comes to.
    pub(crate) async fn schedule_preview(
        &self,
        cron: &str,
        zone: &str,
        count: usize,
    ) -> Result<InstantListView, Failure> {
        match self {
            Self::Store(app) => {
                let (service, who) = (schedules(app), &app.operator);
                let found = service.preview(who, who.tenant, cron, zone, count).await?;
                let found = found.into_iter().map(|at| Upcoming { at, due: at });
                Ok(view::instants(zone, found.collect()))
            }
            Self::Server(client) => {
                let found = client.schedule_preview(cron, Some(zone.to_owned()), Some(count));
                Ok(found.await?)
            }
        }
    }
}
