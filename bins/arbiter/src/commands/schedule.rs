//! `arbiter schedule`.

use std::path::Path;

use arbiter_core::model::ScheduleId;
use arbiter_wire::http::{CatchUpWord, InstantView, OverlapWord, ScheduleForm, ScheduleView};
use arbiter_wire::task::TaskForm;
use serde_json::{Value, json};

use crate::cli::{self, ScheduleArgs, ScheduleCommand};
use crate::exit::Failure;
use crate::output;
use crate::reach::{Line, Reach};

/// Runs a schedule command.
pub(crate) async fn run(reach: &Reach, command: ScheduleCommand, json: bool) -> Result<(), Failure> {
    match command {
        ScheduleCommand::Create(arguments) => {
            let key = arguments.idempotency_key.clone();
            let (made, repeated) = reach.create_schedule(form(arguments)?, key.as_deref()).await?;
            if json {
                output::json(&json!({"schedule": view(&made), "repeated": repeated}));
            } else {
                output::line(&made.id);
            }
        }
        ScheduleCommand::List { limit, after } => {
            let (found, next) = reach.schedules(after, usize::from(limit)).await?;
            list(&found, next.as_deref(), json);
        }
        ScheduleCommand::Get { id } => {
            let schedule = reach.schedule(schedule_id(&id)?).await?;
            output::object(&view(&schedule), json)?;
        }
        ScheduleCommand::Pause {
            id,
            reason,
            if_revision,
        } => {
            let id = schedule_id(&id)?;
            let schedule = reach.pause_schedule(id, if_revision, true, reason).await?;
            told(&schedule, "is paused", json);
        }
        ScheduleCommand::Resume { id, if_revision } => {
            let id = schedule_id(&id)?;
            let schedule = reach.pause_schedule(id, if_revision, false, None).await?;
            told(&schedule, "goes on", json);
        }
        ScheduleCommand::Delete { id, if_revision } => {
            reach.delete_schedule(schedule_id(&id)?, if_revision).await?;
            if json {
                output::json(&json!({"id": id, "deleted": true}));
            } else {
                output::line(&format!("{id} is deleted; tasks that it made stay"));
            }
        }
        ScheduleCommand::Next {
            id,
            cron,
            zone,
            count,
        } => {
            let count = usize::from(count);
            let found = match (id, cron) {
                (Some(id), _) => reach.schedule_next(schedule_id(&id)?, count).await?,
                (None, Some(cron)) => reach.schedule_preview(&cron, &zone, count).await?,
                (None, None) => return Err(Failure::usage("name a schedule, or an expression with --cron")),
            };
            next(found.instants, json);
        }
    }
    Ok(())
}

/// A schedule as it was typed.
fn form(arguments: ScheduleArgs) -> Result<ScheduleForm, Failure> {
    if arguments.catch_up_limit.is_some() && !matches!(arguments.catch_up, cli::CatchUpWord::All) {
        return Err(Failure::usage("--catch-up-limit goes with --catch-up all only"));
    }
    Ok(ScheduleForm {
        name: arguments.name,
        cron: arguments.cron,
        time_zone: arguments.zone,
        task: read(&arguments.task)?,
        catch_up: match arguments.catch_up {
            cli::CatchUpWord::Skip => CatchUpWord::Skip,
            cli::CatchUpWord::Last => CatchUpWord::Last,
            cli::CatchUpWord::All => CatchUpWord::All,
        },
        catch_up_limit: arguments.catch_up_limit,
        overlap: match arguments.overlap {
            cli::OverlapWord::Allow => OverlapWord::Allow,
            cli::OverlapWord::Skip => OverlapWord::Skip,
        },
        jitter_seconds: arguments.jitter,
    })
}

/// Reads a task file: one JSON object, the form of a submitted task.
fn read(path: &Path) -> Result<TaskForm, Failure> {
    let text = super::run::read_input(path)?;
    let line = Line::parse(text.trim()).map_err(|failure| Failure {
        message: format!("the task: {}", failure.message),
        ..failure
    })?;
    Ok(line.form)
}

fn next(found: Vec<InstantView>, json: bool) {
    if json {
        output::json(&json!({"instants": found}));
        return;
    }
    let rows: Vec<Vec<String>> = found
        .into_iter()
        .map(|shown| vec![shown.local, shown.at, shown.due])
        .collect();
    output::table(&["LOCAL", "AT", "DUE"], &rows);
}

fn list(found: &[ScheduleView], next: Option<&str>, json: bool) {
    if json {
        let schedules: Vec<Value> = found.iter().map(view).collect();
        output::json(&json!({"schedules": schedules, "next": next}));
        return;
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|schedule| {
            let next = match (&schedule.paused, &schedule.next) {
                (Some(paused), _) => format!("paused: {}", paused.reason),
                (None, Some(next)) => next.due.clone(),
                (None, None) => "never".to_owned(),
            };
            vec![
                schedule.id.clone(),
                schedule.cron.clone(),
                schedule.time_zone.clone(),
                next,
                schedule.failures.to_string(),
                schedule.name.clone(),
            ]
        })
        .collect();
    output::table(&["ID", "CRON", "ZONE", "NEXT", "FAILURES", "NAME"], &rows);
    if let Some(next) = next {
        output::error_line(&format!("there may be more: --after {next}"));
    }
}

fn told(schedule: &ScheduleView, what: &str, json: bool) {
    if json {
        output::json(&view(schedule));
    } else {
        output::line(&format!("{} {what}", schedule.id));
    }
}

/// A schedule as JSON. What is absent is null.
fn view(schedule: &ScheduleView) -> Value {
    json!({
        "id": schedule.id,
        "tenant": schedule.tenant,
        "name": schedule.name,
        "cron": schedule.cron,
        "time_zone": schedule.time_zone,
        "task": schedule.task,
        "catch_up": schedule.catch_up,
        "catch_up_limit": schedule.catch_up_limit,
        "overlap": schedule.overlap,
        "jitter_seconds": schedule.jitter_seconds,
        "paused": schedule.paused,
        "next": schedule.next,
        "last_at": schedule.last_at,
        "last_task": schedule.last_task,
        "waiting": schedule.waiting,
        "skipped": schedule.skipped,
        "failures": schedule.failures,
        "last_error": schedule.last_error,
        "created_by": schedule.created_by,
        "created_at": schedule.created_at,
        "acts_as": schedule.acts_as,
        "revision": schedule.revision,
    })
}

fn schedule_id(text: &str) -> Result<ScheduleId, Failure> {
    text.parse()
        .map_err(|error: arbiter_core::model::InvalidId| Failure::usage(error.to_string()))
}
