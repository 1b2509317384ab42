//! The queue as a whole: what is paused, and how many tasks stand where.

use arbiter_core::model::{Principal, TaskKind, TenantId};
use arbiter_queue::traffic::PauseTarget;
use arbiter_wire::http::{PauseForm, PauseView, PauseWord, QueueStatusView};
use axum::Json;
use axum::extract::State;
use http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::failure::Failure;
use crate::routes::{Operation, Routes};
use crate::state::Api;
use crate::view;

const PAUSES: &[&str] = &[
    "not_found",
    "invalid_task",
    "precondition_failed",
    "registry_unavailable",
];

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::get(
                "/v1/queue",
                "queue.status",
                "Read what is paused, and how many tasks stand where",
            )
            .query::<StatusQuery>()
            .answers::<QueueStatusView>(200, "How the queue stands")
            .errors(&["not_found"]),
            status,
        )
        .add(
            Operation::post(
                "/v1/queue/pause",
                "queue.pause",
                "Assign nothing of the queue, a tenant, a kind or to an agent; what runs goes on",
            )
            .body::<PauseForm>()
            .answers::<PauseView>(200, "It is paused")
            .errors(PAUSES),
            pause,
        )
        .add(
            Operation::post("/v1/queue/resume", "queue.resume", "Resume what was paused")
                .body::<PauseForm>()
                .answers_with(204, "", "It goes on")
                .errors(PAUSES),
            resume,
        )
}

/// Whose status.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StatusQuery {
    /// Of this tenant; of the caller's own if it is absent.
    #[schemars(regex(pattern = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"))]
    tenant: Option<String>,
}

async fn status(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<StatusQuery>,
) -> Result<Json<QueueStatusView>, Failure> {
    let tenant = asked.tenant.as_deref().map(tenant_id).transpose()?;
    let status = api.parts().pauses.status(&caller, tenant).await?;
    Ok(Json(view::queue_status(&status)))
}

async fn pause(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<PauseForm>,
) -> Result<Json<PauseView>, Failure> {
    let target = target(&caller, &form)?;
    let paused = api.parts().pauses.pause(&caller, target, form.reason).await?;
    Ok(Json(view::pause(&paused)))
}

async fn resume(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<PauseForm>,
) -> Result<StatusCode, Failure> {
    let target = target(&caller, &form)?;
    api.parts().pauses.resume(&caller, target, form.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a form names. A field that has no meaning for it is refused, lest more is paused than was meant.
fn target(caller: &Principal, form: &PauseForm) -> Result<PauseTarget, Failure> {
    let of_kind = form.what == PauseWord::Kind;
    let stray = [
        (
            "tenant",
            form.tenant.is_some() && !(of_kind || form.what == PauseWord::Tenant),
        ),
        ("kind", form.kind.is_some() && !of_kind),
        ("everywhere", form.everywhere && !of_kind),
        ("agent", form.agent.is_some() && form.what != PauseWord::Agent),
        ("everywhere", form.everywhere && form.tenant.is_some()),
    ];
    if let Some((field, _)) = stray.iter().find(|(_, is_there)| *is_there) {
        return Err(Failure::invalid(field, "contradicts the rest of what is named"));
    }
    let tenant = || form.tenant.as_deref().map_or(Ok(caller.tenant), tenant_id);
    let needed = |field| Failure::invalid(field, "is needed");
    match form.what {
        PauseWord::Queue => Ok(PauseTarget::Queue),
        PauseWord::Tenant => Ok(PauseTarget::Tenant(tenant()?)),
        PauseWord::Kind => {
            let word = form.kind.as_deref().ok_or_else(|| needed("kind"))?;
            Ok(PauseTarget::Kind {
                kind: TaskKind::new(word).map_err(|error| Failure::invalid("kind", error))?,
                tenant: if form.everywhere { None } else { Some(tenant()?) },
            })
        }
        PauseWord::Agent => {
            let id = form.agent.as_deref().ok_or_else(|| needed("agent"))?;
            let agent = id.parse().map_err(|_| Failure::not_found())?;
            Ok(PauseTarget::Agent(agent))
        }
    }
}

fn tenant_id(text: &str) -> Result<TenantId, Failure> {
    text.parse().map_err(|_| Failure::not_found())
}
