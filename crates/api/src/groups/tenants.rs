//! Tenants.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{TaskKind, TenantId};
use arbiter_queue::RateLimit;
use arbiter_queue::tenants::{NewTenant, TenantChange, TenantLimits};
use arbiter_wire::http::{
    Because, TenantChangeForm, TenantForm, TenantLimitsForm, TenantPageView, TenantView,
};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};

use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::cursor::{self, Cursors, PageQuery};
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
            Operation::post("/v1/tenants", "tenant.create", "Make a tenant")
                .body::<TenantForm>()
                .makes::<TenantView>(
                    "The tenant",
                    "The tenant as it is now: a call with the same idempotency key had made it",
                )
                .etag(),
            create,
        )
        .add(
            Operation::get(
                "/v1/tenants",
                "tenant.list",
                "List tenants, by id: one's own, or all for an admin",
            )
            .query::<PageQuery>()
            .answers::<TenantPageView>(200, "A page of tenants")
            .errors(&["bad_cursor"]),
            list,
        )
        .add(
            Operation::get("/v1/tenants/{id}", "tenant.get", "Read a tenant")
                .answers::<TenantView>(200, "The tenant")
                .etag(),
            get,
        )
        .add(
            Operation::patch(
                "/v1/tenants/{id}",
                "tenant.update",
                "Change a tenant's name, weight or limits",
            )
            .body::<TenantChangeForm>()
            .headers(&["If-Match"])
            .answers::<TenantView>(200, "The tenant as it is now")
            .etag()
            .errors(CHANGES),
            update,
        )
        .add(
            moves(
                "/v1/tenants/{id}/suspend",
                "tenant.suspend",
                "Refuse every call of a tenant's principals, and assign none of its tasks",
            ),
            suspend,
        )
        .add(
            moves(
                "/v1/tenants/{id}/resume",
                "tenant.resume",
                "Let a suspended tenant go on",
            ),
            resume,
        )
        .add(
            Operation::post(
                "/v1/tenants/{id}/delete",
                "tenant.delete",
                "Delete a suspended tenant with everything of it",
            )
            .body::<Because>()
            .headers(&["If-Match"])
            .answers::<TenantView>(
                202,
                "It is refused for good, and its data is erased in the background",
            )
            .etag()
            .errors(&["precondition_failed", "invalid_task"]),
            delete,
        )
}

fn moves(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::post(path, id, summary)
        .body::<Because>()
        .headers(&["If-Match"])
        .answers::<TenantView>(200, "The tenant as it is now")
        .etag()
        .errors(&["precondition_failed", "invalid_task"])
}

async fn create(
    State(api): State<Api>,
    Caller(caller): Caller,
    headers: HeaderMap,
    JsonBody(form): JsonBody<TenantForm>,
) -> Result<Response, Failure> {
    let new = NewTenant {
        name: form.name,
        weight: form.weight,
        limits: limits(form.limits)?,
    };
    let key = idempotency_key(&headers)?;
    let answer = api.parts().tenants.create(&caller, new, key).await?;
    let tenant = &answer.record;
    let location = format!("/v1/tenants/{}", tenant.id);
    Ok(made(
        answer.repeated,
        tenant.revision,
        &location,
        view::tenant(tenant),
    ))
}

async fn list(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<PageQuery>,
) -> Result<Json<TenantPageView>, Failure> {
    let cursors = Cursors::of("tenant.list", &[]);
    let after = cursors.place(asked.cursor.as_deref())?;
    let after = after.map(TenantId::from_bytes);
    let limit = cursor::limit(asked.limit)?;
    let page = api.parts().tenants.list(&caller, after, limit).await?;
    Ok(Json(TenantPageView {
        tenants: page.tenants.iter().map(view::tenant).collect(),
        next: page.next.map(|next| cursors.after(next.as_bytes())),
    }))
}

async fn get(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let tenant = api.parts().tenants.get(&caller, tenant_id(&id)?).await?;
    Ok(tagged(tenant.revision, view::tenant(&tenant)))
}

async fn update(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<TenantChangeForm>,
) -> Result<Response, Failure> {
    let (id, revision) = (tenant_id(&id)?, if_match(&headers)?);
    let change = TenantChange {
        name: form.name,
        weight: form.weight,
        limits: form.limits.map(limits).transpose()?,
    };
    let tenant = api.parts().tenants.update(&caller, id, revision, change).await?;
    Ok(tagged(tenant.revision, view::tenant(&tenant)))
}

async fn suspend(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(because): JsonBody<Because>,
) -> Result<Response, Failure> {
    let (id, revision) = (tenant_id(&id)?, if_match(&headers)?);
    let tenants = &api.parts().tenants;
    let tenant = tenants.suspend(&caller, id, revision, because.reason).await?;
    Ok(tagged(tenant.revision, view::tenant(&tenant)))
}

async fn resume(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(because): JsonBody<Because>,
) -> Result<Response, Failure> {
    let (id, revision) = (tenant_id(&id)?, if_match(&headers)?);
    let tenants = &api.parts().tenants;
    let tenant = tenants.resume(&caller, id, revision, because.reason).await?;
    Ok(tagged(tenant.revision, view::tenant(&tenant)))
}

async fn delete(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
    JsonBody(because): JsonBody<Because>,
) -> Result<Response, Failure> {
    let (id, revision) = (tenant_id(&id)?, if_match(&headers)?);
    let tenants = &api.parts().tenants;
    let tenant = tenants.delete(&caller, id, revision, because.reason).await?;
    let mut response = tagged(tenant.revision, view::tenant(&tenant));
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}

fn tenant_id(text: &str) -> Result<TenantId, Failure> {
    text.parse().map_err(|_| Failure::not_found())
}

fn limits(form: TenantLimitsForm) -> Result<TenantLimits, Failure> {
    let kind = |word: &String| TaskKind::new(word).map_err(|error| Failure::invalid("limits", error));
    Ok(TenantLimits {
        open_tasks: form.open_tasks,
        submit: form.submit.map(|rate| RateLimit {
            per_second: rate.per_second,
            burst: rate.burst,
        }),
        running: form.running,
        running_per_kind: form
            .running_per_kind
            .iter()
            .map(|(word, limit)| Ok((kind(word)?, *limit)))
            .collect::<Result<BTreeMap<_, _>, Failure>>()?,
        kinds: form
            .kinds
            .map(|words| words.iter().map(kind).collect::<Result<BTreeSet<_>, _>>())
            .transpose()?,
    })
}
