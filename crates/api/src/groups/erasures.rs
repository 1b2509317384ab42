//! Erasures of tasks and persons.

use arbiter_core::model::ErasureId;
use arbiter_queue::erasures::ErasureSubject;
use arbiter_wire::http::{ErasureForm, ErasurePageView, ErasureSubjectWord, ErasureView};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use schemars::JsonSchema;
use serde::Deserialize;

use super::principals::{OfTenant, tenant};
use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::cursor::{self, CursorText, Cursors};
use crate::failure::Failure;
use crate::routes::{Operation, Routes};
use crate::state::Api;
use crate::view;

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::post(
                "/v1/erasures",
                "erasure.request",
                "Erase what was kept about a task or a principal",
            )
            .query::<OfTenant>()
            .body::<ErasureForm>()
            .answers::<ErasureView>(
                202,
                "It goes on in the background; asked again meanwhile, the same one is given",
            ),
            request,
        )
        .add(
            Operation::get(
                "/v1/erasures",
                "erasure.list",
                "List erasures that go on or were finished in the last 30 days, by id",
            )
            .query::<ListQuery>()
            .answers::<ErasurePageView>(200, "A page of erasures")
            .errors(&["bad_cursor"]),
            list,
        )
        .add(
            Operation::get("/v1/erasures/{id}", "erasure.get", "Read how far an erasure is")
                .query::<OfTenant>()
                .answers::<ErasureView>(200, "The erasure"),
            get,
        )
}

/// Which erasures to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// The tenant; the caller's own, unless an admin names another.
    tenant: Option<String>,
    /// Where to go on: the cursor of the page before.
    cursor: Option<CursorText>,
    /// At most so many; 50.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
}

async fn request(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(of): Query<OfTenant>,
    JsonBody(form): JsonBody<ErasureForm>,
) -> Result<Response, Failure> {
    let tenant = of.or_own(&caller)?;
    let subject = match form.subject {
        ErasureSubjectWord::Task => form.id.parse().map(ErasureSubject::Task),
        ErasureSubjectWord::Principal => form.id.parse().map(ErasureSubject::Principal),
    };
    // A malformed id names nothing, which is no more than the caller may know.
    let subject = subject.map_err(|_| Failure::not_found())?;
    let erasures = &api.parts().erasures;
    let requested = erasures.request(&caller, tenant, subject, form.reason).await?;
    let location = format!("/v1/erasures/{}", requested.erasure.id);
    let mut response = (StatusCode::ACCEPTED, Json(view::erasure(&requested.erasure))).into_response();
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

async fn list(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<ListQuery>,
) -> Result<Json<ErasurePageView>, Failure> {
    let tenant = tenant(asked.tenant.as_deref(), &caller)?;
    let cursors = Cursors::of("erasure.list", &[asked.tenant.as_deref()]);
    let after = cursors.place(asked.cursor.as_deref())?;
    let after = after.map(ErasureId::from_bytes);
    let limit = cursor::limit(asked.limit)?;
    let found = api.parts().erasures.list(&caller, tenant, after, limit).await?;
    let last = found.last().filter(|_| found.len() == limit);
    Ok(Json(ErasurePageView {
        next: last.map(|last| cursors.after(last.id.as_bytes())),
        erasures: found.iter().map(view::erasure).collect(),
    }))
}

async fn get(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(of): Query<OfTenant>,
) -> Result<Json<ErasureView>, Failure> {
    let tenant = of.or_own(&caller)?;
    let id = id.parse().map_err(|_| Failure::not_found())?;
    let found = api.parts().erasures.get(&caller, tenant, id).await?;
    Ok(Json(view::erasure(&found)))
}
