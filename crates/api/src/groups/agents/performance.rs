//! What an agent's work has shown, in all and in a span of time.

use arbiter_core::model::{Operation as Action, TaskKind, TenantScope, Timestamp};
use arbiter_core::ports::TelemetryError;
use arbiter_orchestration::{PerformedError, performed};
use arbiter_wire::http::PerformanceView;
use axum::Json;
use axum::extract::{Path, State};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{reach, visible};
use crate::auth::Caller;
use crate::body::Query;
use crate::failure::Failure;
use crate::state::Api;
use crate::view;

pub(super) async fn read(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    Query(asked): Query<PerformanceQuery>,
) -> Result<Json<PerformanceView>, Failure> {
    let found = visible(&api, &caller, &id, Action::AgentList).await?;
    let kind = asked.kind.as_deref().map(TaskKind::new).transpose();
    let kind = kind.map_err(|error| Failure::invalid("kind", error))?;
    let mut told = view::performance(&found);
    if let Some(kind) = &kind {
        told.kinds.retain(|told| told.kind == kind.as_str());
    }
    if asked.from.is_some() || asked.to.is_some() {
        // Who else gave it work, and when, is told to nobody whose reach ends with a tenant.
        if found.profile.tenant.is_none() && reach(&caller) != TenantScope::All {
            return Err(Failure::new(
                "forbidden",
                "what an agent of every tenant did in a span of time is told to admins only",
            ));
        }
        let range = span(&asked, api.parts().clock.now())?;
        let Some(history) = &api.parts().history else {
            return Err(Failure::invalid(
                "from",
                "no history is kept: telemetry.sample_seconds is 0",
            ));
        };
        let done = performed(history.as_ref(), &found, kind.as_ref(), range);
        let done = done.await.map_err(|error| match error {
            PerformedError::Telemetry(TelemetryError::Store(error)) => Failure::from(error),
            error => Failure::invalid("from", error),
        })?;
        told.period = Some(view::period(range, done));
    }
    Ok(Json(told))
}

/// Which part of an agent's record.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PerformanceQuery {
    /// Only of this kind of task.
    kind: Option<String>,
    /// What a span of time has shown as well: it begins here (RFC 3339); as far back as the history goes.
    from: Option<String>,
    /// Before this moment (RFC 3339); now.
    to: Option<String>,
}

fn span(asked: &PerformanceQuery, now: Timestamp) -> Result<(Timestamp, Timestamp), Failure> {
    let moment = |field: &'static str, text: Option<&String>, absent: Timestamp| {
        let read = text.map_or(Ok(absent), |text| text.parse::<Timestamp>());
        read.map_err(|error| Failure::invalid(field, error))
    };
    let from = moment("from", asked.from.as_ref(), Timestamp::from_micros(0))?;
    let to = moment("to", asked.to.as_ref(), now)?;
    if from >= to {
        return Err(Failure::invalid("from", "must lie before `to`"));
    }
    Ok((from, to))
}
