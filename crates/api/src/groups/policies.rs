//! Policies that operators add to the built-in and the configured ones.

use arbiter_wire::http::{
    ActivePoliciesView, PolicyCheckView, PolicyDiffView, PolicyFilesForm, PolicyProblemView,
    PolicyRollbackForm, PolicySetPageView, PolicySetView,
};
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use http::HeaderMap;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::cursor::{CursorText, Cursors};
use crate::etag::{if_match, tagged};
use crate::failure::Failure;
use crate::routes::{Operation, Routes};
use crate::state::Api;
use crate::view;

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::get(
                "/v1/policies",
                "policy.get",
                "Read the policies that were put into force",
            )
            .answers::<ActivePoliciesView>(200, "The set in force, if there is one")
            .etag(),
            active,
        )
        .add(
            Operation::get(
                "/v1/policies/sets",
                "policy.list",
                "List the stored sets, by number",
            )
            .query::<ListQuery>()
            .answers::<PolicySetPageView>(200, "A page of sets")
            .errors(&["bad_cursor"]),
            list,
        )
        .add(
            Operation::get(
                "/v1/policies/sets/{number}",
                "policy.get_set",
                "Read a stored set",
            )
            .answers::<PolicySetView>(200, "The set with its files"),
            get,
        )
        .add(
            Operation::post("/v1/policies/check", "policy.check", "Check files of policies")
                .body::<PolicyFilesForm>()
                .answers::<PolicyCheckView>(200, "What is wrong with them, or which policies are in them"),
            check,
        )
        .add(
            Operation::post(
                "/v1/policies/diff",
                "policy.diff",
                "Compare files of policies with those in force",
            )
            .body::<PolicyFilesForm>()
            .answers::<PolicyDiffView>(200, "What would change"),
            diff,
        )
        .add(
            changes(
                "/v1/policies/activate",
                "policy.activate",
                "Store a set and put it into force",
            )
            .body::<PolicyFilesForm>(),
            activate,
        )
        .add(
            changes(
                "/v1/policies/roll-back",
                "policy.roll_back",
                "Put an earlier set into force again",
            )
            .body::<PolicyRollbackForm>()
            .errors(&["not_found", "precondition_failed"]),
            roll_back,
        )
}

fn changes(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Operation::post(path, id, summary)
        .headers(&["If-Match"])
        .answers::<ActivePoliciesView>(
            200,
            "What is in force now, for every call that starts after this one",
        )
        .etag()
        .errors(&["precondition_failed"])
}

/// Which sets to list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Where to go on: the cursor of the page before.
    cursor: Option<CursorText>,
    /// At most so many; 50.
    #[schemars(range(min = 1, max = 100))]
    limit: Option<usize>,
}

async fn active(State(api): State<Api>, Caller(caller): Caller) -> Result<Response, Failure> {
    let active = api.parts().policies.active(&caller).await?;
    Ok(tagged(active.revision, view::policies(&active)))
}

async fn list(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<ListQuery>,
) -> Result<Json<PolicySetPageView>, Failure> {
    let cursors = Cursors::of("policy.list", &[]);
    let after = cursors.place(asked.cursor.as_deref())?;
    let after = after.map(u64::from_be_bytes);
    let limit = asked.limit.unwrap_or(50);
    let found = api.parts().policies.list(&caller, after, limit).await?;
    let more = found.len() >= limit;
    let last = found.last().map(|set| set.number);
    Ok(Json(PolicySetPageView {
        sets: found.iter().map(|set| view::policy_set(set, false)).collect(),
        next: last
            .filter(|_| more)
            .map(|number| cursors.after(&number.to_be_bytes())),
    }))
}

async fn get(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(number): Path<String>,
) -> Result<Json<PolicySetView>, Failure> {
    let number = number.parse().map_err(|_| Failure::not_found())?;
    let set = api.parts().policies.get(&caller, number).await?;
    Ok(Json(view::policy_set(&set, true)))
}

async fn check(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<PolicyFilesForm>,
) -> Result<Json<PolicyCheckView>, Failure> {
    let checked = api.parts().policies.check(&caller, form.files).await?;
    Ok(Json(PolicyCheckView {
        valid: checked.problems.is_empty(),
        problems: checked
            .problems
            .into_iter()
            .map(|problem| PolicyProblemView {
                file: problem.file,
                line: problem.line,
                message: problem.message,
            })
            .collect(),
        policies: checked.policies.into_iter().map(|policy| policy.id).collect(),
    }))
}

async fn diff(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<PolicyFilesForm>,
) -> Result<Json<PolicyDiffView>, Failure> {
    let diff = api.parts().policies.diff(&caller, form.files).await?;
    Ok(Json(PolicyDiffView {
        added: diff.added,
        removed: diff.removed,
        changed: diff.changed,
    }))
}

async fn activate(
    State(api): State<Api>,
    Caller(caller): Caller,
    headers: HeaderMap,
    JsonBody(form): JsonBody<PolicyFilesForm>,
) -> Result<Response, Failure> {
    let revision = if_match(&headers)?;
    let policies = &api.parts().policies;
    let active = policies.activate(&caller, revision, form.files).await?;
    Ok(tagged(active.revision, view::policies(&active)))
}

async fn roll_back(
    State(api): State<Api>,
    Caller(caller): Caller,
    headers: HeaderMap,
    JsonBody(form): JsonBody<PolicyRollbackForm>,
) -> Result<Response, Failure> {
    let revision = if_match(&headers)?;
    let policies = &api.parts().policies;
    let active = policies.roll_back(&caller, revision, form.number).await?;
    Ok(tagged(active.revision, view::policies(&active)))
}
