//! One operation on every task that a filter finds.

use arbiter_core::model::{Principal, StateName, TaskId, TaskKind};
use arbiter_queue::{BulkFilter, BulkRequest};
use arbiter_wire::http::{BulkForm, BulkView};
use axum::Json;
use axum::extract::State;

use super::principals::tenant;
use crate::auth::Caller;
use crate::body::JsonBody;
use crate::cursor::Cursors;
use crate::failure::Failure;
use crate::routes::{Operation, Routes};
use crate::state::Api;
use crate::view;

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            many(
                "/v1/tasks/cancel-many",
                "task.cancel_many",
                "Withdraw every open task that a filter finds",
            ),
            cancel,
        )
        .add(
            many(
                "/v1/tasks/requeue-many",
                "task.requeue_many",
                "Queue every failed task and dead letter that a filter finds again",
            ),
            requeue,
        )
        .add(
            many(
                "/v1/tasks/purge-many",
                "task.purge_many",
                "Delete every closed task that a filter finds, with its input, attempts and outputs",
            ),
            purge,
        )
}

fn many(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::post(path, id, summary)
        .body::<BulkForm>()
        .answers::<BulkView>(200, "How many tasks were found, and what became of them")
        .errors(&["bad_cursor", "invalid_task"])
}

async fn cancel(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<BulkForm>,
) -> Result<Json<BulkView>, Failure> {
    let cursors = cursors("task.cancel_many", &form);
    let request = request(form, &caller, cursors)?;
    let dry_run = request.dry_run;
    let outcome = api.queue().cancel_many(&caller, request).await?;
    let next = outcome.next.map(|task| cursors.after(task.as_bytes()));
    Ok(Json(view::bulk(&outcome, dry_run, next)))
}

async fn requeue(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<BulkForm>,
) -> Result<Json<BulkView>, Failure> {
    let cursors = cursors("task.requeue_many", &form);
    let request = request(form, &caller, cursors)?;
    let dry_run = request.dry_run;
    let outcome = api.queue().requeue_many(&caller, request).await?;
    let next = outcome.next.map(|task| cursors.after(task.as_bytes()));
    Ok(Json(view::bulk(&outcome, dry_run, next)))
}

async fn purge(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<BulkForm>,
) -> Result<Json<BulkView>, Failure> {
    let cursors = cursors("task.purge_many", &form);
    let request = request(form, &caller, cursors)?;
    let dry_run = request.dry_run;
    let outcome = api.queue().purge_many(&caller, request).await?;
    let next = outcome.next.map(|task| cursors.after(task.as_bytes()));
    Ok(Json(view::bulk(&outcome, dry_run, next)))
}

/// The cursors of an operation under these filters.
fn cursors(operation: &str, form: &BulkForm) -> Cursors {
    let filters = [
        &form.tenant,
        &form.state,
        &form.kind,
        &form.label,
        &form.submitted_before,
    ];
    Cursors::of(operation, &filters.map(Option::as_deref))
}

fn request(form: BulkForm, caller: &Principal, cursors: Cursors) -> Result<BulkRequest, Failure> {
    let tenant = tenant(form.tenant.as_deref(), caller)?;
    let state = form.state.map(|word| {
        StateName::from_word(&word).ok_or_else(|| Failure::invalid("state", "is no state of a task"))
    });
    let kind = form
        .kind
        .map(|kind| TaskKind::new(&kind).map_err(|error| Failure::invalid("kind", error)));
    let label = form.label.map(|label| {
        label
            .split_once('=')
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .ok_or_else(|| Failure::invalid("label", "is not `name=value`"))
    });
    let before = form.submitted_before.map(|text| {
        text.parse()
            .map_err(|error| Failure::invalid("submitted_before", error))
    });
    let after = cursors.place(form.cursor.as_deref())?;
    Ok(BulkRequest {
        filter: BulkFilter {
            tenant: Some(tenant),
            state: state.transpose()?,
            kind: kind.transpose()?,
            label: label.transpose()?,
            submitted_before: before.transpose()?,
        },
        after: after.map(TaskId::from_bytes),
        limit: form.limit,
        dry_run: form.dry_run,
        why: form.reason,
    })
}
