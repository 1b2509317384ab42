//! The port `AgentRegistry`.

mod change;
mod heartbeat;
mod read;
mod row;

use arbiter_core::model::{
    AgentBeat, AgentId, AgentMode, AgentProfile, OutcomeDelta, RecordDraft, RegisteredAgent, TenantScope,
    Timestamp,
};
use arbiter_core::ports::{
    AgentChanges, AgentPage, AgentQuery, AgentRegistry, AgentsHeard, HeardFrom, Registered, RegistryError,
    Revision,
};
use async_trait::async_trait;

use crate::store::PostgresStore;

#[async_trait]
impl AgentRegistry for PostgresStore {
    async fn register(&self, profile: AgentProfile, draft: RecordDraft) -> Result<Registered, RegistryError> {
        profile.validate()?;
        let limit = self.max_agents;
        self.write("register an agent", move |write| {
            Box::pin(async move { change::register(write, &profile, &draft, limit).await })
        })
        .await?
    }

    async fn set_mode(
        &self,
        agent: AgentId,
        mode: AgentMode,
        draft: RecordDraft,
    ) -> Result<bool, RegistryError> {
        let set = self.write("set the mode of an agent", move |write| {
            Box::pin(async move { change::set_mode(write, agent, mode, &draft).await })
        });
        Ok(set.await?)
    }

    async fn beat(&self, beats: Vec<AgentBeat>) -> Result<Vec<AgentId>, RegistryError> {
        let unknown = self.write("note heartbeats", move |write| {
            Box::pin(async move { heartbeat::beat(write, &beats).await })
        });
        Ok(unknown.await?)
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<AgentChanges, RegistryError> {
        let changes = self.read("read changes of agents", TenantScope::All, move |session| {
            Box::pin(async move { read::changes(session, after, limit).await })
        });
        Ok(changes.await?)
    }

    async fn heard(&self, from: HeardFrom, limit: usize) -> Result<AgentsHeard, RegistryError> {
        let heard = self.read(
            "read which agents were heard of",
            TenantScope::All,
            move |session| Box::pin(async move { heartbeat::heard(session, from, limit).await }),
        );
        Ok(heard.await?)
    }

    async fn learn(&self, outcomes: Vec<OutcomeDelta>) -> Result<(), RegistryError> {
        let learnt = self.write("count outcomes", move |write| {
            Box::pin(async move { change::learn(write, &outcomes).await })
        });
        Ok(learnt.await?)
    }

    async fn remove_silent(
        &self,
        since: Timestamp,
        draft: RecordDraft,
    ) -> Result<Vec<AgentId>, RegistryError> {
        let removed = self.write("remove silent agents", move |write| {
            Box::pin(async move { change::remove_silent(write, since, &draft).await })
        });
        Ok(removed.await?)
    }

    async fn remove(&self, agent: AgentId, draft: RecordDraft) -> Result<bool, RegistryError> {
        let removed = self.write("remove an agent", move |write| {
            Box::pin(async move { change::remove(write, agent, &draft).await })
        });
        Ok(removed.await?)
    }

    async fn get(&self, ids: &[AgentId]) -> Result<Vec<Option<RegisteredAgent>>, RegistryError> {
        let ids = ids.to_vec();
        let found = self.read("read agents", TenantScope::All, move |session| {
            Box::pin(async move { read::get_all(session, &ids).await })
        });
        Ok(found.await?)
    }

    async fn list(&self, scope: TenantScope, query: AgentQuery) -> Result<AgentPage, RegistryError> {
        let page = self.read("list agents", scope, move |session| {
            Box::pin(async move { read::list(session, query).await })
        });
        Ok(page.await?)
    }
}
