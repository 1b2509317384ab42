//! Tasks: submit, read, operate.

use arbiter_audit::view::LeafView;
use arbiter_core::lifecycle::ReleaseDecision;
use arbiter_core::model::{PrincipalId, StateName, Task, TaskId, TaskKind, TraceContext, Version};
use arbiter_core::ports::{AuditEntry, TaskQuery};
use arbiter_queue::{Prerequisite, QueueError, Submission};
use arbiter_wire::http::{
    Because, HistoryView, ReleaseForm, ReleaseWord, SubmitAnswer, SubmitMany, Submitted, SubmittedMany,
    TaskEventPageView, TaskEventView, TaskPageView, TaskView,
};
use arbiter_wire::task::{After, TaskForm, TaskInput};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{audit, watch};
use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::cursor::{self, CursorText, Cursors, PageQuery};
use crate::etag::{if_match, tagged};
use crate::failure::Failure;
use crate::outer::TRACEPARENT;
use crate::repeats::{HEADER, idempotency_key};
use crate::routes::{BodyLimit, Operation, Routes};
use crate::state::Api;
use crate::view;

const MOVES: &[&str] = &[
    "not_found",
    "illegal_transition",
    "precondition_failed",
    "invalid_task",
];
const SUBMITS: &[&str] = &[
    "invalid_task",
    "kind_not_allowed",
    "suspicious_content",
    "backlog_full",
    "not_found",
];

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::post("/v1/tasks", "task.submit", "Submit a task")
                .body::<TaskForm>()
                .makes::<Submitted>(
                    "The task was stored",
                    "The task had been stored before, by a call with the same idempotency key",
                )
                .errors(SUBMITS),
            submit,
        )
        .add(
            Operation::post("/v1/tasks/batch", "task.submit_many", "Submit up to 1000 tasks")
                .body::<SubmitMany>()
                .limit(BodyLimit::Batch)
                .answers::<SubmittedMany>(200, "What became of each task")
                .errors(SUBMITS),
            submit_many,
        )
        .add(
            Operation::get("/v1/tasks", "task.list", "List tasks, oldest first")
                .query::<ListQuery>()
                .answers::<TaskPageView>(200, "A page of tasks")
                .errors(&["bad_cursor", "invalid_task"]),
            list,
        )
        .add(
            Operation::get("/v1/tasks/{id}", "task.get", "Read a task")
                .answers::<TaskView>(200, "The task")
                .etag(),
            get,
        )
        .add(
            Operation::get(
                "/v1/tasks/{id}/attempts",
                "task.attempts",
                "Read the finished attempts and stage reports of a task",
            )
            .answers::<HistoryView>(200, "Attempts and stage reports, oldest first"),
            attempts,
        )
        .add(
            Operation::get(
                "/v1/tasks/{id}/events",
                "task.events",
                "Read what was done to a task, newest first",
            )
            .query::<PageQuery>()
            .answers::<TaskEventPageView>(200, "A page of events")
            .errors(&["bad_cursor"]),
            events,
        )
        .add(
            Operation::get("/v1/tasks/{id}/watch", "task.watch", "Follow a task until it has ended")
                .waits()
                .headers(&["Last-Event-ID"])
                .answers_with(
                    200,
                    "text/event-stream",
                    "An event `task` with the task for each change, from the present state on; the stream ends after the last one",
                )
                .answers_with(204, "", "The task has ended, and the event of that was the last one that was seen"),
            watch::watch,
        )
        .add(moves("/v1/tasks/{id}/cancel", "task.cancel", "Withdraw a task").body::<Because>(), cancel)
        .add(moves("/v1/tasks/{id}/retry", "task.retry", "Queue a failed task again").body::<Because>(), retry)
        .add(moves("/v1/tasks/{id}/release", "task.release", "Decide a held task").body::<ReleaseForm>(), release)
        .add(
            moves("/v1/tasks/{id}/dead-letter", "task.dead_letter", "Move a task to the dead letters")
                .body::<Because>(),
            dead_letter,
        )
        .add(moves("/v1/tasks/{id}/requeue", "task.requeue", "Queue a dead letter again").body::<Because>(), requeue)
}

fn moves(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::post(path, id, summary)
        .headers(&["If-Match"])
        .answers::<TaskView>(200, "The task as it stands now")
        .etag()
        .errors(MOVES)
}

async fn submit(
    State(api): State<Api>,
    Caller(caller): Caller,
    headers: HeaderMap,
    JsonBody(form): JsonBody<TaskForm>,
) -> Result<Response, Failure> {
    let mut input = form.read()?;
    if let Some(key) = idempotency_key(&headers)? {
        if input.idempotency_key.as_deref().is_some_and(|field| field != key) {
            return Err(Failure::new(
                "invalid_request",
                "the field `idempotency_key` differs from the header `Idempotency-Key`; send one of them",
            ));
        }
        input.idempotency_key = Some(key.to_owned());
    }
    if input.spec.trace.is_none() {
        input.spec.trace = trace(&headers);
    }
    let accepted = api.queue().submit(&caller, submission(input)?).await?;
    let status = if accepted.repeated {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    let told = Submitted {
        id: accepted.task.to_string(),
        repeated: accepted.repeated,
    };
    let location = HeaderValue::from_str(&format!("/v1/tasks/{}", accepted.task)).ok();
    let mut response = (status, Json(told)).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn submit_many(
    State(api): State<Api>,
    Caller(caller): Caller,
    headers: HeaderMap,
    JsonBody(many): JsonBody<SubmitMany>,
) -> Result<Json<SubmittedMany>, Failure> {
    if headers.contains_key(HEADER) {
        return Err(Failure::new(
            "invalid_request",
            "a header `Idempotency-Key` is for one task; give each of many its field `idempotency_key`",
        ));
    }
    let trace = trace(&headers);
    let count = many.tasks.len();
    if count == 0 {
        return Err(Failure::invalid("tasks", "is empty; send 1 to 1000 tasks"));
    }
    // A task that cannot be read is refused like one that breaks a rule: alone, unless all or none were asked for.
    let mut answers: Vec<Option<SubmitAnswer>> = Vec::with_capacity(count);
    let mut read = Vec::with_capacity(count);
    for form in many.tasks {
        let input = form.read().map_err(Failure::from);
        match input.and_then(submission) {
            Ok(mut submission) => {
                if submission.spec.trace.is_none() {
                    submission.spec.trace.clone_from(&trace);
                }
                read.push(submission);
                answers.push(None);
            }
            Err(failure) if many.all_or_nothing => return Err(failure),
            Err(failure) => answers.push(Some(SubmitAnswer::Refused(failure.into_problem()))),
        }
    }
    if read.len() < count && read.iter().any(refers_to_neighbours) {
        return Err(Failure::invalid(
            "after",
            "names a task of the same submit by its number, but some of them cannot be read",
        ));
    }
    let stored = if read.is_empty() {
        Vec::new()
    } else {
        api.queue()
            .submit_many(&caller, read, many.all_or_nothing)
            .await?
    };
    let mut stored = stored.into_iter().map(answer);
    let answers = answers
        .into_iter()
        .filter_map(|refused| refused.or_else(|| stored.next()))
        .collect();
    Ok(Json(SubmittedMany { answers }))
}

fn answer(answer: Result<arbiter_queue::Accepted, QueueError>) -> SubmitAnswer {
    match answer {
        Ok(accepted) => SubmitAnswer::Stored(Submitted {
            id: accepted.task.to_string(),
            repeated: accepted.repeated,
        }),
        Err(error) => SubmitAnswer::Refused(Failure::from(error).into_problem()),
    }
}

fn refers_to_neighbours(submission: &Submission) -> bool {
    submission
        .after
        .iter()
        .any(|after| matches!(after, Prerequisite::Sibling(_)))
}

pub(super) fn submission(input: TaskInput) -> Result<Submission, Failure> {
    let after = input
        .after
        .into_iter()
        .map(|after| match after {
            After::Task(task) => Ok(Prerequisite::Task(task)),
            After::Item(number) => number
                .checked_sub(1)
                .map(Prerequisite::Sibling)
                .ok_or_else(|| Failure::invalid("after", "numbers tasks from 1")),
        })
        .collect::<Result<_, _>>()?;
    Ok(Submission {
        spec: input.spec,
        after,
        idempotency_key: input.idempotency_key,
    })
}

fn trace(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::parse(headers.get(&TRACEPARENT)?.to_str().ok()?).ok()
}

/// Which tasks to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Where to go on: the cursor of the page before.
    cursor: Option<CursorText>,
    /// At most so many; 50.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// Only those in this state.
    state: Option<String>,
    /// Only those of this kind.
    kind: Option<String>,
    /// Only those with this label: `name=value`.
    label: Option<String>,
}

async fn list(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<ListQuery>,
) -> Result<Json<TaskPageView>, Failure> {
    let filters = [
        asked.state.as_deref(),
        asked.kind.as_deref(),
        asked.label.as_deref(),
    ];
    let cursors = Cursors::of("task.list", &filters);
    let after = cursors.place(asked.cursor.as_deref())?.map(TaskId::from_bytes);
    let limit = cursor::limit(asked.limit)?;
    let state = asked
        .state
        .map(|word| {
            StateName::from_word(&word).ok_or_else(|| Failure::invalid("state", "is no state of a task"))
        })
        .transpose()?;
    let kind = asked
        .kind
        .map(|kind| TaskKind::new(&kind).map_err(|error| Failure::invalid("kind", error)))
        .transpose()?;
    let label = asked
        .label
        .map(|label| {
            label
                .split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .ok_or_else(|| Failure::invalid("label", "is not `name=value`"))
        })
        .transpose()?;
    let query = TaskQuery {
        after,
        limit,
        state,
        kind,
        label,
    };
    let page = api.queue().list(&caller, query).await?;
    Ok(Json(TaskPageView {
        tasks: page.tasks.iter().map(view::task).collect(),
        next: page.next.map(|id| cursors.after(id.as_bytes())),
    }))
}

async fn get(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let stored = api.queue().get(&caller, task_id(&id)?).await?;
    Ok(tagged(stored.task.version.0, view::whole_task(&stored)))
}

async fn events(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(asked): Query<PageQuery>,
) -> Result<Json<TaskEventPageView>, Failure> {
    let id = task_id(&id)?;
    let limit = cursor::limit(asked.limit)?;
    let cursors = Cursors::of("task.events", &[Some(&id.to_string())]);
    let before = cursors.place(asked.cursor.as_deref())?.map(u64::from_be_bytes);
    let page = api.queue().events(&caller, id, before, limit).await?;
    Ok(Json(TaskEventPageView {
        events: page.entries.iter().map(event).collect::<Result<_, _>>()?,
        next: page.next.map(|index| cursors.after(&index.to_be_bytes())),
    }))
}

fn event(entry: &AuditEntry) -> Result<TaskEventView, Failure> {
    let leaf = LeafView::parse(&entry.leaf).map_err(audit::damaged)?;
    Ok(TaskEventView {
        index: entry.index,
        at: leaf.at.to_string(),
        actions: leaf.actions().map(str::to_owned).collect(),
        principal: leaf.principal.as_ref().map(PrincipalId::to_string),
        version: leaf.resource.and_then(|resource| resource.version),
        reason: leaf.reason.map(str::to_owned),
        detail: entry.detail.as_ref().map(|detail| detail.body.value()),
    })
}

async fn attempts(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<HistoryView>, Failure> {
    let history = api.queue().history(&caller, task_id(&id)?).await?;
    Ok(Json(view::history(&history)))
}

async fn cancel(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(because): JsonBody<Because>,
) -> Result<Response, Failure> {
    let (id, expect) = (task_id(&id)?, if_match(&headers)?.map(Version));
    let task = api.queue().cancel(&caller, id, expect, because.reason).await?;
    moved(&api, &task).await
}

async fn retry(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(because): JsonBody<Because>,
) -> Result<Response, Failure> {
    let (id, expect) = (task_id(&id)?, if_match(&headers)?.map(Version));
    let task = api.queue().retry(&caller, id, expect, because.reason).await?;
    moved(&api, &task).await
}

async fn release(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<ReleaseForm>,
) -> Result<Response, Failure> {
    let (id, expect) = (task_id(&id)?, if_match(&headers)?.map(Version));
    let decision = match form.decision {
        ReleaseWord::Resume => ReleaseDecision::Resume,
        ReleaseWord::Accept => ReleaseDecision::Accept,
        ReleaseWord::Reject => ReleaseDecision::Reject,
    };
    let task = api
        .queue()
        .release(&caller, id, expect, decision, form.reason)
        .await?;
    moved(&api, &task).await
}

async fn dead_letter(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(because): JsonBody<Because>,
) -> Result<Response, Failure> {
    let (id, expect) = (task_id(&id)?, if_match(&headers)?.map(Version));
    let task = api
        .queue()
        .dead_letter(&caller, id, expect, because.reason)
        .await?;
    moved(&api, &task).await
}

async fn requeue(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(because): JsonBody<Because>,
) -> Result<Response, Failure> {
    let (id, expect) = (task_id(&id)?, if_match(&headers)?.map(Version));
    let task = api.queue().requeue(&caller, id, expect, because.reason).await?;
    moved(&api, &task).await
}

/// The task after a move, with what was asked of it.
async fn moved(api: &Api, task: &Task) -> Result<Response, Failure> {
    let scope = arbiter_core::model::TenantScope::Tenant(task.tenant);
    let mut found = api.parts().reader.get(scope, &[task.id]).await?;
    let mut stored = found.pop().flatten().ok_or_else(Failure::not_found)?;
    // What the call did, even if something else happened since.
    stored.task = task.clone();
    Ok(tagged(task.version.0, view::task(&stored)))
}

/// A malformed id names nothing, which is no more than the caller may know.
pub(super) fn task_id(text: &str) -> Result<TaskId, Failure> {
    text.parse().map_err(|_| Failure::not_found())
}
