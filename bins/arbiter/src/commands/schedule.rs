//! `arbiter schedule`.

use std::path::Path;
use std::time::Duration;

use arbiter_core::model::{ScheduleId, Timestamp};
use arbiter_queue::schedules::{
    CatchUp, NewSchedule, Overlap, Schedule, ScheduleChange, Schedules, Upcoming, Zone,
};
use arbiter_wire::http::{InstantView, SchedulePausedView};
use arbiter_wire::task::{TaskForm, TaskInput};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::{CatchUpWord, OverlapWord, ScheduleArgs, ScheduleCommand};
use crate::exit::Failure;
use crate::{output, schedules};

/// Runs a schedule command as the local operator.
pub(crate) async fn run(app: &App, command: ScheduleCommand, json: bool) -> Result<(), Failure> {
    let service = schedules::schedules(app);
    let (who, tenant) = (&app.operator, app.operator.tenant);
    match command {
        ScheduleCommand::Create(arguments) => create(app, &service, arguments, json).await,
        ScheduleCommand::List { limit, after } => {
            let after = after.map(|text| schedule_id(&text)).transpose()?;
            let limit = usize::from(limit);
            let found = service.list(who, tenant, after, limit).await?;
            list(&found, limit, json);
            Ok(())
        }
        ScheduleCommand::Get { id } => {
            let schedule = service.get(who, tenant, schedule_id(&id)?).await?;
            let shown = view(&schedule);
            if json {
                output::json(&shown);
                return Ok(());
            }
            let text = serde_json::to_string_pretty(&shown)
                .map_err(|error| Failure::internal("the schedule could not be shown", error))?;
            output::line(&text);
            Ok(())
        }
        ScheduleCommand::Pause {
            id,
            reason,
            if_revision,
        } => {
            let change = ScheduleChange {
                paused: Some(true),
                reason,
                ..ScheduleChange::default()
            };
            let id = schedule_id(&id)?;
            let schedule = service.update(who, tenant, id, if_revision, change).await?;
            told(&schedule, "is paused", json);
            Ok(())
        }
        ScheduleCommand::Resume { id, if_revision } => {
            let change = ScheduleChange {
                paused: Some(false),
                ..ScheduleChange::default()
            };
            let id = schedule_id(&id)?;
            let schedule = service.update(who, tenant, id, if_revision, change).await?;
            told(&schedule, "goes on", json);
            Ok(())
        }
        ScheduleCommand::Delete { id, if_revision } => {
            service
                .delete(who, tenant, schedule_id(&id)?, if_revision)
                .await?;
            if json {
                output::json(&json!({"id": id, "deleted": true}));
            } else {
                output::line(&format!("{id} is deleted; tasks that it made stay"));
            }
            Ok(())
        }
        ScheduleCommand::Next {
            id,
            cron,
            zone,
            count,
        } => next(app, &service, id, cron, zone, usize::from(count), json).await,
    }
}

async fn create(app: &App, service: &Schedules, arguments: ScheduleArgs, json: bool) -> Result<(), Failure> {
    let new = NewSchedule {
        name: arguments.name,
        cron: arguments.cron,
        zone: arguments.zone,
        task: read(&arguments.task)?,
        catch_up: match (arguments.catch_up, arguments.catch_up_limit) {
            (CatchUpWord::All, limit) => CatchUp::All {
                limit: limit.unwrap_or(CatchUp::MOST),
            },
            (_, Some(_)) => return Err(Failure::usage("--catch-up-limit goes with --catch-up all only")),
            (CatchUpWord::Skip, None) => CatchUp::Skip,
            (CatchUpWord::Last, None) => CatchUp::Last,
        },
        overlap: match arguments.overlap {
            OverlapWord::Allow => Overlap::Allow,
            OverlapWord::Skip => Overlap::Skip,
        },
        jitter: Duration::from_secs(u64::from(arguments.jitter)),
    };
    let key = arguments.idempotency_key.as_deref();
    let made = service
        .create(&app.operator, app.operator.tenant, new, key)
        .await?;
    if json {
        output::json(&json!({"schedule": view(&made.schedule), "repeated": made.repeated}));
    } else {
        output::line(&made.schedule.id.to_string());
    }
    Ok(())
}

/// Reads a task file: one JSON object, the form of a submitted task.
fn read(path: &Path) -> Result<arbiter_queue::Submission, Failure> {
    let text = super::run::read_input(path)?;
    let input = TaskInput::parse(text.trim()).map_err(|error| Failure {
        code: error.code(),
        ..Failure::usage(format!("the task: {error}"))
    })?;
    Ok(super::task::submission(input))
}

async fn next(
    app: &App,
    service: &Schedules,
    id: Option<String>,
    cron: Option<String>,
    zone: String,
    count: usize,
    json: bool,
) -> Result<(), Failure> {
    let (who, tenant) = (&app.operator, app.operator.tenant);
    let (zone, found) = match (id, cron) {
        (Some(id), _) => {
            let id = schedule_id(&id)?;
            let schedule = service.get(who, tenant, id).await?;
            (schedule.zone, service.next(who, tenant, id, count).await?)
        }
        (None, Some(cron)) => {
            let found = service.preview(who, tenant, &cron, &zone, count).await?;
            let found = found.into_iter().map(|at| Upcoming { at, due: at });
            (zone, found.collect())
        }
        (None, None) => return Err(Failure::usage("name a schedule, or an expression with --cron")),
    };
    let zone = Zone::named(&zone);
    let shown: Vec<InstantView> = found
        .into_iter()
        .map(|upcoming| instant(zone.as_ref(), upcoming))
        .collect();
    if json {
        output::json(&json!({"instants": shown}));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = shown
        .into_iter()
        .map(|shown| vec![shown.local, shown.at, shown.due])
        .collect();
    output::table(&["LOCAL", "AT", "DUE"], &rows);
    Ok(())
}

fn list(found: &[Schedule], limit: usize, json: bool) {
    let next = found.last().filter(|_| found.len() >= limit);
    let next = next.map(|last| last.id.to_string());
    if json {
        let schedules: Vec<Value> = found.iter().map(view).collect();
        output::json(&json!({"schedules": schedules, "next": next}));
        return;
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|schedule| {
            let next = match (&schedule.paused, schedule.progress.next) {
                (Some(paused), _) => format!("paused: {}", paused.reason),
                (None, Some(next)) => next.due.to_string(),
                (None, None) => "never".to_owned(),
            };
            vec![
                schedule.id.to_string(),
                schedule.cron.clone(),
                schedule.zone.clone(),
                next,
                schedule.progress.failures.to_string(),
                schedule.name.clone(),
            ]
        })
        .collect();
    output::table(&["ID", "CRON", "ZONE", "NEXT", "FAILURES", "NAME"], &rows);
    if let Some(next) = next {
        output::error_line(&format!("there may be more: --after {next}"));
    }
}

fn told(schedule: &Schedule, what: &str, json: bool) {
    if json {
        output::json(&view(schedule));
    } else {
        output::line(&format!("{} {what}", schedule.id));
    }
}

fn view(schedule: &Schedule) -> Value {
    let progress = &schedule.progress;
    let zone = Zone::named(&schedule.zone);
    let paused = schedule.paused.as_ref().map(|paused| SchedulePausedView {
        reason: paused.reason.clone(),
        note: paused.note.clone(),
        by: paused.by.map(|by| by.to_string()),
        at: paused.at.to_string(),
    });
    json!({
        "id": schedule.id.to_string(),
        "name": schedule.name,
        "cron": schedule.cron,
        "time_zone": schedule.zone,
        "task": TaskForm::from(&schedule.task),
        "catch_up": schedule.catch_up.word(),
        "catch_up_limit": schedule.catch_up.limit(),
        "overlap": schedule.overlap.word(),
        "jitter_seconds": schedule.jitter.as_secs(),
        "paused": paused,
        "next": progress.next.map(|next| instant(zone.as_ref(), next)),
        "last_at": progress.last_at.as_ref().map(Timestamp::to_string),
        "last_task": progress.last_task.map(|task| task.to_string()),
        "waiting": progress.waiting,
        "skipped": progress.skipped,
        "failures": progress.failures,
        "last_error": progress.last_error,
        "created_by": schedule.created_by.to_string(),
        "created_at": schedule.created_at.to_string(),
        "acts_as": schedule.acts_as.to_string(),
        "revision": schedule.revision,
    })
}

fn instant(zone: Option<&Zone>, upcoming: Upcoming) -> InstantView {
    let local = zone.and_then(|zone| zone.local(upcoming.at));
    InstantView {
        at: upcoming.at.to_string(),
        local: local.unwrap_or_else(|| upcoming.at.to_string()),
        due: upcoming.due.to_string(),
    }
}

fn schedule_id(text: &str) -> Result<ScheduleId, Failure> {
    text.parse()
        .map_err(|error: arbiter_core::model::InvalidId| Failure::usage(error.to_string()))
}
