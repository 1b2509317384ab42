//! `arbiter run`: a batch of tasks on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{AgentId, ArtifactRef, AttemptEnd, StateName, TaskId, TenantScope};
use arbiter_core::ports::{Hint, TaskQuery, TaskReader};
use arbiter_orchestration::Stop;
use arbiter_queue::{QueueError, Submission};
use futures_util::{FutureExt as _, select_biased};

use crate::app::App;
use crate::batch::{
    Agents, ArtifactLine, Batch, BatchRun, BatchTask, LABEL, Progress, ResultLine, Standstill, Unserved,
    upload, write_results,
};
use crate::cli::RunArgs;
use crate::commands::task::submission;
use crate::config::{Config, Environment};
use crate::engine::Engine;
use crate::exit::Failure;
use crate::signals;

/// How many tasks one submit call carries.
const CHUNK: usize = 1_000;
/// How often the states of open tasks are looked at, beside hints.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs a batch to its end.
pub(crate) async fn run(
    config: Config,
    arguments: RunArgs,
    json: bool,
    environment: &dyn Environment,
) -> Result<(), Failure> {
    let from_stdin = arguments.tasks.as_os_str() == "-";
    let folder = if from_stdin {
        PathBuf::from(".")
    } else {
        folder_of(&arguments.tasks)
    };
    let batch = Batch::read(&read_input(&arguments.tasks)?, &folder)?;
    let text = std::fs::read_to_string(&arguments.agents).map_err(|error| {
        Failure::configuration(format!(
            "the agents file `{}` cannot be read: {error}",
            arguments.agents.display()
        ))
    })?;
    let agents = Agents::read(
        &text,
        &folder_of(&arguments.agents),
        crate::bootstrap::DEFAULT_TENANT,
    )?;
    let output = match (&arguments.output, from_stdin) {
        (Some(path), _) => Some(path.clone()),
        (None, true) => None,
        (None, false) => Some(arguments.tasks.with_extension("results.jsonl")),
    };
    let app = App::open(config).await?;
    let stop = signals::first(app.spawner.as_ref());
    let done = drive(&app, &batch, agents, &arguments, environment, stop).await;
    let closed = app.close().await;
    let lines = done?;
    closed?;
    write_results(output.as_deref(), &lines)?;
    summary(&lines, output.as_deref(), json);
    if lines.iter().all(|line| line.state == StateName::Succeeded.word()) {
        Ok(())
    } else {
        Err(Failure::some_failed())
    }
}

/// Starts the services, submits the batch, waits for its end, and stops the services again.
async fn drive(
    app: &App,
    batch: &Batch,
    agents: Agents,
    arguments: &RunArgs,
    environment: &dyn Environment,
    stop: Stop,
) -> Result<Vec<ResultLine>, Failure> {
    let names: BTreeMap<_, _> = agents
        .0
        .iter()
        .map(|entry| (entry.profile.id, entry.profile.name.clone()))
        .collect();
    let entries = agents.0.clone();
    let engine = Engine::new(app, agents.0, environment).await?;
    let unserved = Unserved::new(Arc::clone(&engine.allocation), &entries);
    let engine = engine.start(app, Vec::new()).await?;
    tracing::info!(event = "startup_completed", "every service is ready");
    let progress = Progress::new(batch.tasks.len() as u64, arguments.quiet);
    let outcome = async {
        let BatchRun {
            name: identity,
            replaces,
        } = identity(app, batch, arguments.fresh).await?;
        if let Some(old) = replaces {
            withdraw(app, &old, &stop).await?;
        }
        let accepted = submit(app, batch, &identity, &progress, &stop).await?;
        let waiting = wait(app, &accepted, &unserved, &progress, &stop).await?;
        results(app, batch, &accepted, &names, &waiting).await
    }
    .await;
    progress.finish();
    engine.stop(stop.is_stopped()).await;
    outcome
}

/// Under which name the batch's tasks are recognised. With `--fresh` it is a new one each time.
async fn identity(app: &App, batch: &Batch, fresh: bool) -> Result<BatchRun, Failure> {
    crate::batch::identity(
        app.store.as_ref(),
        app.ids.as_ref(),
        app.operator.id,
        app.operator.tenant,
        batch.digest,
        fresh,
    )
    .await
}

/// Cancels what an earlier run of the batch left open: the new one does it again.
async fn withdraw(app: &App, old: &str, stop: &Stop) -> Result<(), Failure> {
    let mut query = TaskQuery {
        limit: CHUNK,
        label: Some((LABEL.to_owned(), old.to_owned())),
        ..TaskQuery::default()
    };
    loop {
        let scope = TenantScope::Tenant(app.operator.tenant);
        let page = TaskReader::list(&*app.store, scope, query.clone()).await?;
        for stored in page.tasks.iter().filter(|stored| !stored.task.state.is_closed()) {
            loop {
                let why = "the batch was started anew".to_owned();
                match app.queue.cancel(&app.operator, stored.task.id, None, why).await {
                    // it may have ended meanwhile
                    Ok(_) | Err(QueueError::IllegalTransition(_)) => break,
                    Err(QueueError::RateLimited { retry_after }) if !stop.is_stopped() => {
                        pause(app, retry_after, stop).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
        }
        if page.next.is_none() {
            return Ok(());
        }
        query.after = page.next;
    }
}

/// Submits the batch in chunks, waiting where limits say so. Gives each task's id, or why it was refused.
async fn submit(
    app: &App,
    batch: &Batch,
    identity: &str,
    progress: &Progress,
    stop: &Stop,
) -> Result<Vec<Result<TaskId, QueueError>>, Failure> {
    let mut accepted: Vec<Result<TaskId, QueueError>> = Vec::with_capacity(batch.tasks.len());
    let mut start = 0;
    while start < batch.tasks.len() {
        if stop.is_stopped() {
            return Err(Failure::interrupted());
        }
        let end = (start + CHUNK).min(batch.tasks.len());
        let mut chunk = Vec::with_capacity(end - start);
        for (place, task) in batch.tasks.iter().enumerate().take(end).skip(start) {
            chunk.push(prepare(app, task, place, start, end, identity, &accepted).await?);
        }
        let (submissions, refused): (Vec<_>, Vec<_>) = chunk.into_iter().unzip();
        let count = submissions.len();
        let answers = match app.queue.submit_many(&app.operator, submissions, false).await {
            Ok(answers) => answers,
            Err(QueueError::RateLimited { retry_after } | QueueError::Unavailable { retry_after, .. }) => {
                pause(app, retry_after, stop).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        // A full backlog is no refusal: the batch waits for its own tasks to end, and asks again from there.
        let full = answers
            .iter()
            .position(|answer| matches!(answer, Err(QueueError::BacklogFull { .. })));
        let taken = full.unwrap_or(count);
        let kept = answers.into_iter().zip(refused).take(taken);
        accepted.extend(kept.map(|(answer, refused)| match refused {
            Some(error) => Err(error),
            None => answer.map(|one| one.task),
        }));
        start += taken;
        if full.is_some() {
            progress.say("waiting for room in the queue");
            pause(app, LOOK_EVERY, stop).await;
        }
    }
    Ok(accepted)
}

/// A submission, and why it must not be made after all.
type Prepared = (Submission, Option<QueueError>);

/// Makes the submission of one task: its files become artifacts, its prerequisites task ids where they were accepted in
/// an earlier chunk.
async fn prepare(
    app: &App,
    task: &BatchTask,
    place: usize,
    start: usize,
    end: usize,
    identity: &str,
    accepted: &[Result<TaskId, QueueError>],
) -> Result<Prepared, Failure> {
    use arbiter_queue::Prerequisite;
    let mut made = submission(task.input.clone());
    made.idempotency_key = Some(format!("{identity}:{}", place + 1));
    made.spec.labels.insert(LABEL.to_owned(), identity.to_owned());
    for (name, path) in &task.files {
        made.spec
            .artifacts
            .push(upload(app, name, path).await.map_err(|failure| Failure {
                message: format!("line {}: {}", task.line, failure.message),
                ..failure
            })?);
    }
    let mut problem = None;
    for after in &mut made.after {
        let Prerequisite::Sibling(other) = *after else {
            continue;
        };
        if (start..end).contains(&other) {
            *after = Prerequisite::Sibling(other - start);
        } else {
            match accepted.get(other) {
                Some(Ok(id)) => *after = Prerequisite::Task(*id),
                Some(Err(_)) => problem = Some(format!("names task #{}, which was refused", other + 1)),
                None => {
                    problem = Some(format!(
                        "names task #{}, which comes more than {CHUNK} tasks later",
                        other + 1
                    ));
                }
            }
        }
    }
    let refused = problem.map(|problem| QueueError::InvalidTask {
        field: "after".into(),
        problem,
    });
    Ok((made, refused))
}

/// Waits until every accepted task has ended, is held or finds no agent: the batch does not wait for a person, nor for an
/// agent that nobody named. Gives the tasks that are left without one, and why.
async fn wait(
    app: &App,
    accepted: &[Result<TaskId, QueueError>],
    unserved: &Unserved,
    progress: &Progress,
    stop: &Stop,
) -> Result<BTreeMap<TaskId, &'static str>, Failure> {
    let mut hints = app.wakeups.subscribe();
    let mut open: BTreeSet<TaskId> = accepted
        .iter()
        .filter_map(|one| one.as_ref().ok().copied())
        .collect();
    let mut closed: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut still = Standstill::default();
    let mut changed: Vec<TaskId> = open.iter().copied().collect();
    loop {
        for ids in changed.chunks(CHUNK) {
            let scope = TenantScope::Tenant(app.operator.tenant);
            for stored in TaskReader::get(&*app.store, scope, ids)
                .await?
                .into_iter()
                .flatten()
            {
                let (id, state) = (stored.task.id, stored.task.state.name());
                if stored.task.state.is_closed() {
                    still.forget(id);
                    if open.remove(&id) {
                        *closed.entry(state.word()).or_default() += 1;
                    }
                } else if let Some(text) = still.note(&stored, unserved) {
                    progress.tell(&text);
                }
            }
        }
        let mut shown = closed.clone();
        for (word, count) in [("held", still.held.len()), ("without agent", still.waiting.len())] {
            if count > 0 {
                shown.insert(word, count as u64);
            }
        }
        progress.show(closed.values().sum(), &shown);
        if still.is_final(open.len(), changed.len() >= open.len()) {
            return Ok(still.waiting);
        }
        let until = app.clock.monotonic() + LOOK_EVERY;
        select_biased! {
            () = stop.wait().fuse() => return Err(Failure::interrupted()),
            () = app.clock.sleep_until(until).fuse() => changed = open.iter().copied().collect(),
            told = hints.next().fuse() => changed = named(&told, &open),
        }
    }
}

/// The open tasks that hints name; all of them when some hints were dropped.
fn named(told: &[Hint], open: &BTreeSet<TaskId>) -> Vec<TaskId> {
    if told.is_empty() {
        return open.iter().copied().collect();
    }
    told.iter()
        .filter_map(|hint| match hint {
            Hint::Task(task) => open.get(task).copied(),
            Hint::Lane(_) | Hint::Agents | Hint::Registry => None,
        })
        .collect()
}

async fn pause(app: &App, duration: Duration, stop: &Stop) {
    let until = app.clock.monotonic() + duration.max(Duration::from_millis(1));
    select_biased! {
        () = stop.wait().fuse() => {}
        () = app.clock.sleep_until(until).fuse() => {}
    }
}

/// One line a task, in the order of the batch.
async fn results(
    app: &App,
    batch: &Batch,
    accepted: &[Result<TaskId, QueueError>],
    names: &BTreeMap<AgentId, String>,
    waiting: &BTreeMap<TaskId, &'static str>,
) -> Result<Vec<ResultLine>, Failure> {
    let scope = TenantScope::Tenant(app.operator.tenant);
    let mut lines = Vec::with_capacity(batch.tasks.len());
    for (task, answer) in batch.tasks.iter().zip(accepted) {
        let id = match answer {
            Ok(id) => *id,
            Err(error) => {
                lines.push(ResultLine {
                    line: task.line,
                    id: None,
                    state: "refused",
                    reason: Some(error.code().to_owned()),
                    agent: None,
                    attempts: 0,
                    output: None,
                    artifacts: Vec::new(),
                    error: Some(error.to_string()),
                });
                continue;
            }
        };
        let Some(stored) = TaskReader::get(&*app.store, scope, &[id])
            .await?
            .into_iter()
            .flatten()
            .next()
        else {
            return Err(Failure::internal(
                "a task of the batch is gone",
                anyhow::anyhow!("{id}"),
            ));
        };
        let history = app.store.history(scope, id).await?;
        let last = history.attempts.last();
        let report = history
            .attempts
            .iter()
            .rev()
            .find_map(|attempt| match &attempt.outcome {
                AttemptEnd::Reported(report) if stored.task.result == Some(attempt.open.fence) => {
                    Some(report)
                }
                _ => None,
            });
        let error = last.and_then(|attempt| match &attempt.outcome {
            AttemptEnd::Failed(failure) => Some(failure.message.clone()),
            AttemptEnd::Lost => Some("the lease ended without a word from the agent".to_owned()),
            AttemptEnd::Ended { why } | AttemptEnd::Returned { why } => Some(why.clone()),
            AttemptEnd::Reported(_) => None,
        });
        lines.push(ResultLine {
            line: task.line,
            id: Some(id.to_string()),
            state: stored.task.state.name().word(),
            reason: (stored.task.state.reason())
                .or_else(|| waiting.get(&id).copied())
                .map(str::to_owned),
            agent: last.map(|attempt| {
                names
                    .get(&attempt.open.agent)
                    .cloned()
                    .unwrap_or_else(|| attempt.open.agent.to_string())
            }),
            attempts: history.attempts.len(),
            output: report
                .and_then(|report| report.output.as_ref())
                .map(arbiter_core::model::Json::value),
            artifacts: report.map_or_else(Vec::new, |report| {
                report.artifacts.iter().map(artifact_line).collect()
            }),
            error,
        });
    }
    Ok(lines)
}

fn artifact_line(artifact: &ArtifactRef) -> ArtifactLine {
    ArtifactLine {
        name: artifact.name.clone(),
        sha256: artifact.digest.to_string(),
        size_bytes: artifact.size_bytes,
    }
}

fn summary(lines: &[ResultLine], output: Option<&Path>, json: bool) {
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    lines
        .iter()
        .for_each(|line| *states.entry(line.state).or_default() += 1);
    if json {
        let value = serde_json::json!({"tasks": lines.len(), "states": states, "results": output});
        crate::output::error_line(&value.to_string());
        return;
    }
    let parts: Vec<String> = states
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let place = output.map_or_else(String::new, |path| format!("; results in {}", path.display()));
    crate::output::error_line(&format!("{} tasks: {}{place}", lines.len(), parts.join(", ")));
}

/// Reads a file, or standard input for `-`.
pub(super) fn read_input(path: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| Failure::usage(format!("`{}` cannot be read: {error}", path.display())))?;
    Ok(text)
}

fn folder_of(path: &Path) -> PathBuf {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
