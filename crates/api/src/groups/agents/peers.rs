//! What only another control plane asks: this one is its registry of agents.

use std::collections::BTreeSet;
use std::time::Duration;

use arbiter_core::model::{
    AgentBeat, AgentId, Fence, Json as Detail, Operation as Action, OutcomeDelta, Principal, PrincipalId,
    Ratio, RecordDraft, Role, Target, TaskId, TaskKind, TenantScope, Timestamp,
};
use arbiter_core::ports::{HeardFrom, Hint, Revision};
use arbiter_wire::http::{
    AgentBeatsForm, AgentChangesView, AgentHeardView, AgentIdsForm, AgentsHeardView, AgentsView,
    MAX_AGENT_ITEMS, OutcomeForm, OutcomesForm, RemovedAgentsView, SilentAgentsForm, UnknownAgentsView,
};
use axum::Json;
use axum::extract::{FromRequestParts, State};
use http::StatusCode;
use http::request::Parts;
use serde_json::json;

use super::reach;
use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::cursor;
use crate::failure::Failure;
use crate::routes::{Operation, Routes};
use crate::state::Api;
use crate::view;

/// The header in which a peer says for which of its principals it calls.
pub(super) const ON_BEHALF_OF: &str = "on-behalf-of";

/// Agents of a page that names no limit.
const PAGE: usize = 1_000;

const DOWN: &[&str] = &["registry_unavailable"];
const DOWN_OR_INVALID: &[&str] = &["invalid_value", "registry_unavailable"];

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::get(
                "/v1/agents/changes",
                "agent.changes",
                "Follow the registry: agents that changed after a revision, of every tenant",
            )
            .query::<ChangesQuery>()
            .answers::<AgentChangesView>(200, "What changed")
            .errors(DOWN),
            changes,
        )
        .add(
            Operation::get(
                "/v1/agents/heard",
                "agent.heard",
                "List which agents of every tenant were heard of at or after a moment",
            )
            .query::<HeardQuery>()
            .answers::<AgentsHeardView>(200, "A page of agents, by when they were heard of, then by id")
            .errors(DOWN_OR_INVALID),
            heard,
        )
        .add(
            Operation::post(
                "/v1/agents/get-many",
                "agent.get_many",
                "Read several agents of any tenant; absent ones are left out",
            )
            .body::<AgentIdsForm>()
            .answers::<AgentsView>(200, "Those that are there, by id")
            .errors(DOWN_OR_INVALID),
            get_many,
        )
        .add(
            Operation::post(
                "/v1/agents/heartbeats",
                "agent.heartbeats",
                "Tell that agents of any tenant are alive",
            )
            .body::<AgentBeatsForm>()
            .answers::<UnknownAgentsView>(200, "It was noted for all but these")
            .errors(DOWN_OR_INVALID),
            heartbeats,
        )
        .add(
            Operation::post(
                "/v1/agents/outcomes",
                "agent.learn",
                "Tell how attempts of agents ended; each is counted once",
            )
            .body::<OutcomesForm>()
            .answers_with(204, "", "They are counted")
            .errors(DOWN_OR_INVALID),
            learn,
        )
        .add(
            Operation::post(
                "/v1/agents/remove-silent",
                "agent.remove_silent",
                "Remove active agents that were last heard of before a moment",
            )
            .body::<SilentAgentsForm>()
            .headers(&[ON_BEHALF_OF])
            .answers::<RemovedAgentsView>(200, "Those that were removed")
            .errors(DOWN_OR_INVALID),
            remove_silent,
        )
}

/// How far a registry was followed.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct ChangesQuery {
    /// The revision that is known; 0.
    #[serde(default)]
    after: u64,
    /// At most so many agents; 1000.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
}

/// Since when.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct HeardQuery {
    /// The moment, by the registry's clock (RFC 3339); without it all agents are told.
    since: Option<String>,
    /// Of those that were heard of at that very moment, only the ones after this id.
    after: Option<String>,
    /// At most so many agents; 1000.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
}

/// Whether the caller is another control plane, which asks for agents of every tenant.
pub(super) fn is_peer(caller: &Principal) -> bool {
    caller.is_shared() && caller.roles.contains(&Role::Peer)
}

/// Whom a peer calls for, as the header says.
#[derive(Debug)]
pub(super) struct OnBehalfOf(Option<String>);

impl FromRequestParts<Api> for OnBehalfOf {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Failure> {
        let mut given = parts.headers.get_all(ON_BEHALF_OF).iter();
        let first = given.next();
        if given.next().is_some() {
            return Err(Failure::invalid(ON_BEHALF_OF, "is given more than once"));
        }
        let text = first.map(|value| value.to_str().unwrap_or_default().to_owned());
        Ok(Self(text))
    }
}

impl OnBehalfOf {
    /// Whom this caller calls for. Nobody but a peer calls for others.
    pub(super) fn for_call_of(self, caller: &Principal) -> Result<Option<PrincipalId>, Failure> {
        let Some(text) = self.0 else { return Ok(None) };
        if !is_peer(caller) {
            return Err(Failure::invalid(ON_BEHALF_OF, "is sent by peers only"));
        }
        let id = text
            .parse()
            .map_err(|error| Failure::invalid(ON_BEHALF_OF, error))?;
        Ok(Some(id))
    }
}

/// What is recorded of a call: who was authenticated, and for whom it says it called.
pub(super) fn draft(caller: &Principal, operation: Action, on_behalf_of: Option<PrincipalId>) -> RecordDraft {
    let draft = RecordDraft::by(caller.id, operation);
    match on_behalf_of {
        Some(by) => {
            let detail = json!({"schema": "agent_peer/1", "on_behalf_of": by.to_string()});
            draft.with_detail(Detail::of(&detail))
        }
        None => draft,
    }
}

/// Permits what concerns the agents of every tenant: to nobody whose reach ends with one, whatever policies that were made
/// for one tenant's agents say.
async fn permit_everywhere(api: &Api, caller: &Principal, action: Action) -> Result<(), Failure> {
    api.queue().permit_on(caller, action, &Target::default()).await?;
    match reach(caller) {
        TenantScope::All => Ok(()),
        TenantScope::Tenant(_) => Err(Failure::new("forbidden", "the principal may not do this")),
    }
}

async fn changes(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<ChangesQuery>,
) -> Result<Json<AgentChangesView>, Failure> {
    let limit = cursor::limit(asked.limit.or(Some(PAGE)))?;
    permit_everywhere(&api, &caller, Action::AgentList).await?;
    let found = api.parts().registry.changes(Revision(asked.after), limit).await?;
    let now = api.parts().clock.now();
    Ok(Json(AgentChangesView {
        agents: found.agents.iter().map(|agent| view::agent(agent, now)).collect(),
        removed: found.removed.iter().map(ToString::to_string).collect(),
        revision: found.revision.0,
        more: found.more,
    }))
}

async fn heard(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<HeardQuery>,
) -> Result<Json<AgentsHeardView>, Failure> {
    let limit = cursor::limit(asked.limit.or(Some(PAGE)))?;
    let from = match (&asked.since, &asked.after) {
        (Some(text), after) => HeardFrom {
            since: moment("since", text)?,
            after: after.as_deref().map(|after| id("after", after)).transpose()?,
        },
        (None, None) => HeardFrom::START,
        (None, Some(_)) => return Err(Failure::invalid("after", "needs the moment that it belongs to")),
    };
    permit_everywhere(&api, &caller, Action::AgentList).await?;
    let found = api.parts().registry.heard(from, limit).await?;
    let agents = found.agents.iter().map(|seen| AgentHeardView {
        agent: seen.agent.to_string(),
        at: seen.at.to_string(),
        beat: seen.beat.as_ref().map(view::beat),
    });
    Ok(Json(AgentsHeardView {
        agents: agents.collect(),
        more: found.more,
    }))
}

async fn get_many(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<AgentIdsForm>,
) -> Result<Json<AgentsView>, Failure> {
    at_most("ids", form.ids.len())?;
    let ids = form.ids.iter().map(|text| id("ids", text));
    let ids: BTreeSet<AgentId> = ids.collect::<Result<_, _>>()?;
    permit_everywhere(&api, &caller, Action::AgentList).await?;
    let ids: Vec<AgentId> = ids.into_iter().collect();
    let found = api.parts().registry.get(&ids).await?;
    let now = api.parts().clock.now();
    let agents = found.iter().flatten();
    Ok(Json(AgentsView {
        agents: agents.map(|agent| view::agent(agent, now)).collect(),
    }))
}

async fn heartbeats(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<AgentBeatsForm>,
) -> Result<Json<UnknownAgentsView>, Failure> {
    let mut beats = Vec::with_capacity(form.beats.len());
    at_most("beats", form.beats.len())?;
    for beat in form.beats {
        beats.push(AgentBeat {
            agent: id("agent", &beat.agent)?,
            able: beat.able,
            cpu: share("cpu", beat.cpu)?,
            memory: share("memory", beat.memory)?,
        });
    }
    permit_everywhere(&api, &caller, Action::AgentHeartbeat).await?;
    let unknown = api.parts().registry.beat(beats).await?;
    Ok(Json(UnknownAgentsView {
        unknown: unknown.iter().map(ToString::to_string).collect(),
    }))
}

async fn learn(
    State(api): State<Api>,
    Caller(caller): Caller,
    JsonBody(form): JsonBody<OutcomesForm>,
) -> Result<StatusCode, Failure> {
    at_most("outcomes", form.outcomes.len())?;
    let outcomes = form.outcomes.into_iter().map(outcome);
    let outcomes = outcomes.collect::<Result<Vec<_>, _>>()?;
    permit_everywhere(&api, &caller, Action::AgentLearn).await?;
    api.parts().registry.learn(outcomes).await?;
    api.parts().wakeups.publish(&[Hint::Registry]);
    Ok(StatusCode::NO_CONTENT)
}

fn outcome(form: OutcomeForm) -> Result<OutcomeDelta, Failure> {
    let task: TaskId = form
        .task
        .parse()
        .map_err(|error| Failure::invalid("task", error))?;
    Ok(OutcomeDelta {
        agent: id("agent", &form.agent)?,
        kind: TaskKind::new(&form.kind).map_err(|error| Failure::invalid("kind", error))?,
        attempt: (task, Fence(form.fence)),
        succeeded: form.succeeded,
        quality: share("quality", form.quality)?,
        latency: Duration::from_micros(form.latency_micros),
        cost_micros: form.cost_micros,
    })
}

async fn remove_silent(
    State(api): State<Api>,
    Caller(caller): Caller,
    on_behalf_of: OnBehalfOf,
    JsonBody(form): JsonBody<SilentAgentsForm>,
) -> Result<Json<RemovedAgentsView>, Failure> {
    let on_behalf_of = on_behalf_of.for_call_of(&caller)?;
    let since = moment("since", &form.since)?;
    permit_everywhere(&api, &caller, Action::AgentRemove).await?;
    let draft = draft(&caller, Action::AgentRemove, on_behalf_of);
    let removed = api.parts().registry.remove_silent(since, draft).await?;
    if !removed.is_empty() {
        api.parts().wakeups.publish(&[Hint::Registry]);
    }
    Ok(Json(RemovedAgentsView {
        removed: removed.iter().map(ToString::to_string).collect(),
    }))
}

fn at_most(field: &str, count: usize) -> Result<(), Failure> {
    if count > MAX_AGENT_ITEMS {
        return Err(Failure::invalid(
            field,
            format!("has more than {MAX_AGENT_ITEMS} items"),
        ));
    }
    Ok(())
}

fn id(field: &str, text: &str) -> Result<AgentId, Failure> {
    text.parse().map_err(|error| Failure::invalid(field, error))
}

fn share(field: &str, given: Option<f64>) -> Result<Option<Ratio>, Failure> {
    let share = given.map(Ratio::new).transpose();
    share.map_err(|error| Failure::invalid(field, error))
}

fn moment(field: &str, text: &str) -> Result<Timestamp, Failure> {
    text.parse().map_err(|error| Failure::invalid(field, error))
}
