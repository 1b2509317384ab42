//! Agents: register, read, operate.

mod peers;
mod performance;

use std::collections::BTreeSet;

use arbiter_core::model::{
    AgentBeat, AgentCost, AgentId, AgentMode, AgentProfile, Capabilities, Operation as Action, Principal,
    RegisteredAgent, Role, SecurityLevel, Target, TaskKind, TenantId, TenantScope, Transport,
};
use arbiter_core::ports::{AgentQuery, Hint, Registered};
use arbiter_queue::ModeChange;
use arbiter_wire::http::{
    AgentForm, AgentModeForm, AgentModeWord, AgentPageView, AgentView, PerformanceView, RegisteredView,
    TransportWord,
};
use arbiter_wire::task::SecurityForm;
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;

use self::peers::OnBehalfOf;
use self::performance::PerformanceQuery;
use super::audit::scope;
use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::cursor::{self, CursorText, Cursors};
use crate::failure::Failure;
use crate::routes::{Operation, Routes};
use crate::state::Api;
use crate::view;

const REGISTRY: &[&str] = &["registry_full", "registry_unavailable", "not_found"];

pub(super) fn routes() -> Routes {
    Routes::default()
        .add(
            Operation::post(
                "/v1/agents",
                "agent.register",
                "Register an agent, or replace its profile",
            )
            .body::<AgentForm>()
            .headers(&[peers::ON_BEHALF_OF])
            .answers::<RegisteredView>(200, "The agent is registered")
            .errors(REGISTRY),
            register,
        )
        .add(
            Operation::get("/v1/agents", "agent.list", "List agents, by id")
                .query::<AgentsQuery>()
                .answers::<AgentPageView>(200, "A page of agents")
                .errors(&["bad_cursor", "registry_unavailable"]),
            list,
        )
        .add(
            Operation::get(
                "/v1/agents/{id}",
                "agent.get",
                "Read an agent, with its record by kind of task",
            )
            .answers::<AgentView>(200, "The agent")
            .errors(REGISTRY),
            get,
        )
        .add(
            Operation::delete(
                "/v1/agents/{id}",
                "agent.remove",
                "Remove an agent that holds no task; a peer's may end what it holds",
            )
            .headers(&[peers::ON_BEHALF_OF])
            .answers_with(204, "", "It is removed, and its record with it")
            .errors(&["in_use", "invalid_value", "registry_unavailable"]),
            remove,
        )
        .add(
            Operation::get(
                "/v1/agents/{id}/performance",
                "agent.performance",
                "Read what an agent's work has shown, by kind of task, also in a span of time",
            )
            .query::<PerformanceQuery>()
            .answers::<PerformanceView>(200, "Its record")
            .errors(REGISTRY),
            performance::read,
        )
        .add(
            Operation::post(
                "/v1/agents/{id}/heartbeat",
                "agent.heartbeat",
                "Tell that an agent is alive",
            )
            .answers_with(204, "", "It was noted")
            .errors(REGISTRY),
            heartbeat,
        )
        .add(
            Operation::post(
                "/v1/agents/{id}/mode",
                "agent.mode",
                "Drain or quarantine an agent, or let it work again",
            )
            .body::<AgentModeForm>()
            .headers(&[peers::ON_BEHALF_OF])
            .answers_with(204, "", "The mode is set")
            .errors(REGISTRY),
            mode,
        )
        .join(peers::routes())
}

/// Which agents to list.
#[derive(Debug, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct AgentsQuery {
    /// Where to go on: the cursor of the page before.
    cursor: Option<CursorText>,
    /// At most so many; 50.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<usize>,
    /// Only those after this id, instead of a cursor.
    after: Option<String>,
    /// Only those of this tenant and those that serve every one, for who sees all of them.
    tenant: Option<String>,
}

async fn register(
    State(api): State<Api>,
    Caller(caller): Caller,
    on_behalf_of: OnBehalfOf,
    JsonBody(form): JsonBody<AgentForm>,
) -> Result<Json<RegisteredView>, Failure> {
    let id = match (&form.id, caller.agent) {
        (Some(text), _) => text
            .parse::<AgentId>()
            .map_err(|error| Failure::invalid("id", error))?,
        (None, Some(own)) => own,
        (None, None) => {
            return Err(Failure::invalid("id", "is needed: the caller is no agent itself"));
        }
    };
    let on_behalf_of = on_behalf_of.for_call_of(&caller)?;
    let tenant = tenant(&caller, &form)?;
    let target = Target {
        agent: Some(id),
        ..Target::of(caller.tenant)
    };
    api.queue()
        .permit_on(&caller, Action::AgentRegister, &target)
        .await?;
    let known = api.parts().registry.get(&[id]).await?;
    let known = known.into_iter().flatten().next().map(|agent| agent.profile);
    let profile = profile(&caller, (id, tenant), form, known.as_ref())?;
    let draft = peers::draft(&caller, Action::AgentRegister, on_behalf_of);
    let registered = api.parts().registry.register(profile, draft).await?;
    if registered != Registered::Unchanged {
        api.parts().wakeups.publish(&[Hint::Registry]);
    }
    let outcome = match registered {
        Registered::New => "new",
        Registered::Replaced => "replaced",
        Registered::Unchanged => "unchanged",
    };
    Ok(Json(RegisteredView {
        id: id.to_string(),
        outcome: outcome.to_owned(),
    }))
}

/// Whom the agent serves: the caller's own tenant, or every one for a caller of none; a peer says whom.
fn tenant(caller: &Principal, form: &AgentForm) -> Result<Option<TenantId>, Failure> {
    if !peers::is_peer(caller) {
        if form.tenant.is_some() {
            return Err(Failure::invalid("tenant", "is named by peers only"));
        }
        if form.transport.is_some_and(|way| way != TransportWord::Pull) {
            return Err(Failure::invalid(
                "transport",
                "other than `pull` is named by peers only",
            ));
        }
    }
    match &form.tenant {
        Some(text) => match text.parse::<TenantId>() {
            Ok(TenantId::SYSTEM) => Err(Failure::invalid(
                "tenant",
                "is absent for agents that serve every one",
            )),
            Ok(tenant) => Ok(Some(tenant)),
            Err(error) => Err(Failure::invalid("tenant", error)),
        },
        None => Ok((!caller.is_shared()).then_some(caller.tenant)),
    }
}

fn profile(
    caller: &Principal,
    (id, tenant): (AgentId, Option<TenantId>),
    form: AgentForm,
    known: Option<&AgentProfile>,
) -> Result<AgentProfile, Failure> {
    // What an operator gave stays, unless the agent asks for another.
    let given = known
        .filter(|known| known.tenant == tenant)
        .map_or(SecurityLevel::Internal, |known| known.clearance);
    let clearance = match form.clearance {
        Some(SecurityForm::Restricted) => SecurityLevel::Restricted,
        Some(SecurityForm::Confidential) => SecurityLevel::Confidential,
        Some(SecurityForm::Internal) => SecurityLevel::Internal,
        None => given,
    };
    let runs_the_tenant = [Role::Operator, Role::Admin]
        .iter()
        .any(|role| caller.roles.contains(role));
    let runs_the_tenant = runs_the_tenant || peers::is_peer(caller);
    if clearance > given && !runs_the_tenant {
        return Err(Failure::invalid(
            "clearance",
            "above `internal` is given by an operator",
        ));
    }
    let kinds = form
        .kinds
        .iter()
        .map(|kind| TaskKind::new(kind).map_err(|error| Failure::invalid("kinds", error)))
        .collect::<Result<BTreeSet<_>, _>>()?;
    Ok(AgentProfile {
        id,
        tenant,
        name: form.name,
        model_family: form.model_family,
        model_version: form.model_version,
        capabilities: Capabilities {
            kinds,
            languages: form.languages,
            specialisations: form.specialisations,
            tools: form.tools,
        },
        transport: match form.transport {
            None | Some(TransportWord::Pull) => Transport::Pull,
            Some(TransportWord::Exec) => Transport::Exec,
            Some(TransportWord::Webhook) => Transport::Webhook,
            Some(TransportWord::Model) => Transport::Model,
        },
        slots: form.slots,
        clearance,
        cost: AgentCost {
            per_task_micros: form.cost_per_task_micros,
            per_1k_tokens_micros: form.cost_per_1k_tokens_micros,
        },
        labels: form.labels,
    })
}

async fn list(
    State(api): State<Api>,
    Caller(caller): Caller,
    Query(asked): Query<AgentsQuery>,
) -> Result<Json<AgentPageView>, Failure> {
    let limit = cursor::limit(asked.limit)?;
    let cursors = Cursors::of("agent.list", &[asked.tenant.as_deref()]);
    let after = match (&asked.cursor, &asked.after) {
        (Some(_), Some(_)) => return Err(Failure::invalid("after", "and `cursor` exclude each other")),
        (None, Some(text)) => Some(text.parse().map_err(|error| Failure::invalid("after", error))?),
        (cursor, None) => cursors.place(cursor.as_deref())?.map(AgentId::from_bytes),
    };
    api.queue().permit(&caller, Action::AgentList).await?;
    let wanted = match &asked.tenant {
        None => reach(&caller),
        Some(text) => {
            let tenant = text.parse().map_err(|error| Failure::invalid("tenant", error))?;
            if !reach(&caller).covers(tenant) {
                return Err(Failure::new("forbidden", "the principal may not do this"));
            }
            TenantScope::Tenant(tenant)
        }
    };
    let query = AgentQuery { after, limit };
    let page = api.parts().registry.list(wanted, query).await?;
    let now = api.parts().clock.now();
    Ok(Json(AgentPageView {
        agents: page.agents.iter().map(|agent| view::agent(agent, now)).collect(),
        next: page.next.map(|id| cursors.after(id.as_bytes())),
        next_after: page.next.map(|id| id.to_string()),
    }))
}

async fn get(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<Json<AgentView>, Failure> {
    let found = visible(&api, &caller, &id, Action::AgentList).await?;
    Ok(Json(view::agent(&found, api.parts().clock.now())))
}

/// Whose agents a caller may know of, beside those that serve every tenant.
fn reach(caller: &Principal) -> TenantScope {
    if peers::is_peer(caller) {
        TenantScope::All
    } else {
        scope(caller)
    }
}

/// An agent that the caller may do something with. Denied looks like absent.
async fn visible(
    api: &Api,
    caller: &Principal,
    id: &str,
    action: Action,
) -> Result<RegisteredAgent, Failure> {
    let id: AgentId = id.parse().map_err(|_| Failure::not_found())?;
    let target = Target {
        agent: Some(id),
        ..Target::of(caller.tenant)
    };
    api.queue().permit_on(caller, action, &target).await?;
    let found = api.parts().registry.get(&[id]).await?;
    found
        .into_iter()
        .flatten()
        .find(|agent| {
            agent
                .profile
                .tenant
                .is_none_or(|tenant| reach(caller).covers(tenant))
        })
        .ok_or_else(Failure::not_found)
}

/// An agent that the caller may change or remove: one that serves every tenant is nobody's but an admin's or a peer's.
async fn owned(api: &Api, caller: &Principal, id: &str, action: Action) -> Result<AgentId, Failure> {
    let found = visible(api, caller, id, action).await?;
    let all = caller.roles.contains(&Role::Admin) || peers::is_peer(caller);
    if found.profile.tenant.is_none() && !all {
        return Err(Failure::new("forbidden", "the principal may not do this"));
    }
    Ok(found.profile.id)
}

async fn remove(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    on_behalf_of: OnBehalfOf,
) -> Result<StatusCode, Failure> {
    let on_behalf_of = on_behalf_of.for_call_of(&caller)?;
    let agent = owned(&api, &caller, &id, Action::AgentRemove).await?;
    if peers::is_peer(&caller) {
        // What the agent still does here is not the peer's business, and it may end it.
        let draft = peers::draft(&caller, Action::AgentRemove, on_behalf_of);
        if !api.parts().registry.remove(agent, draft).await? {
            return Err(Failure::not_found());
        }
        api.parts().wakeups.publish(&[Hint::Registry]);
        return Ok(StatusCode::NO_CONTENT);
    }
    api.queue()
        .remove_agent(&caller, api.parts().registry.as_ref(), agent)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn heartbeat(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    // A key names an agent; whose agent that is, the registry knows.
    let found = visible(&api, &caller, &id, Action::AgentHeartbeat).await?;
    let beat = AgentBeat {
        agent: found.profile.id,
        able: true,
        cpu: None,
        memory: None,
    };
    let unknown = api.parts().registry.beat(vec![beat]).await?;
    if unknown.is_empty() {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Failure::not_found())
    }
}

async fn mode(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
    on_behalf_of: OnBehalfOf,
    JsonBody(form): JsonBody<AgentModeForm>,
) -> Result<StatusCode, Failure> {
    let on_behalf_of = on_behalf_of.for_call_of(&caller)?;
    let agent = owned(&api, &caller, &id, Action::AgentMode).await?;
    let mode = match form.mode {
        AgentModeWord::Active => AgentMode::Active,
        AgentModeWord::Draining => AgentMode::Draining,
        AgentModeWord::Quarantined => AgentMode::Quarantined,
    };
    let change = ModeChange {
        agent,
        mode,
        why: form.reason,
        on_behalf_of,
    };
    api.queue()
        .set_agent_mode(&caller, api.parts().registry.as_ref(), change)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
