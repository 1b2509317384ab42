//! Agents: register, read, operate.

use arbiter_core::model::{AgentId, Timestamp};
use arbiter_net::Method;
use arbiter_wire::http::{
    AgentBeatsForm, AgentChangesView, AgentForm, AgentIdsForm, AgentModeForm, AgentPageView, AgentView,
    AgentsHeardView, AgentsView, OutcomesForm, PerformanceView, RegisteredView, RemovedAgentsView,
    SilentAgentsForm, UnknownAgentsView,
};

use super::Operation;
use crate::client::Client;
use crate::error::ClientError;

pub(super) const REGISTER: Operation = ("agent.register", Method::POST, "/v1/agents");
pub(super) const LIST: Operation = ("agent.list", Method::GET, "/v1/agents");
pub(super) const GET: Operation = ("agent.get", Method::GET, "/v1/agents/{id}");
pub(super) const REMOVE: Operation = ("agent.remove", Method::DELETE, "/v1/agents/{id}");
pub(super) const PERFORMANCE: Operation = ("agent.performance", Method::GET, "/v1/agents/{id}/performance");
pub(super) const HEARTBEAT: Operation = ("agent.heartbeat", Method::POST, "/v1/agents/{id}/heartbeat");
pub(super) const MODE: Operation = ("agent.mode", Method::POST, "/v1/agents/{id}/mode");
pub(super) const CHANGES: Operation = ("agent.changes", Method::GET, "/v1/agents/changes");
pub(super) const HEARD: Operation = ("agent.heard", Method::GET, "/v1/agents/heard");
pub(super) const GET_MANY: Operation = ("agent.get_many", Method::POST, "/v1/agents/get-many");
pub(super) const HEARTBEATS: Operation = ("agent.heartbeats", Method::POST, "/v1/agents/heartbeats");
pub(super) const LEARN: Operation = ("agent.learn", Method::POST, "/v1/agents/outcomes");
pub(super) const REMOVE_SILENT: Operation = ("agent.remove_silent", Method::POST, "/v1/agents/remove-silent");

impl Client {
    /// Registers an agent, or replaces its profile. Without an id it is the caller itself.
    ///
    /// # Errors
    /// [`ClientError`], as all calls.
    pub async fn agent_register(&self, agent: &AgentForm) -> Result<RegisteredView, ClientError> {
        self.call(&REGISTER, &[]).json(agent).repeatable().read().await
    }

    /// A page of agents, by id.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn agent_list(
        &self,
        cursor: Option<String>,
        limit: Option<usize>,
    ) -> Result<AgentPageView, ClientError> {
        let query = [
            ("cursor", cursor),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.call_with(&LIST, &[], &query).read().await
    }

    /// Reads an agent, with its record by kind of task.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn agent_get(&self, agent: AgentId) -> Result<AgentView, ClientError> {
        self.call(&GET, &[&agent]).read().await
    }

    /// Removes an agent that holds no task.
    ///
    /// # Errors
    /// [`ClientError`]; `in_use` while it holds one.
    pub async fn agent_remove(&self, agent: AgentId) -> Result<(), ClientError> {
        self.call(&REMOVE, &[&agent]).once().done().await
    }

    /// Reads what an agent's work has shown, by kind of task; only of `kind`, if it is given. With one end of a span of
    /// time or both, also what that has shown.
    ///
    /// # Errors
    /// [`ClientError`]; `invalid_value` when a span is asked for and the server keeps no history.
    pub async fn agent_performance(
        &self,
        agent: AgentId,
        kind: Option<&str>,
        (from, to): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<PerformanceView, ClientError> {
        let query = [
            ("kind", kind.map(str::to_owned)),
            ("from", from.map(|moment| moment.to_string())),
            ("to", to.map(|moment| moment.to_string())),
        ];
        self.call_with(&PERFORMANCE, &[&agent], &query).read().await
    }

    /// Tells that an agent is alive.
    ///
    /// # Errors
    /// [`ClientError`]; `not_found` when it must register again.
    pub async fn agent_heartbeat(&self, agent: AgentId) -> Result<(), ClientError> {
        self.call(&HEARTBEAT, &[&agent]).repeatable().done().await
    }

    /// Drains or quarantines an agent, or lets it work again. Setting a mode twice is setting it once.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn agent_mode(&self, agent: AgentId, mode: &AgentModeForm) -> Result<(), ClientError> {
        self.call(&MODE, &[&agent]).json(mode).repeatable().done().await
    }

    /// Follows the registry as its peer: agents that changed after a revision.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn agent_changes(
        &self,
        after: u64,
        limit: Option<usize>,
    ) -> Result<AgentChangesView, ClientError> {
        let query = [
            ("after", Some(after.to_string())),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.call_with(&CHANGES, &[], &query).read().await
    }

    /// A page, as a peer, of agents that were heard of at or after a moment, and after the agent that was told last at that
    /// moment; from the first one on without a place.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn agent_heard(
        &self,
        from: Option<(Timestamp, Option<AgentId>)>,
        limit: Option<usize>,
    ) -> Result<AgentsHeardView, ClientError> {
        let after = from.and_then(|(_, after)| after);
        let query = [
            ("since", from.map(|(since, _)| since.to_string())),
            ("after", after.map(|after| after.to_string())),
            ("limit", limit.map(|limit| limit.to_string())),
        ];
        self.call_with(&HEARD, &[], &query).read().await
    }

    /// Reads, as a peer, several agents. Absent ones are left out.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn agent_get_many(&self, agents: &AgentIdsForm) -> Result<AgentsView, ClientError> {
        self.call(&GET_MANY, &[]).json(agents).repeatable().read().await
    }

    /// Tells, as a peer, that agents are alive. Gives those that are not known.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn agent_heartbeats(&self, beats: &AgentBeatsForm) -> Result<UnknownAgentsView, ClientError> {
        self.call(&HEARTBEATS, &[]).json(beats).repeatable().read().await
    }

    /// Tells, as a peer, how attempts ended. Each is counted once, however often it is told.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn agent_learn(&self, outcomes: &OutcomesForm) -> Result<(), ClientError> {
        self.call(&LEARN, &[]).json(outcomes).repeatable().done().await
    }

    /// Removes, as a peer, active agents that were last heard of before a moment.
    ///
    /// # Errors
    /// [`ClientError`]
    pub async fn agent_remove_silent(
        &self,
        since: &SilentAgentsForm,
    ) -> Result<RemovedAgentsView, ClientError> {
        self.call(&REMOVE_SILENT, &[]).json(since).read().await
    }
}
