//! `arbiter task`.

mod bulk;

use arbiter_core::model::{StateName, TaskKind};
use arbiter_core::ports::TaskQuery;
use arbiter_queue::Submission;
use arbiter_wire::task::{After, TaskInput};
use serde_json::{Value, json};

use crate::cli::TaskCommand;
use crate::exit::Failure;
use crate::reach::{Bulk, Line, Moved, Reach, Refusal, task_id, verdict};
use crate::{output, view};

/// Runs a task command, through the same admission as everybody.
pub(crate) async fn run(reach: &Reach, command: TaskCommand, json: bool) -> Result<(), Failure> {
    let moved = match command {
        TaskCommand::Submit {
            tasks,
            all_or_nothing,
        } => return submit(reach, &tasks, all_or_nothing, json).await,
        TaskCommand::Get { id } => return get(reach, &id, json).await,
        TaskCommand::List {
            state,
            kind,
            label,
            limit,
            after,
        } => {
            let query = query(state, kind, label, limit)?;
            return list(reach, query, after, json).await;
        }
        TaskCommand::BulkCancel(arguments) => return bulk::run(reach, Bulk::Cancel, *arguments, json).await,
        TaskCommand::BulkRequeue(arguments) => {
            return bulk::run(reach, Bulk::Requeue, *arguments, json).await;
        }
        TaskCommand::BulkPurge(arguments) => return bulk::run(reach, Bulk::Purge, *arguments, json).await,
        TaskCommand::Watch { id } => return watch(reach, &id, json).await,
        TaskCommand::Cancel(operate) => reach.cancel(operate).await?,
        TaskCommand::Retry(operate) => reach.retry(operate).await?,
        TaskCommand::Release { operate, decision } => reach.release(operate, decision).await?,
        TaskCommand::DeadLetter(operate) => reach.dead_letter(operate).await?,
        TaskCommand::Requeue(operate) => reach.requeue(operate).await?,
    };
    show(&moved, json);
    Ok(())
}

fn show(moved: &Moved, json: bool) {
    if json {
        output::json(&json!({
            "id": moved.id,
            "state": moved.state,
            "reason": moved.reason,
            "version": moved.version,
        }));
    } else {
        output::line(&format!("{} is {} now", moved.id, moved.state));
    }
}

async fn submit(
    reach: &Reach,
    path: &std::path::Path,
    all_or_nothing: bool,
    json: bool,
) -> Result<(), Failure> {
    let text = super::run::read_input(path)?;
    let mut lines = Vec::new();
    for (place, line) in text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let line = Line::parse(line).map_err(|failure| Failure {
            message: format!("line {}: {}", place + 1, failure.message),
            ..failure
        })?;
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(Failure::usage(
            "there is no task to submit: write one JSON object a line",
        ));
    }
    let answers = reach.submit(lines, all_or_nothing).await?;
    let mut refused = 0;
    for (place, answer) in answers.iter().enumerate() {
        let shown = match answer {
            Ok((id, repeated)) => json!({"item": place + 1, "id": id, "repeated": repeated}),
            Err(Refusal { code, message }) => {
                refused += 1;
                json!({"item": place + 1, "error": {"code": code, "message": message}})
            }
        };
        match (json, answer) {
            (true, _) => output::json(&shown),
            (false, Ok((id, _))) => output::line(id),
            (false, Err(refusal)) => {
                output::error_line(&format!("task {}: {}", place + 1, refusal.message));
            }
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

async fn get(reach: &Reach, id: &str, json: bool) -> Result<(), Failure> {
    let (task, history) = reach.task(task_id(id)?).await?;
    let mut shown = view::task(&task);
    shown["history"] = view::history(&history);
    output::object(&shown, json)
}

async fn list(reach: &Reach, query: TaskQuery, after: Option<String>, json: bool) -> Result<(), Failure> {
    let (tasks, next) = reach.tasks(query, after).await?;
    if json {
        let tasks: Vec<Value> = tasks.iter().map(view::task).collect();
        output::json(&json!({"tasks": tasks, "next": next}));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = tasks.iter().map(view::task_row).collect();
    output::table(&["ID", "STATE", "REASON", "KIND", "ATTEMPTS", "TITLE"], &rows);
    if let Some(next) = next {
        output::error_line(&format!("there may be more: --after {next}"));
    }
    Ok(())
}

/// A line for each change. The exit code says whether the task succeeded, if it has ended.
async fn watch(reach: &Reach, id: &str, json: bool) -> Result<(), Failure> {
    let mut watch = reach.watch(task_id(id)?).await?;
    let mut last = None;
    while let Some(task) = watch.next().await? {
        if json {
            output::json(&view::task(&task));
        } else {
            let told = task.progress.as_ref().map(|told| told.message.as_str());
            let more = task.reason.as_deref().or(told).unwrap_or_default();
            output::line(format!("{} {} {more}", task.changed_at, task.state).trim_end());
        }
        last = Some(task);
    }
    verdict(last.as_ref())
}

fn query(
    state: Option<String>,
    kind: Option<String>,
    label: Option<String>,
    limit: u16,
) -> Result<TaskQuery, Failure> {
    Ok(TaskQuery {
        after: None,
        limit: usize::from(limit),
        state: state.as_deref().map(state_name).transpose()?,
        kind: kind.as_deref().map(task_kind).transpose()?,
        label: label.as_deref().map(label_pair).transpose()?,
    })
}

fn state_name(word: &str) -> Result<StateName, Failure> {
    StateName::from_word(word).ok_or_else(|| {
        let known: Vec<&str> = StateName::ALL.iter().map(|state| state.word()).collect();
        Failure::usage(format!(
            "`{word}` is no state; the states are {}",
            known.join(", ")
        ))
    })
}

fn task_kind(text: &str) -> Result<TaskKind, Failure> {
    TaskKind::new(text).map_err(|error| Failure::usage(error.to_string()))
}

fn label_pair(text: &str) -> Result<(String, String), Failure> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| Failure::usage("--label takes name=value"))
}
