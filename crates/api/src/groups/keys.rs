//! API keys of principals.

use std::time::Duration;

use arbiter_queue::{MadeKey, Rotation};
use arbiter_wire::http::{KeyForm, KeyListView, KeyRotationForm, KeySecretView, KeyView};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};

use super::principals::{OfTenant, principal_id};
use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::failure::Failure;
use crate::repeats::idempotency_key;
use crate::routes::{Operation, Routes};
use crate::state::Api;
use crate::view;

/// What a repeat gets: only the hash of a secret is kept.
const AGAIN: &str = "The key as it is now, without its secret: a call with the same idempotency key had made it. When that \
    call's answer was lost, revoke it and make another";

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::post("/v1/principals/{id}/keys", "key.create", "Make a key")
                .query::<OfTenant>()
                .body::<KeyForm>()
                .makes::<KeySecretView>("The key: shown this once", AGAIN),
            create,
        )
        .add(
            Operation::get(
                "/v1/principals/{id}/keys",
                "key.list",
                "List the keys of a principal",
            )
            .query::<OfTenant>()
            .answers::<KeyListView>(200, "The keys, live or not, by id"),
            list,
        )
        .add(
            Operation::delete("/v1/principals/{id}/keys/{key}", "key.revoke", "Revoke a key")
                .query::<OfTenant>()
                .answers::<KeyView>(200, "The key; it is refused from now on"),
            revoke,
        )
        .add(
            Operation::post(
                "/v1/principals/{id}/keys/{key}/rotate",
                "key.rotate",
                "Make a key in the place of another one",
            )
            .query::<OfTenant>()
            .body::<KeyRotationForm>()
            .makes::<KeySecretView>("The new key: shown this once", AGAIN),
            rotate,
        )
}

async fn create(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(of): Query<OfTenant>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<KeyForm>,
) -> Result<Response, Failure> {
    let (tenant, id) = (of.or_own(&caller)?, principal_id(&id)?);
    let lifetime = form.expires_in_seconds.map(Duration::from_secs);
    let desk = &api.parts().key_desk;
    let key = idempotency_key(&headers)?;
    let made = desk.create(&caller, tenant, id, lifetime, key).await?;
    Ok(answer(&api, &made))
}

async fn list(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(of): Query<OfTenant>,
) -> Result<Json<KeyListView>, Failure> {
    let (tenant, id) = (of.or_own(&caller)?, principal_id(&id)?);
    let keys = api.parts().key_desk.list(&caller, tenant, id).await?;
    let now = api.parts().clock.now();
    Ok(Json(KeyListView {
        keys: keys.iter().map(|key| view::key(key, now)).collect(),
    }))
}

async fn revoke(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path((id, key)): Path<(String, String)>,
    Query(of): Query<OfTenant>,
) -> Result<Json<KeyView>, Failure> {
    let (tenant, id) = (of.or_own(&caller)?, principal_id(&id)?);
    let desk = &api.parts().key_desk;
    let info = desk.revoke(&caller, tenant, id, &key).await?;
    Ok(Json(view::key(&info, api.parts().clock.now())))
}

async fn rotate(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path((id, key)): Path<(String, String)>,
    Query(of): Query<OfTenant>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<KeyRotationForm>,
) -> Result<Response, Failure> {
    let (tenant, id) = (of.or_own(&caller)?, principal_id(&id)?);
    let rotation = Rotation {
        lifetime: form.expires_in_seconds.map(Duration::from_secs),
        overlap: Duration::from_secs(form.overlap_seconds),
        idempotency_key: idempotency_key(&headers)?,
    };
    let desk = &api.parts().key_desk;
    let made = desk.rotate(&caller, tenant, id, &key, rotation).await?;
    Ok(answer(&api, &made))
}

fn answer(api: &Api, made: &MadeKey) -> Response {
    let status = match made.key {
        Some(_) => StatusCode::CREATED,
        None => StatusCode::OK,
    };
    let shown = KeySecretView {
        key: view::key(&made.info, api.parts().clock.now()),
        secret: made.key.as_ref().map(|key| key.text.expose().to_owned()),
    };
    (status, Json(shown)).into_response()
}
