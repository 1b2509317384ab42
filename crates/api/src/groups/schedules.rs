//! Schedules of tenants.

use std::time::Duration;

use arbiter_core::model::ScheduleId;
use arbiter_queue::schedules::{CatchUp, NewSchedule, Overlap, ScheduleChange, Upcoming};
use arbiter_wire::http::{
    CatchUpWord, InstantListView, OverlapWord, ScheduleChangeForm, ScheduleForm, SchedulePageView,
    ScheduleView,
};
use arbiter_wire::task::TaskForm;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;

use super::tasks::submission;
use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::cursor::{self, Cursors, PageQuery};
use crate::etag::{if_match, made, tagged};
use crate::failure::Failure;
use crate::repeats::idempotency_key;
use crate::routes::{Operation, Routes};
use crate::state::Api;
use crate::view;

/// What may be wrong with a schedule or its task.
const TERMS: &[&str] = &[
    "invalid_value",
    "invalid_task",
    "too_large",
    "kind_not_allowed",
    "suspicious_content",
    "precondition_failed",
];
const CHANGES: &[&str] = &["precondition_failed"];

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::post("/v1/schedules", "schedule.create", "Make a schedule")
                .body::<ScheduleForm>()
                .makes::<ScheduleView>(
                    "The schedule",
                    "The schedule as it is now: a call with the same idempotency key had made it",
                )
                .etag()
                .errors(TERMS),
            create,
        )
        .add(
            Operation::get(
                "/v1/schedules",
                "schedule.list",
                "List the schedules of the tenant",
            )
            .query::<PageQuery>()
            .answers::<SchedulePageView>(200, "A page of schedules, by id")
            .errors(&["bad_cursor"]),
            list,
        )
        .add(
            Operation::get(
                "/v1/schedules/preview",
                "schedule.preview",
                "Show what an expression comes to, before a schedule is made of it",
            )
            .query::<PreviewQuery>()
            .answers::<InstantListView>(200, "The next instants, in order"),
            preview,
        )
        .add(
            Operation::get("/v1/schedules/{id}", "schedule.get", "Read a schedule")
                .answers::<ScheduleView>(200, "The schedule")
                .etag(),
            get,
        )
        .add(
            Operation::get(
                "/v1/schedules/{id}/next",
                "schedule.next",
                "Show what a schedule comes to next",
            )
            .query::<NextQuery>()
            .answers::<InstantListView>(200, "The next instants, in order, as if it were not paused"),
            next,
        )
        .add(
            Operation::patch(
                "/v1/schedules/{id}",
                "schedule.update",
                "Change, pause or resume a schedule",
            )
            .body::<ScheduleChangeForm>()
            .headers(&["If-Match"])
            .answers::<ScheduleView>(200, "The schedule as it is now")
            .etag()
            .errors(TERMS),
            update,
        )
        .add(
            Operation::delete("/v1/schedules/{id}", "schedule.delete", "Delete a schedule")
                .headers(&["If-Match"])
                .answers_with(204, "", "It is deleted; tasks that it made stay")
                .errors(CHANGES),
            delete,
        )
}

/// How many instants to show.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NextQuery {
    /// So many; 10.
    #[schemars(range(min = 1, max = 100))]
    count: Option<usize>,
}

/// What to show.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PreviewQuery {
    /// The expression.
    #[schemars(length(min = 9, max = 200))]
    cron: String,
    /// The time zone; UTC.
    time_zone: Option<String>,
    /// So many instants; 10.
    #[schemars(range(min = 1, max = 100))]
    count: Option<usize>,
}

async fn create(
    State(api): State<Api>,
    Caller(caller): Caller,
    headers: HeaderMap,
    JsonBody(form): JsonBody<ScheduleForm>,
) -> Result<Response, Failure> {
    let new = NewSchedule {
        name: form.name,
        cron: form.cron,
        zone: form.time_zone,
        task: submission(form.task.read()?)?,
        catch_up: catch_up(form.catch_up, form.catch_up_limit)?,
        overlap: overlap(form.overlap),
        jitter: Duration::from_secs(u64::from(form.jitter_seconds)),
    };
    let key = idempotency_key(&headers)?;
    let schedules = &api.parts().schedules;
    let answer = schedules.create(&caller, caller.tenant, new, key).await?;
    let schedule = answer.schedule;
    let location = format!("/v1/schedules/{}", schedule.id);
    let shown = view::schedule(&schedule);
    Ok(made(answer.repeated, schedule.revision, &location, shown))
}

async fn list(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<PageQuery>,
) -> Result<Json<SchedulePageView>, Failure> {
    let limit = cursor::limit(asked.limit)?;
    let cursors = Cursors::of("schedule.list", &[]);
    let after = cursors.place(asked.cursor.as_deref())?;
    let found = api
        .parts()
        .schedules
        .list(&caller, caller.tenant, after.map(ScheduleId::from_bytes), limit)
        .await?;
    let next = found.last().filter(|_| found.len() >= limit);
    Ok(Json(SchedulePageView {
        next: next.map(|last| cursors.after(last.id.as_bytes())),
        schedules: found.iter().map(view::schedule).collect(),
    }))
}

async fn get(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let schedules = &api.parts().schedules;
    let schedule = schedules.get(&caller, caller.tenant, schedule_id(&id)?).await?;
    Ok(tagged(schedule.revision, view::schedule(&schedule)))
}

async fn next(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(asked): Query<NextQuery>,
) -> Result<Json<InstantListView>, Failure> {
    let (id, count) = (schedule_id(&id)?, count(asked.count)?);
    let schedules = &api.parts().schedules;
    let schedule = schedules.get(&caller, caller.tenant, id).await?;
    let found = schedules.next(&caller, caller.tenant, id, count).await?;
    Ok(Json(view::instants(&schedule.zone, found)))
}

async fn preview(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<PreviewQuery>,
) -> Result<Json<InstantListView>, Failure> {
    let count = count(asked.count)?;
    let zone = asked.time_zone.unwrap_or_else(|| "UTC".to_owned());
    let found = api
        .parts()
        .schedules
        .preview(&caller, caller.tenant, &asked.cron, &zone, count)
        .await?;
    let found = found.into_iter().map(|at| Upcoming { at, due: at });
    Ok(Json(view::instants(&zone, found.collect())))
}

async fn update(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<ScheduleChangeForm>,
) -> Result<Response, Failure> {
    let (id, revision) = (schedule_id(&id)?, if_match(&headers)?);
    let catch_up = match (form.catch_up, form.catch_up_limit) {
        (Some(word), limit) => Some(catch_up(word, limit)?),
        (None, Some(_)) => return Err(Failure::invalid("catch_up_limit", "goes with `catch_up` only")),
        (None, None) => None,
    };
    let change = ScheduleChange {
        name: form.name,
        cron: form.cron,
        zone: form.time_zone,
        task: form.task.map(task).transpose()?,
        catch_up,
        overlap: form.overlap.map(overlap),
        jitter: form
            .jitter_seconds
            .map(|seconds| Duration::from_secs(u64::from(seconds))),
        paused: form.paused,
        reason: form.reason,
    };
    let schedule = api
        .parts()
        .schedules
        .update(&caller, caller.tenant, id, revision, change)
        .await?;
    Ok(tagged(schedule.revision, view::schedule(&schedule)))
}

async fn delete(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let (id, revision) = (schedule_id(&id)?, if_match(&headers)?);
    api.parts()
        .schedules
        .delete(&caller, caller.tenant, id, revision)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

fn schedule_id(text: &str) -> Result<ScheduleId, Failure> {
    text.parse().map_err(|_| Failure::not_found())
}

fn count(asked: Option<usize>) -> Result<usize, Failure> {
    let count = asked.unwrap_or(10);
    if (1..=100).contains(&count) {
        Ok(count)
    } else {
        Err(Failure::invalid("count", "must lie in 1..=100"))
    }
}

fn task(form: TaskForm) -> Result<arbiter_queue::Submission, Failure> {
    submission(form.read()?)
}

fn catch_up(word: CatchUpWord, limit: Option<u16>) -> Result<CatchUp, Failure> {
    match (word, limit) {
        (CatchUpWord::Skip, None) => Ok(CatchUp::Skip),
        (CatchUpWord::Last, None) => Ok(CatchUp::Last),
        (CatchUpWord::All, limit) => Ok(CatchUp::All {
            limit: limit.unwrap_or(CatchUp::MOST),
        }),
        (_, Some(_)) => Err(Failure::invalid(
            "catch_up_limit",
            "goes with `\"catch_up\": \"all\"` only",
        )),
    }
}

const fn overlap(word: OverlapWord) -> Overlap {
    match word {
        OverlapWord::Allow => Overlap::Allow,
        OverlapWord::Skip => Overlap::Skip,
    }
}
