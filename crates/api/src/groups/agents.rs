//! Agents: register, read, operate.

use std::collections::BTreeSet;

use arbiter_core::model::{
    AgentBeat, AgentCost, AgentId, AgentMode, AgentProfile, Capabilities, Operation as Action, Principal,
    RecordDraft, RegisteredAgent, Role, SecurityLevel, Target, TaskKind, Transport,
};
use arbiter_core::ports::{AgentQuery, Hint, Registered};
use arbiter_wire::http::{
    AgentForm, AgentModeForm, AgentModeWord, AgentPageView, AgentView, PerformanceView, RegisteredView,
};
use arbiter_wire::task::SecurityForm;
use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;

mod performance;

use self::performance::PerformanceQuery;
use super::audit::scope;
use crate::auth::Caller;
use crate::body::{JsonBody, Query};
use crate::cursor::{self, Cursors, PageQuery};
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
            .answers::<RegisteredView>(200, "The agent is registered")
            .errors(REGISTRY),
            register,
        )
        .add(
            Operation::get("/v1/agents", "agent.list", "List agents, by id")
                .query::<PageQuery>()
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
                "Remove an agent that holds no task",
            )
            .answers_with(204, "", "It is removed, and its record with it")
            .errors(&["in_use", "registry_unavailable"]),
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
            .answers_with(204, "", "The mode is set")
            .errors(REGISTRY),
            mode,
        )
}

async fn register(
    State(api): State<Api>,
    Caller(caller): Caller,
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
    let target = Target {
        agent: Some(id),
        ..Target::of(caller.tenant)
    };
    api.queue()
        .permit_on(&caller, Action::AgentRegister, &target)
        .await?;
    let known = api.parts().registry.get(&[id]).await?;
    let known = known.into_iter().flatten().next().map(|agent| agent.profile);
    let profile = profile(&caller, id, form, known.as_ref())?;
    let draft = RecordDraft::by(caller.id, Action::AgentRegister);
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

fn profile(
    caller: &Principal,
    id: AgentId,
    form: AgentForm,
    known: Option<&AgentProfile>,
) -> Result<AgentProfile, Failure> {
    let tenant = (!caller.is_shared()).then_some(caller.tenant);
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
        transport: Transport::Pull,
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
    Query(asked): Query<PageQuery>,
) -> Result<Json<AgentPageView>, Failure> {
    let limit = cursor::limit(asked.limit)?;
    let cursors = Cursors::of("agent.list", &[]);
    let after = cursors.place(asked.cursor.as_deref())?.map(AgentId::from_bytes);
    api.queue().permit(&caller, Action::AgentList).await?;
    let query = AgentQuery { after, limit };
    let page = api.parts().registry.list(scope(&caller), query).await?;
    let now = api.parts().clock.now();
    Ok(Json(AgentPageView {
        agents: page.agents.iter().map(|agent| view::agent(agent, now)).collect(),
        next: page.next.map(|id| cursors.after(id.as_bytes())),
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
                .is_none_or(|tenant| scope(caller).covers(tenant))
        })
        .ok_or_else(Failure::not_found)
}

/// An agent that the caller may change or remove: one that serves every tenant is nobody's but an admin's.
async fn owned(api: &Api, caller: &Principal, id: &str, action: Action) -> Result<AgentId, Failure> {
    let found = visible(api, caller, id, action).await?;
    if found.profile.tenant.is_none() && !caller.roles.contains(&Role::Admin) {
        return Err(Failure::new("forbidden", "the principal may not do this"));
    }
    Ok(found.profile.id)
}

async fn remove(
    State(api): State<Api>,
    Caller(caller): Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let agent = owned(&api, &caller, &id, Action::AgentRemove).await?;
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
    JsonBody(form): JsonBody<AgentModeForm>,
) -> Result<StatusCode, Failure> {
    let agent = owned(&api, &caller, &id, Action::AgentMode).await?;
    let mode = match form.mode {
        AgentModeWord::Active => AgentMode::Active,
        AgentModeWord::Draining => AgentMode::Draining,
        AgentModeWord::Quarantined => AgentMode::Quarantined,
    };
    api.queue()
        .set_agent_mode(&caller, api.parts().registry.as_ref(), agent, mode, form.reason)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
