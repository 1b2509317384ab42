//! API keys of principals.

use std::time::Duration;

use arbiter_queue::{KeyInfo, NewKey, Rotation};
use arbiter_wire::http::{KeyForm, KeyListView, KeyRotationForm, KeySecretView, KeyView};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;

use super::principals::{OfTenant, principal_id};
use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::failure::Failure;
use crate::routes::{Operation, Routes};
use crate::state::Api;
use crate::view;

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::post("/v1/principals/{id}/keys", "key.create", "Make a key")
                .query::<OfTenant>()
                .body::<KeyForm>()
                .answers::<KeySecretView>(201, "The key: shown this once"),
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
            .answers::<KeySecretView>(201, "The new key: shown this once"),
            rotate,
        )
}

async fn create(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(of): Query<OfTenant>,
    JsonBody(form): JsonBody<KeyForm>,
) -> Result<Response, Failure> {
    let (tenant, id) = (of.or_own(&caller)?, principal_id(&id)?);
    let lifetime = form.expires_in_seconds.map(Duration::from_secs);
    let desk = &api.parts().key_desk;
    let (key, info) = desk.create(&caller, tenant, id, lifetime).await?;
    Ok((StatusCode::CREATED, Json(secret(&api, &key, &info))).into_response())
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
    JsonBody(form): JsonBody<KeyRotationForm>,
) -> Result<Response, Failure> {
    let (tenant, id) = (of.or_own(&caller)?, principal_id(&id)?);
    let rotation = Rotation {
        lifetime: form.expires_in_seconds.map(Duration::from_secs),
        overlap: Duration::from_secs(form.overlap_seconds),
    };
    let desk = &api.parts().key_desk;
    let (new, info) = desk.rotate(&caller, tenant, id, &key, rotation).await?;
    Ok((StatusCode::CREATED, Json(secret(&api, &new, &info))).into_response())
}

fn secret(api: &Api, key: &NewKey, info: &KeyInfo) -> KeySecretView {
    KeySecretView {
        key: view::key(info, api.parts().clock.now()),
        secret: key.text.expose().to_owned(),
    }
}
