//! Completion webhooks of tenants.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{HookId, TaskKind};
use arbiter_queue::hooks::{HookChange, HookEvent, NewHook};
use arbiter_wire::http::{
    DeliveryListView, DeliveryView, HookChangeForm, HookEventWord, HookForm, HookListView, HookSecretView,
    HookView, RotateForm,
};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use crate::auth::Caller;
use crate::body::JsonBody;
use crate::etag::{if_match, made, tagged};
use crate::failure::Failure;
use crate::repeats::idempotency_key;
use crate::routes::{Operation, Routes};
use crate::state::Api;
use crate::view;

const CHANGES: &[&str] = &["precondition_failed"];

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::post("/v1/hooks", "hook.create", "Make a webhook")
                .body::<HookForm>()
                .makes::<HookSecretView>(
                    "The hook, and its secret: shown to this call and its repeats only",
                    "The hook as it is now, and its present secret: a call with the same idempotency key had made it",
                )
                .etag(),
            create,
        )
        .add(
            Operation::get("/v1/hooks", "hook.list", "List the webhooks of the tenant")
                .answers::<HookListView>(200, "The hooks, by id"),
            list,
        )
        .add(
            Operation::get("/v1/hooks/{id}", "hook.get", "Read a webhook")
                .answers::<HookView>(200, "The hook")
                .etag(),
            get,
        )
        .add(
            Operation::patch(
                "/v1/hooks/{id}",
                "hook.update",
                "Change, pause or resume a webhook",
            )
            .body::<HookChangeForm>()
            .headers(&["If-Match"])
            .answers::<HookView>(200, "The hook as it is now")
            .etag()
            .errors(CHANGES),
            update,
        )
        .add(
            Operation::delete("/v1/hooks/{id}", "hook.delete", "Delete a webhook and its log")
                .headers(&["If-Match"])
                .answers_with(204, "", "It is deleted; messages that waited for it are dropped")
                .errors(CHANGES),
            delete,
        )
        .add(
            Operation::post(
                "/v1/hooks/{id}/rotate",
                "hook.rotate",
                "Give a webhook a new secret",
            )
            .body::<RotateForm>()
            .headers(&["If-Match"])
            .answers::<HookSecretView>(200, "The hook, and its new secret: shown this once")
            .etag()
            .errors(CHANGES),
            rotate,
        )
        .add(
            Operation::get(
                "/v1/hooks/{id}/deliveries",
                "hook.deliveries",
                "Read the log of a webhook's last 100 deliveries",
            )
            .answers::<DeliveryListView>(200, "The deliveries, the latest change first"),
            deliveries,
        )
        .add(
            Operation::post(
                "/v1/hooks/{id}/deliveries/{delivery}/replay",
                "hook.replay",
                "Send a delivery again, under the same message id",
            )
            .answers::<DeliveryView>(200, "It waits for its next try")
            .errors(&["invalid_value", "precondition_failed"]),
            replay,
        )
}

async fn create(
    State(api): State<Api>,
    Caller(caller): Caller,
    headers: HeaderMap,
    JsonBody(form): JsonBody<HookForm>,
) -> Result<Response, Failure> {
    let new = NewHook {
        url: SecretText::new(form.url),
        events: events(form.events),
        kinds: form.kinds.map(kinds).transpose()?,
    };
    let key = idempotency_key(&headers)?;
    let hooks = &api.parts().hooks;
    let answer = hooks.create(&caller, caller.tenant, new, key).await?;
    let hook = &answer.record.hook;
    let location = format!("/v1/hooks/{}", hook.id);
    let shown = view::hook_secret(&answer.record);
    Ok(made(answer.repeated, hook.revision, &location, shown))
}

async fn list(State(api): State<Api>, Caller(caller): Caller) -> Result<Json<HookListView>, Failure> {
    let hooks = api.parts().hooks.list(&caller, caller.tenant).await?;
    Ok(Json(HookListView {
        hooks: hooks.iter().map(view::hook).collect(),
    }))
}

async fn get(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let hook = api
        .parts()
        .hooks
        .get(&caller, caller.tenant, hook_id(&id)?)
        .await?;
    Ok(tagged(hook.revision, view::hook(&hook)))
}

async fn update(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<HookChangeForm>,
) -> Result<Response, Failure> {
    let (id, revision) = (hook_id(&id)?, if_match(&headers)?);
    let kinds = match (form.kinds, form.all_kinds) {
        (Some(_), true) => {
            return Err(Failure::invalid(
                "all_kinds",
                "contradicts `kinds`; send one of them",
            ));
        }
        (Some(words), false) => Some(Some(kinds(words)?)),
        (None, true) => Some(None),
        (None, false) => None,
    };
    let change = HookChange {
        url: form.url.map(SecretText::new),
        events: form.events.map(events),
        kinds,
        paused: form.paused,
    };
    let hook = api
        .parts()
        .hooks
        .update(&caller, caller.tenant, id, revision, change)
        .await?;
    Ok(tagged(hook.revision, view::hook(&hook)))
}

async fn delete(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let (id, revision) = (hook_id(&id)?, if_match(&headers)?);
    api.parts()
        .hooks
        .delete(&caller, caller.tenant, id, revision)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn rotate(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<RotateForm>,
) -> Result<Response, Failure> {
    let (id, revision) = (hook_id(&id)?, if_match(&headers)?);
    let overlap = Duration::from_secs(form.overlap_seconds);
    let made = api
        .parts()
        .hooks
        .rotate(&caller, caller.tenant, id, revision, overlap)
        .await?;
    Ok(tagged(made.hook.revision, view::hook_secret(&made)))
}

async fn deliveries(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<DeliveryListView>, Failure> {
    let found = api
        .parts()
        .hooks
        .deliveries(&caller, caller.tenant, hook_id(&id)?)
        .await?;
    Ok(Json(DeliveryListView {
        deliveries: found.iter().map(view::delivery).collect(),
    }))
}

async fn replay(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path((id, message)): Path<(String, String)>,
) -> Result<Json<DeliveryView>, Failure> {
    let message = message.parse().map_err(|_| Failure::not_found())?;
    let replayed = api
        .parts()
        .hooks
        .replay(&caller, caller.tenant, hook_id(&id)?, message)
        .await?;
    Ok(Json(view::delivery(&replayed)))
}

fn hook_id(text: &str) -> Result<HookId, Failure> {
    text.parse().map_err(|_| Failure::not_found())
}

fn events(words: BTreeSet<HookEventWord>) -> BTreeSet<HookEvent> {
    words.into_iter().map(event).collect()
}

const fn event(word: HookEventWord) -> HookEvent {
    match word {
        HookEventWord::Closed => HookEvent::Closed,
        HookEventWord::Held => HookEvent::Held,
        HookEventWord::DeadLettered => HookEvent::DeadLettered,
        HookEventWord::ReviewNeeded => HookEvent::ReviewNeeded,
    }
}

fn kinds(words: BTreeSet<String>) -> Result<BTreeSet<TaskKind>, Failure> {
    words
        .iter()
        .map(|word| TaskKind::new(word).map_err(|error| Failure::invalid("kinds", error)))
        .collect()
}
