//! The port `AgentRegistry`.

use std::collections::{BTreeMap, BTreeSet};

use arbiter_core::model::{
    AgentBeat, AgentId, AgentMode, AgentProfile, OutcomeDelta, RecordDraft, RegisteredAgent, TenantScope,
    Timestamp,
};
use arbiter_core::ports::{
    AgentChanges, AgentPage, AgentQuery, AgentRegistry, AgentsHeard, BoxError, HeardFrom, Registered,
    RegistryError, Revision,
};
use arbiter_net::{HttpPorts, Method};
use arbiter_wire::http::{
    AgentBeatsForm, AgentChangesView, AgentIdsForm, AgentModeForm, AgentPageView, AgentView, AgentsHeardView,
    AgentsView, MAX_AGENT_ITEMS, OutcomesForm, RegisteredView, RemovedAgentsView, SilentAgentsForm,
    UnknownAgentsView,
};
use async_trait::async_trait;
use serde::de::DeserializeOwned;

use crate::asked;
use crate::cache::Cache;
use crate::client::{Call, Operation, Remote};
use crate::codec;
use crate::config::{InvalidRegistry, RegistryConfig};
use crate::error::CallError;
use crate::status::{RegistryStatus, Standing};

const REGISTER: Operation = ("agent.register", Method::POST, "/v1/agents");
const LIST: Operation = ("agent.list", Method::GET, "/v1/agents");
const GET: Operation = ("agent.get", Method::GET, "/v1/agents/{id}");
const GET_MANY: Operation = ("agent.get_many", Method::POST, "/v1/agents/get-many");
const REMOVE: Operation = ("agent.remove", Method::DELETE, "/v1/agents/{id}");
const MODE: Operation = ("agent.mode", Method::POST, "/v1/agents/{id}/mode");
const CHANGES: Operation = ("agent.changes", Method::GET, "/v1/agents/changes");
const HEARD: Operation = ("agent.heard", Method::GET, "/v1/agents/heard");
const HEARTBEATS: Operation = ("agent.heartbeats", Method::POST, "/v1/agents/heartbeats");
const LEARN: Operation = ("agent.learn", Method::POST, "/v1/agents/outcomes");
const REMOVE_SILENT: Operation = ("agent.remove_silent", Method::POST, "/v1/agents/remove-silent");

/// The most agents of a page.
const MAX_PAGE: usize = 1_000;
/// What stands in the registry's audit log where nobody gave a reason.
const NO_REASON: &str = "no reason was given to the control plane that asked";

/// The registry of agents of another control plane.
///
/// Needs a tokio runtime with I/O and time.
#[derive(Debug)]
pub struct HttpAgentRegistry {
    remote: Remote,
    cache: Cache,
    standing: Standing,
}

impl HttpAgentRegistry {
    /// A registry of which nothing was asked yet.
    ///
    /// # Errors
    /// [`InvalidRegistry`] names what cannot work.
    pub fn new(config: &RegistryConfig, ports: HttpPorts) -> Result<Self, InvalidRegistry> {
        Ok(Self {
            remote: Remote::new(config, ports)?,
            cache: Cache::new(config.remembered, config.stale_after),
            standing: Standing::default(),
        })
    }

    /// How the registry stands, as the latest calls have shown.
    pub fn status(&self) -> RegistryStatus {
        self.standing.status(self.remote.clock().monotonic())
    }

    /// Whether it tries calls again. Only one on the way of a call may.
    pub const fn owns_retries(&self) -> bool {
        self.remote.owns_retries()
    }

    /// A call whose answer is JSON, and what is made of it.
    async fn read<V: DeserializeOwned, T>(
        &self,
        operation: &Operation,
        call: Call,
        make: impl FnOnce(V) -> Result<T, BoxError>,
    ) -> Result<T, CallError> {
        let read = self.remote.read(operation, call).await;
        let understood =
            read.and_then(|view| make(view).map_err(|source| CallError::answer(operation.0, 200, source)));
        self.note(operation, understood)
    }

    /// A page of agents; a shorter one while the answer is larger than an answer may be. How large an agent is, is limited by
    /// what a registration may hold, so one at a time fits.
    async fn page<V: DeserializeOwned, T>(
        &self,
        operation: &Operation,
        limit: usize,
        call: impl Fn(usize) -> Call,
        make: impl Fn(V, usize) -> Result<T, BoxError>,
    ) -> Result<T, CallError> {
        let mut limit = limit.clamp(1, MAX_PAGE);
        loop {
            let read = self.read(operation, call(limit), |view| make(view, limit));
            match read.await {
                Err(error) if limit > 1 && error.is_too_large() => limit /= 2,
                read => return read,
            }
        }
    }

    /// A call whose answer is that it is done.
    async fn done(&self, operation: &Operation, call: Call) -> Result<(), CallError> {
        let done = self.remote.done(operation, call).await;
        self.note(operation, done)
    }

    fn note<T>(&self, operation: &Operation, result: Result<T, CallError>) -> Result<T, CallError> {
        match &result {
            // Whether this one agent may be registered says nothing about the registry.
            Err(error) if !is_about_one(operation, error) => self.standing.failed(chain(error)),
            _ => self.standing.answered(self.remote.clock().monotonic()),
        }
        result
    }

    fn now(&self) -> std::time::Duration {
        self.remote.clock().monotonic()
    }

    async fn get_one(&self, id: AgentId) -> Result<Option<RegisteredAgent>, CallError> {
        let make = |view: AgentView| {
            let agent = codec::agent(view)?;
            if agent.profile.id == id {
                Ok(agent)
            } else {
                Err(format!("the answer is about the agent `{}`", agent.profile.id).into())
            }
        };
        let reading = self.cache.reading(self.now());
        match self.read(&GET, Call::new().id(id), make).await {
            Ok(agent) => {
                reading.keep([&agent]);
                Ok(Some(agent))
            }
            Err(error) if error.is_code("not_found") => {
                self.cache.forget(&[id]);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Different agents, in as few calls as their number permits. Those that are absent are none.
    async fn get_many(
        &self,
        wanted: &[AgentId],
    ) -> Result<BTreeMap<AgentId, Option<RegisteredAgent>>, CallError> {
        let mut found = BTreeMap::new();
        let (mut rest, mut size) = (wanted, MAX_AGENT_ITEMS);
        while !rest.is_empty() {
            let (some, later) = rest.split_at(size.min(rest.len()));
            let form = AgentIdsForm {
                ids: some.iter().map(ToString::to_string).collect(),
            };
            let call = Call::new()
                .json(&form)
                .map_err(|error| CallError::answer(GET_MANY.0, 0, error))?;
            let make = |view: AgentsView| {
                let agents = view.agents.into_iter().map(codec::agent);
                let agents = agents.collect::<Result<Vec<_>, _>>()?;
                let told: Vec<AgentId> = agents.iter().map(|agent| agent.profile.id).collect();
                asked::among(some.iter().copied(), &told)?;
                Ok(agents)
            };
            let reading = self.cache.reading(self.now());
            let agents = match self.read(&GET_MANY, call, make).await {
                Err(error) if some.len() > 1 && error.is_too_large() => {
                    size = some.len() / 2;
                    continue;
                }
                read => read?,
            };
            rest = later;
            reading.keep(&agents);
            found.extend(agents.into_iter().map(|agent| (agent.profile.id, Some(agent))));
            let absent = some.iter().filter(|id| !found.contains_key(*id));
            self.cache.forget(&absent.copied().collect::<Vec<_>>());
        }
        Ok(found)
    }
}

/// Whether a refusal is about what the call named, not about the caller or the registry. The feeds name nothing: whoever
/// cannot follow them is without a registry.
fn is_about_one(operation: &Operation, error: &CallError) -> bool {
    let follows = [CHANGES.0, HEARD.0].contains(&operation.0);
    let words = ["not_found", "registry_full"];
    !follows && (error.is_about_the_call() || words.iter().any(|word| error.is_code(word)))
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Why something is done, as far as a draft says so.
fn reason(draft: &RecordDraft) -> String {
    let detail = draft.detail.as_ref();
    let detail = detail.and_then(|detail| serde_json::from_str::<serde_json::Value>(detail.as_str()).ok());
    let reason = detail.as_ref().and_then(|detail| detail["reason"].as_str());
    let reason = reason.filter(|reason| !reason.trim().is_empty());
    reason.unwrap_or(NO_REASON).to_owned()
}

/// A body that cannot be written: no model of ours makes one.
fn unwritten(operation: &'static str) -> impl FnOnce(serde_json::Error) -> RegistryError {
    move |error| CallError::answer(operation, 0, error).unavailable(operation)
}

#[async_trait]
impl AgentRegistry for HttpAgentRegistry {
    async fn register(&self, profile: AgentProfile, draft: RecordDraft) -> Result<Registered, RegistryError> {
        const DOING: &str = "register an agent";
        profile.validate()?;
        let call = Call::new().on_behalf_of(draft.principal);
        let call = call.json(&codec::form(&profile)).map_err(unwritten(DOING))?;
        let make = |view: RegisteredView| match view.outcome.as_str() {
            "new" => Ok(Registered::New),
            "replaced" => Ok(Registered::Replaced),
            "unchanged" => Ok(Registered::Unchanged),
            other => Err(format!("`outcome` is `{}`, which is none", other.escape_debug()).into()),
        };
        let id = profile.id;
        let changing = self.cache.changing(id);
        let error = match self.read(&REGISTER, call, make).await {
            Ok(registered) => {
                if registered == Registered::Unchanged {
                    changing.nothing_changed();
                }
                return Ok(registered);
            }
            Err(error) => error,
        };
        if !error.may_be_done() {
            changing.nothing_changed();
        }
        if let CallError::Refused {
            limit: Some(limit), ..
        } = &error
            && error.is_code("registry_full")
        {
            let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
            return Err(RegistryError::Full { limit });
        }
        if error.is_code("forbidden") {
            // Said so for agents of other tenants, and for keys without rights: whose agent it is tells which.
            match self.get_one(id).await {
                Ok(Some(known)) if known.profile.tenant != profile.tenant => {
                    return Err(RegistryError::OtherTenant {
                        agent: id,
                        tenant: known.profile.tenant,
                    });
                }
                _ => self.standing.failed(chain(&error)),
            }
        }
        Err(error.failed(DOING))
    }

    async fn set_mode(
        &self,
        agent: AgentId,
        mode: AgentMode,
        draft: RecordDraft,
    ) -> Result<bool, RegistryError> {
        const DOING: &str = "set the mode of an agent";
        let form = AgentModeForm {
            mode: codec::mode(mode),
            reason: reason(&draft),
        };
        let call = Call::new().id(agent).on_behalf_of(draft.principal);
        let call = call.json(&form).map_err(unwritten(DOING))?;
        // Whatever becomes of the call: the mode that was read before is not to be given any more.
        self.cache.forget(&[agent]);
        let _changing = self.cache.changing(agent);
        found(self.done(&MODE, call).await, DOING)
    }

    async fn beat(&self, beats: Vec<AgentBeat>) -> Result<Vec<AgentId>, RegistryError> {
        const DOING: &str = "note heartbeats";
        let mut unknown = Vec::new();
        for some in beats.chunks(MAX_AGENT_ITEMS) {
            let form = AgentBeatsForm {
                beats: some.iter().map(codec::beat_form).collect(),
            };
            let call = Call::new().json(&form).map_err(unwritten(DOING))?;
            let make = |view: UnknownAgentsView| {
                let unknown = codec::ids(&view.unknown)?;
                asked::among(some.iter().map(|beat| beat.agent), &unknown)?;
                Ok(unknown)
            };
            let told = self.read(&HEARTBEATS, call, make).await;
            unknown.extend(told.map_err(|error| error.failed(DOING))?);
        }
        self.cache.forget(&unknown);
        Ok(unknown)
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<AgentChanges, RegistryError> {
        let call = |limit: usize| {
            Call::new()
                .query("after", Some(after.0.to_string()))
                .query("limit", Some(limit.to_string()))
        };
        let make = |view: AgentChangesView, limit| {
            let agents = view.agents.into_iter().map(codec::agent);
            let changes = AgentChanges {
                agents: agents.collect::<Result<_, _>>()?,
                removed: codec::ids(&view.removed)?,
                revision: Revision(view.revision),
                more: view.more,
            };
            asked::changes(after, limit, &changes)?;
            Ok(changes)
        };
        let reading = self.cache.reading(self.now());
        let changes = self.page(&CHANGES, limit, call, make).await;
        let changes = changes.map_err(|error| error.unavailable("read what changed"))?;
        reading.follow(after, &changes);
        Ok(changes)
    }

    async fn heard(&self, from: HeardFrom, limit: usize) -> Result<AgentsHeard, RegistryError> {
        let limit = limit.clamp(1, MAX_PAGE);
        let since = codec::moment(from.since);
        let after = from.after.filter(|_| since.is_some());
        let call = Call::new()
            .query("since", since)
            .query("after", after.map(|after| after.to_string()))
            .query("limit", Some(limit.to_string()));
        let make = |view: AgentsHeardView| {
            let agents = view.agents.iter().map(codec::seen);
            let agents = agents.collect::<Result<Vec<_>, _>>()?;
            asked::heard(from, limit, &agents, view.more)?;
            Ok(AgentsHeard {
                agents,
                more: view.more,
            })
        };
        let heard = self.read(&HEARD, call, make).await;
        let heard = heard.map_err(|error| error.unavailable("read who was heard of"))?;
        self.cache.heard(&heard.agents);
        Ok(heard)
    }

    async fn learn(&self, outcomes: Vec<OutcomeDelta>) -> Result<(), RegistryError> {
        const DOING: &str = "count outcomes";
        for some in outcomes.chunks(MAX_AGENT_ITEMS) {
            let form = OutcomesForm {
                outcomes: some.iter().map(codec::outcome).collect(),
            };
            let call = Call::new().json(&form).map_err(unwritten(DOING))?;
            let told = self.done(&LEARN, call).await;
            told.map_err(|error| error.failed(DOING))?;
        }
        Ok(())
    }

    async fn remove_silent(
        &self,
        since: Timestamp,
        draft: RecordDraft,
    ) -> Result<Vec<AgentId>, RegistryError> {
        const DOING: &str = "remove silent agents";
        let Some(since) = codec::moment(since) else {
            return Ok(Vec::new());
        };
        let call = Call::new().once().on_behalf_of(draft.principal);
        let call = call.json(&SilentAgentsForm { since }).map_err(unwritten(DOING))?;
        let make = |view: RemovedAgentsView| codec::ids(&view.removed);
        let removed = self.read(&REMOVE_SILENT, call, make).await;
        let removed = removed.map_err(|error| error.failed(DOING))?;
        self.cache.forget(&removed);
        Ok(removed)
    }

    async fn remove(&self, agent: AgentId, draft: RecordDraft) -> Result<bool, RegistryError> {
        let call = Call::new().id(agent).once().on_behalf_of(draft.principal);
        self.cache.forget(&[agent]);
        let _changing = self.cache.changing(agent);
        found(self.done(&REMOVE, call).await, "remove an agent")
    }

    async fn get(&self, ids: &[AgentId]) -> Result<Vec<Option<RegisteredAgent>>, RegistryError> {
        let wanted: BTreeSet<AgentId> = ids.iter().copied().collect();
        let wanted: Vec<AgentId> = wanted.into_iter().collect();
        let found = match wanted[..] {
            [id] => self.get_one(id).await.map(|agent| BTreeMap::from([(id, agent)])),
            _ => self.get_many(&wanted).await,
        };
        match found {
            Ok(found) => Ok(ids.iter().map(|id| found.get(id).cloned().flatten()).collect()),
            Err(error) => {
                let recent = self.cache.recent(ids, self.now()).filter(|_| error.is_away());
                recent.ok_or_else(|| error.failed("read agents"))
            }
        }
    }

    async fn list(&self, scope: TenantScope, query: AgentQuery) -> Result<AgentPage, RegistryError> {
        let tenant = match scope {
            TenantScope::All => None,
            TenantScope::Tenant(tenant) => Some(tenant.to_string()),
        };
        let call = |limit: usize| {
            Call::new()
                .query("limit", Some(limit.to_string()))
                .query("after", query.after.map(|after| after.to_string()))
                .query("tenant", tenant.clone())
        };
        let make = |view: AgentPageView, limit| {
            if view.next.is_some() && view.next_after.is_none() {
                return Err("the registry does not say after which agent to go on; it is too old".into());
            }
            let agents = view.agents.into_iter().map(codec::agent);
            let page = AgentPage {
                agents: agents.collect::<Result<_, _>>()?,
                next: view.next_after.map(|id| id.parse()).transpose()?,
            };
            asked::list(scope, AgentQuery { limit, ..query }, &page)?;
            Ok(page)
        };
        let reading = self.cache.reading(self.now());
        let page = self.page(&LIST, query.limit, call, make).await;
        let page = page.map_err(|error| error.failed("list agents"))?;
        reading.keep(&page.agents);
        Ok(page)
    }
}

/// Whether the agent that was named is there.
fn found(done: Result<(), CallError>, doing: &'static str) -> Result<bool, RegistryError> {
    match done {
        Ok(()) => Ok(true),
        Err(error) if error.is_code("not_found") => Ok(false),
        Err(error) => Err(error.failed(doing)),
    }
}
