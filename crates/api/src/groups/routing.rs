//! Routing: who would get a task, and who got one and why.

use arbiter_allocation::Explanation;
use arbiter_audit::view::LeafView;
use arbiter_core::model::{AuditAction, Operation as Action, ScorePart};
use arbiter_core::ports::{AuditEntry, AuditQuery};
use arbiter_wire::http::{DecidedView, DecisionPageView, DecisionView, MatchView, RouteView, ScorePartView};
use arbiter_wire::task::TaskForm;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{audit, tasks};
use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::cursor::{self, CursorText, Cursors};
use crate::failure::Failure;
use crate::routes::{Operation, Routes};
use crate::state::Api;

/// The most agents of an explanation.
const MATCHES: usize = 100;

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::post(
                "/v1/routing/route",
                "routing.route",
                "Ask who would get such a task now, and why; nothing is stored",
            )
            .body::<TaskForm>()
            .answers::<RouteView>(200, "Who could do it, or why nobody can")
            .errors(&["invalid_task", "kind_not_allowed", "registry_unavailable"]),
            route,
        )
        .add(
            Operation::get(
                "/v1/routing/decisions",
                "routing.decisions",
                "Read which agents were chosen and why, newest first",
            )
            .query::<DecisionsQuery>()
            .answers::<DecisionPageView>(200, "A page of decisions")
            .errors(&["bad_cursor"]),
            decisions,
        )
}

async fn route(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<TaskForm>,
) -> Result<Json<RouteView>, Failure> {
    let submission = tasks::submission(form.read()?)?;
    api.queue().preview(&caller, &submission).await?;
    let explained = api
        .parts()
        .routing
        .explain(caller.tenant, &submission.spec)
        .await?;
    Ok(Json(explanation(explained)))
}

fn explanation(explained: Explanation) -> RouteView {
    let (agents, reason) = match explained.agents {
        Ok(agents) => (agents, None),
        Err(reason) => (Vec::new(), Some(reason.word().to_owned())),
    };
    RouteView {
        strategy: explained.strategy.to_owned(),
        agents: agents
            .into_iter()
            .take(MATCHES)
            .map(|found| MatchView {
                agent: found.agent.to_string(),
                score: found.score,
                parts: found.parts.into_iter().map(part).collect(),
            })
            .collect(),
        reason,
    }
}

fn part(part: ScorePart) -> ScorePartView {
    ScorePartView {
        name: part.name.to_owned(),
        weight: part.weight,
        value: part.value,
    }
}

/// Which decisions to read.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DecisionsQuery {
    /// Only those about this task.
    task: Option<String>,
    /// Where to go on: the cursor of the page before.
    cursor: Option<CursorText>,
    /// At most so many; 50.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
}

async fn decisions(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<DecisionsQuery>,
) -> Result<Json<DecisionPageView>, Failure> {
    let limit = cursor::limit(asked.limit)?;
    let cursors = Cursors::of("routing.decisions", &[asked.task.as_deref()]);
    let before = cursors.place(asked.cursor.as_deref())?.map(u64::from_be_bytes);
    api.queue().permit(&caller, Action::RoutingDecisions).await?;
    let query = AuditQuery {
        action: Some(AuditAction::Assigned.word().to_owned()),
        resource: asked.task,
        before,
        limit,
        ..AuditQuery::default()
    };
    let page = api.parts().audit.search(audit::scope(&caller), query).await?;
    Ok(Json(DecisionPageView {
        decisions: page.entries.iter().map(decided).collect::<Result<_, _>>()?,
        next: page.next.map(|index| cursors.after(&index.to_be_bytes())),
    }))
}

fn decided(entry: &AuditEntry) -> Result<DecidedView, Failure> {
    let leaf = LeafView::parse(&entry.leaf).map_err(audit::damaged)?;
    // An erased detail, or one of a form that a newer program wrote, leaves the entry without its decision.
    let detail = entry.detail.as_ref().map(|detail| detail.body.value());
    let decision: Option<DecisionView> = detail
        .filter(|detail| detail["schema"] == "decision/1")
        .map(serde_json::from_value)
        .transpose()
        .map_err(audit::damaged)?;
    Ok(DecidedView {
        index: entry.index,
        at: leaf.at.to_string(),
        decision,
    })
}
