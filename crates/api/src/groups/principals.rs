//! Principals: who may call.

use std::collections::BTreeSet;

use arbiter_core::model::{Band, Principal, PrincipalId, PrincipalKind, Role, TaskKind, TenantId};
use arbiter_queue::{NewPrincipal, PrincipalChange};
use arbiter_wire::http::{
    PrincipalChangeForm, PrincipalForm, PrincipalKindWord, PrincipalPageView, PrincipalView, RoleWord,
};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::cursor::{self, CursorText, Cursors};
use crate::etag::{if_match, made, tagged};
use crate::failure::Failure;
use crate::repeats::idempotency_key;
use crate::routes::{Operation, Routes};
use crate::state::Api;
use crate::view;

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::post("/v1/principals", "principal.create", "Make a principal")
                .query::<OfTenant>()
                .body::<PrincipalForm>()
                .makes::<PrincipalView>(
                    "The principal; it has no key yet",
                    "The principal as it is now: a call with the same idempotency key had made it",
                )
                .etag(),
            create,
        )
        .add(
            Operation::get("/v1/principals", "principal.list", "List principals, by id")
                .query::<ListQuery>()
                .answers::<PrincipalPageView>(200, "A page of principals")
                .errors(&["bad_cursor"]),
            list,
        )
        .add(
            Operation::get("/v1/principals/{id}", "principal.get", "Read a principal")
                .query::<OfTenant>()
                .answers::<PrincipalView>(200, "The principal")
                .etag(),
            get,
        )
        .add(
            Operation::patch(
                "/v1/principals/{id}",
                "principal.update",
                "Change, disable or enable a principal",
            )
            .query::<OfTenant>()
            .body::<PrincipalChangeForm>()
            .headers(&["If-Match"])
            .answers::<PrincipalView>(200, "The principal as it is now")
            .etag()
            .errors(&["precondition_failed"]),
            update,
        )
}

/// Of which tenant.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OfTenant {
    /// The tenant; the caller's own, unless an admin names another.
    tenant: Option<String>,
}

impl OfTenant {
    pub(super) fn or_own(self, caller: &Principal) -> Result<TenantId, Failure> {
        tenant(self.tenant.as_deref(), caller)
    }
}

/// Which principals to list.
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

/// The tenant that is named, or the caller's own.
pub(super) fn tenant(named: Option<&str>, caller: &Principal) -> Result<TenantId, Failure> {
    let named = named.map(|text| text.parse().map_err(|error| Failure::invalid("tenant", error)));
    Ok(named.transpose()?.unwrap_or(caller.tenant))
}

/// A malformed id names nothing, which is no more than the caller may know.
pub(super) fn principal_id(text: &str) -> Result<PrincipalId, Failure> {
    text.parse().map_err(|_| Failure::not_found())
}

async fn create(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(of): Query<OfTenant>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<PrincipalForm>,
) -> Result<Response, Failure> {
    let tenant = of.or_own(&caller)?;
    let agent = form
        .agent
        .map(|text| text.parse().map_err(|error| Failure::invalid("agent", error)));
    let new = NewPrincipal {
        name: form.name,
        kind: kind(form.kind),
        roles: form.roles.into_iter().map(role).collect(),
        agent: agent.transpose()?,
        kinds: form.kinds.map(kinds).transpose()?,
        highest_band: band(form.highest_band)?,
    };
    let key = idempotency_key(&headers)?;
    let principals = &api.parts().principals;
    let answer = principals.create(&caller, tenant, new, key).await?;
    let known = &answer.record;
    let location = format!("/v1/principals/{}", known.principal.id);
    let shown = view::principal(known);
    Ok(made(answer.repeated, known.revision, &location, shown))
}

async fn list(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<ListQuery>,
) -> Result<Json<PrincipalPageView>, Failure> {
    let tenant = tenant(asked.tenant.as_deref(), &caller)?;
    let cursors = Cursors::of("principal.list", &[Some(&tenant.to_string())]);
    let after = cursors.place(asked.cursor.as_deref())?;
    let after = after.map(PrincipalId::from_bytes);
    let limit = cursor::limit(asked.limit)?;
    let found = api.parts().principals.list(&caller, tenant, after, limit).await?;
    let more = found.len() >= limit;
    let last = found.last().map(|known| known.principal.id);
    Ok(Json(PrincipalPageView {
        principals: found.iter().map(view::principal).collect(),
        next: last.filter(|_| more).map(|id| cursors.after(id.as_bytes())),
    }))
}

async fn get(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(of): Query<OfTenant>,
) -> Result<Response, Failure> {
    let (tenant, id) = (of.or_own(&caller)?, principal_id(&id)?);
    let known = api.parts().principals.get(&caller, tenant, id).await?;
    Ok(tagged(known.revision, view::principal(&known)))
}

async fn update(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(of): Query<OfTenant>,
    headers: HeaderMap,
    JsonBody(form): JsonBody<PrincipalChangeForm>,
) -> Result<Response, Failure> {
    let (tenant, id) = (of.or_own(&caller)?, principal_id(&id)?);
    let revision = if_match(&headers)?;
    let kinds = match (form.kinds, form.all_kinds) {
        (Some(_), true) => {
            let problem = "contradicts `kinds`; send one of them";
            return Err(Failure::invalid("all_kinds", problem));
        }
        (Some(words), false) => Some(Some(kinds(words)?)),
        (None, true) => Some(None),
        (None, false) => None,
    };
    let change = PrincipalChange {
        name: form.name,
        roles: form.roles.map(|words| words.into_iter().map(role).collect()),
        kinds,
        highest_band: form.highest_band.map(band).transpose()?,
        disabled: form.disabled,
    };
    let known = api
        .parts()
        .principals
        .update(&caller, tenant, id, revision, change)
        .await?;
    Ok(tagged(known.revision, view::principal(&known)))
}

const fn kind(word: PrincipalKindWord) -> PrincipalKind {
    match word {
        PrincipalKindWord::User => PrincipalKind::User,
        PrincipalKindWord::Agent => PrincipalKind::Agent,
        PrincipalKindWord::Service => PrincipalKind::Service,
    }
}

const fn role(word: RoleWord) -> Role {
    match word {
        RoleWord::Submitter => Role::Submitter,
        RoleWord::Agent => Role::Agent,
        RoleWord::Reviewer => Role::Reviewer,
        RoleWord::Operator => Role::Operator,
        RoleWord::Auditor => Role::Auditor,
        RoleWord::Admin => Role::Admin,
        RoleWord::Peer => Role::Peer,
    }
}

fn band(number: u8) -> Result<Band, Failure> {
    Band::new(number).map_err(|error| Failure::invalid("highest_band", error))
}

fn kinds(words: BTreeSet<String>) -> Result<BTreeSet<TaskKind>, Failure> {
    words
        .iter()
        .map(|word| TaskKind::new(word).map_err(|error| Failure::invalid("kinds", error)))
        .collect()
}
