//! Tasks, here or there.

use arbiter_client::{TaskFilter, TaskWatch};
use arbiter_core::lifecycle::ReleaseDecision;
use arbiter_core::model::{StateName, Task, TaskId, TaskKind, Version};
use arbiter_core::ports::TaskQuery;
use arbiter_wire::http::{
    Because, HistoryView, Problem, ReleaseForm, ReleaseWord, SubmitAnswer, SubmitMany, TaskView,
};
use arbiter_wire::object::Object;
use arbiter_wire::task::{TaskForm, TaskInput};

use super::Reach;
use crate::cli::{Decision, Operate};
use crate::commands::submission;
use crate::exit::Failure;

/// How many tasks one call of a server takes.
const AT_ONCE: usize = 1_000;

/// What a move made of a task.
pub(crate) struct Moved {
    pub(crate) id: String,
    pub(crate) state: String,
    pub(crate) reason: Option<String>,
    pub(crate) version: u64,
}

/// Why one task of many was not stored.
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// A task of a file.
pub(crate) struct Line {
    input: TaskInput,
    pub(crate) form: TaskForm,
}

impl Line {
    /// Reads one task.
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let input = TaskInput::parse(text).map_err(|error| Failure {
            code: error.code(),
            ..Failure::usage(error.to_string())
        })?;
        // It was read just now.
        let Object(form): Object<TaskForm> =
            serde_json::from_str(text).map_err(|error| Failure::usage(error.to_string()))?;
        Ok(Self { input, form })
    }
}

/// The changes of a task, until there will be no more.
pub(crate) enum Watch {
    /// This process owns the store: nobody else changes it.
    Once(Option<Box<TaskView>>),
    /// A server tells them.
    Server(Box<TaskWatch>),
}

impl Watch {
    pub(crate) async fn next(&mut self) -> Result<Option<TaskView>, Failure> {
        match self {
            Self::Once(task) => Ok(task.take().map(|task| *task)),
            Self::Server(watch) => Ok(watch.next().await?),
        }
    }
}

impl Reach {
    /// Submits tasks. Gives for each its id and whether it was stored before, or why it was refused.
    pub(crate) async fn submit(
        &self,
        lines: Vec<Line>,
        all_or_nothing: bool,
    ) -> Result<Vec<Result<(String, bool), Refusal>>, Failure> {
        match self {
            Self::Store(app) => {
                let submissions = lines.into_iter().map(|line| submission(line.input)).collect();
                let answers = app
                    .queue
                    .submit_many(&app.operator, submissions, all_or_nothing)
                    .await?;
                Ok(answers
                    .into_iter()
                    .map(|answer| {
                        answer
                            .map(|accepted| (accepted.task.to_string(), accepted.repeated))
                            .map_err(|error| Refusal {
                                code: error.code().to_owned(),
                                message: error.to_string(),
                            })
                    })
                    .collect())
            }
            Self::Server(client) => {
                let forms: Vec<TaskForm> = lines.into_iter().map(|line| line.form).collect();
                let mut told = Vec::with_capacity(forms.len());
                for tasks in calls(forms, all_or_nothing)? {
                    let many = SubmitMany {
                        tasks,
                        all_or_nothing,
                    };
                    told.extend(client.task_submit_many(many).await?.answers);
                }
                Ok(told.into_iter().map(answer).collect())
            }
        }
    }

    /// A task with its attempts.
    pub(crate) async fn task(&self, id: TaskId) -> Result<(TaskView, HistoryView), Failure> {
        match self {
            Self::Store(app) => {
                let stored = app.queue.get(&app.operator, id).await?;
                let history = app.queue.history(&app.operator, id).await?;
                Ok((
                    arbiter_api::view::task(&stored),
                    arbiter_api::view::history(&history),
                ))
            }
            Self::Server(client) => Ok((client.task_get(id).await?, client.task_attempts(id).await?)),
        }
    }

    /// A page of tasks after the cursor of an earlier one, and where to go on.
    pub(crate) async fn tasks(
        &self,
        query: TaskQuery,
        after: Option<String>,
    ) -> Result<(Vec<TaskView>, Option<String>), Failure> {
        match self {
            Self::Store(app) => {
                let after = after.map(|text| task_id(&text)).transpose()?;
                let query = TaskQuery { after, ..query };
                let page = app.queue.list(&app.operator, query).await?;
                let tasks = page.tasks.iter().map(arbiter_api::view::task).collect();
                Ok((tasks, page.next.map(|id| id.to_string())))
            }
            Self::Server(client) => {
                let filter = TaskFilter {
                    cursor: after,
                    limit: Some(query.limit),
                    state: query.state.map(StateName::word).map(str::to_owned),
                    kind: query.kind.as_ref().map(TaskKind::to_string),
                    label: query.label.map(|(name, value)| format!("{name}={value}")),
                };
                let page = client.task_list(&filter).await?;
                Ok((page.tasks, page.next))
            }
        }
    }

    /// Follows a task.
    pub(crate) async fn watch(&self, id: TaskId) -> Result<Watch, Failure> {
        match self {
            Self::Store(app) => {
                let stored = app.queue.watch(&app.operator, id).await?;
                Ok(Watch::Once(Some(Box::new(arbiter_api::view::task(&stored)))))
            }
            Self::Server(client) => Ok(Watch::Server(Box::new(client.task_watch(id)))),
        }
    }

    /// Withdraws a task.
    pub(crate) async fn cancel(&self, operate: Operate) -> Result<Moved, Failure> {
        let (id, expect, reason) = parts(operate)?;
        match self {
            Self::Store(app) => {
                let task = app.queue.cancel(&app.operator, id, expect.map(Version), reason);
                Ok(task.await?.into())
            }
            Self::Server(client) => {
                let because = Because { reason };
                Ok(client.task_cancel(id, expect, &because).await?.into())
            }
        }
    }

    /// Queues a failed task again.
    pub(crate) async fn retry(&self, operate: Operate) -> Result<Moved, Failure> {
        let (id, expect, reason) = parts(operate)?;
        match self {
            Self::Store(app) => {
                let task = app.queue.retry(&app.operator, id, expect.map(Version), reason);
                Ok(task.await?.into())
            }
            Self::Server(client) => {
                let because = Because { reason };
                Ok(client.task_retry(id, expect, &because).await?.into())
            }
        }
    }

    /// Decides a held task.
    pub(crate) async fn release(&self, operate: Operate, decision: Decision) -> Result<Moved, Failure> {
        let (id, expect, reason) = parts(operate)?;
        match self {
            Self::Store(app) => {
                let decision = match decision {
                    Decision::Resume => ReleaseDecision::Resume,
                    Decision::Accept => ReleaseDecision::Accept,
                    Decision::Reject => ReleaseDecision::Reject,
                };
                let expect = expect.map(Version);
                let task = app.queue.release(&app.operator, id, expect, decision, reason);
                Ok(task.await?.into())
            }
            Self::Server(client) => {
                let decision = match decision {
                    Decision::Resume => ReleaseWord::Resume,
                    Decision::Accept => ReleaseWord::Accept,
                    Decision::Reject => ReleaseWord::Reject,
                };
                let form = ReleaseForm { decision, reason };
                Ok(client.task_release(id, expect, &form).await?.into())
            }
        }
    }

    /// Gives a task up.
    pub(crate) async fn dead_letter(&self, operate: Operate) -> Result<Moved, Failure> {
        let (id, expect, reason) = parts(operate)?;
        match self {
            Self::Store(app) => {
                let task = app
                    .queue
                    .dead_letter(&app.operator, id, expect.map(Version), reason);
                Ok(task.await?.into())
            }
            Self::Server(client) => {
                let because = Because { reason };
                Ok(client.task_dead_letter(id, expect, &because).await?.into())
            }
        }
    }

    /// Queues a dead letter again.
    pub(crate) async fn requeue(&self, operate: Operate) -> Result<Moved, Failure> {
        let (id, expect, reason) = parts(operate)?;
        match self {
            Self::Store(app) => {
                let task = app.queue.requeue(&app.operator, id, expect.map(Version), reason);
                Ok(task.await?.into())
            }
            Self::Server(client) => {
                let because = Because { reason };
                Ok(client.task_requeue(id, expect, &because).await?.into())
            }
        }
    }
}

fn parts(operate: Operate) -> Result<(TaskId, Option<u64>, String), Failure> {
    Ok((task_id(&operate.id)?, operate.if_version, operate.reason))
}

/// Reads a task's id.
pub(crate) fn task_id(text: &str) -> Result<TaskId, Failure> {
    text.parse()
        .map_err(|error: arbiter_core::model::InvalidId| Failure::usage(error.to_string()))
}

/// The calls that tasks are sent with. What belongs together is not torn apart.
fn calls(mut tasks: Vec<TaskForm>, all_or_nothing: bool) -> Result<Vec<Vec<TaskForm>>, Failure> {
    if tasks.len() <= AT_ONCE {
        return Ok(vec![tasks]);
    }
    let refers = tasks
        .iter()
        .any(|task| task.after.iter().any(|after| after.starts_with('#')));
    if all_or_nothing || refers {
        return Err(Failure::usage(format!(
            "a server takes {AT_ONCE} tasks at once, and these {} belong together; submit fewer",
            tasks.len()
        )));
    }
    let mut calls = Vec::new();
    while !tasks.is_empty() {
        let rest = tasks.split_off(tasks.len().min(AT_ONCE));
        calls.push(std::mem::replace(&mut tasks, rest));
    }
    Ok(calls)
}

fn answer(answer: SubmitAnswer) -> Result<(String, bool), Refusal> {
    match answer {
        SubmitAnswer::Stored(stored) => Ok((stored.id, stored.repeated)),
        SubmitAnswer::Refused(Problem { code, detail, .. }) => Err(Refusal {
            code,
            message: detail,
        }),
    }
}

impl From<Task> for Moved {
    fn from(task: Task) -> Self {
        Self {
            id: task.id.to_string(),
            state: task.state.name().word().to_owned(),
            reason: task.state.reason().map(str::to_owned),
            version: task.version.0,
        }
    }
}

impl From<TaskView> for Moved {
    fn from(task: TaskView) -> Self {
        Self {
            id: task.id,
            state: task.state,
            reason: task.reason,
            version: task.version,
        }
    }
}

/// The exit code of a task that was followed to its end.
pub(crate) fn verdict(last: Option<&TaskView>) -> Result<(), Failure> {
    match last {
        Some(task) if StateName::from_word(&task.state) != Some(StateName::Succeeded) => {
            Err(Failure::some_failed())
        }
        _ => Ok(()),
    }
}
