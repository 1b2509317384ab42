//! `arbiter task`.

use arbiter_core::lifecycle::ReleaseDecision;
use arbiter_core::model::{StateName, TaskId, TaskKind, Version};
use arbiter_core::ports::TaskQuery;
use arbiter_queue::Submission;
use arbiter_wire::task::{After, TaskInput};
use serde_json::{Value, json};

use crate::app::App;
use crate::cli::{Decision, Operate, TaskCommand};
use crate::exit::Failure;
use crate::{output, view};

/// Runs a task command as the local operator, through the same admission as everybody.
pub(crate) async fn run(app: &App, command: TaskCommand, json: bool) -> Result<(), Failure> {
    let (queue, who) = (&app.queue, &app.operator);
    let changed = match command {
        TaskCommand::Submit {
            tasks,
            all_or_nothing,
        } => return submit(app, &tasks, all_or_nothing, json).await,
        TaskCommand::Get { id } => return get(app, &id, json).await,
        TaskCommand::List {
            state,
            kind,
            label,
            limit,
            after,
        } => {
            let query = query(state, kind, label, limit, after)?;
            return list(app, query, json).await;
        }
        TaskCommand::Cancel(Operate {
            id,
            reason,
            if_version,
        }) => {
            queue
                .cancel(who, task_id(&id)?, if_version.map(Version), reason)
                .await?
        }
        TaskCommand::Retry(Operate {
            id,
            reason,
            if_version,
        }) => {
            queue
                .retry(who, task_id(&id)?, if_version.map(Version), reason)
                .await?
        }
        TaskCommand::Release {
            operate:
                Operate {
                    id,
                    reason,
                    if_version,
                },
            decision,
        } => {
            let decision = match decision {
                Decision::Resume => ReleaseDecision::Resume,
                Decision::Accept => ReleaseDecision::Accept,
                Decision::Reject => ReleaseDecision::Reject,
            };
            queue
                .release(who, task_id(&id)?, if_version.map(Version), decision, reason)
                .await?
        }
        TaskCommand::DeadLetter(Operate {
            id,
            reason,
            if_version,
        }) => {
            queue
                .dead_letter(who, task_id(&id)?, if_version.map(Version), reason)
                .await?
        }
        TaskCommand::Requeue(Operate {
            id,
            reason,
            if_version,
        }) => {
            queue
                .requeue(who, task_id(&id)?, if_version.map(Version), reason)
                .await?
        }
    };
    if json {
        output::json(&json!({
            "id": changed.id.to_string(),
            "state": changed.state.name().word(),
            "reason": changed.state.reason(),
            "version": changed.version.0,
        }));
    } else {
        output::line(&format!("{} is {} now", changed.id, changed.state.name().word()));
    }
    Ok(())
}

async fn submit(app: &App, path: &std::path::Path, all_or_nothing: bool, json: bool) -> Result<(), Failure> {
    let text = super::run::read_input(path)?;
    let mut submissions = Vec::new();
    for (place, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let input = TaskInput::parse(line).map_err(|error| Failure {
            code: error.code(),
            ..Failure::usage(format!("line {}: {error}", place + 1))
        })?;
        submissions.push(submission(input));
    }
    if submissions.is_empty() {
        return Err(Failure::usage(
            "there is no task to submit: write one JSON object a line",
        ));
    }
    let answers = app
        .queue
        .submit_many(&app.operator, submissions, all_or_nothing)
        .await?;
    let mut refused = 0;
    for (place, answer) in answers.iter().enumerate() {
        let shown = match answer {
            Ok(accepted) => {
                json!({"item": place + 1, "id": accepted.task.to_string(), "repeated": accepted.repeated})
            }
            Err(error) => {
                refused += 1;
                json!({"item": place + 1, "error": {"code": error.code(), "message": error.to_string()}})
            }
        };
        match (json, answer) {
            (true, _) => output::json(&shown),
            (false, Ok(accepted)) => output::line(&accepted.task.to_string()),
            (false, Err(error)) => output::error_line(&format!("task {}: {error}", place + 1)),
        }
    }
    if refused > 0 {
        Err(Failure::some_failed())
    } else {
        Ok(())
    }
}

/// What the wire form means to the queue.
pub(crate) fn submission(input: TaskInput) -> Submission {
    let after = input
        .after
        .into_iter()
        .map(|after| match after {
            After::Task(task) => arbiter_queue::Prerequisite::Task(task),
            After::Item(number) => arbiter_queue::Prerequisite::Sibling(number.saturating_sub(1)),
        })
        .collect();
    Submission {
        spec: input.spec,
        after,
        idempotency_key: input.idempotency_key,
    }
}

async fn get(app: &App, id: &str, json: bool) -> Result<(), Failure> {
    let id = task_id(id)?;
    let stored = app.queue.get(&app.operator, id).await?;
    let history = view::history(&app.queue.history(&app.operator, id).await?);
    let mut shown = view::task(&stored);
    shown["history"] = history;
    if json {
        output::json(&shown);
    } else {
        let text = serde_json::to_string_pretty(&shown)
            .map_err(|error| Failure::internal("the task could not be shown", error))?;
        output::line(&text);
    }
    Ok(())
}

async fn list(app: &App, query: TaskQuery, json: bool) -> Result<(), Failure> {
    let page = app.queue.list(&app.operator, query).await?;
    if json {
        let tasks: Vec<Value> = page.tasks.iter().map(view::task).collect();
        output::json(&json!({"tasks": tasks, "next": page.next.map(|id| id.to_string())}));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = page
        .tasks
        .iter()
        .map(|stored| {
            let task = &stored.task;
            vec![
                task.id.to_string(),
                task.state.name().word().to_owned(),
                task.state.reason().unwrap_or_default().to_owned(),
                stored.spec.kind.to_string(),
                task.attempts.to_string(),
                stored.spec.title.clone(),
            ]
        })
        .collect();
    output::table(&["ID", "STATE", "REASON", "KIND", "ATTEMPTS", "TITLE"], &rows);
    if let Some(next) = page.next {
        output::error_line(&format!("there may be more: --after {next}"));
    }
    Ok(())
}

fn query(
    state: Option<String>,
    kind: Option<String>,
    label: Option<String>,
    limit: u16,
    after: Option<String>,
) -> Result<TaskQuery, Failure> {
    let state = match state {
        None => None,
        Some(word) => Some(StateName::from_word(&word).ok_or_else(|| {
            let known: Vec<&str> = StateName::ALL.iter().map(|state| state.word()).collect();
            Failure::usage(format!(
                "`{word}` is no state; the states are {}",
                known.join(", ")
            ))
        })?),
    };
    let kind = kind
        .map(|text| TaskKind::new(&text))
        .transpose()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let label = match label {
        None => None,
        Some(text) => match text.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => return Err(Failure::usage("--label takes name=value")),
        },
    };
    let after = after.map(|text| task_id(&text)).transpose()?;
    Ok(TaskQuery {
        after,
        limit: usize::from(limit),
        state,
        kind,
        label,
    })
}

fn task_id(text: &str) -> Result<TaskId, Failure> {
    text.parse()
        .map_err(|error: arbiter_core::model::InvalidId| Failure::usage(error.to_string()))
}
