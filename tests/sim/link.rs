//! The way from a node to its store: calls are delayed, reordered, cut off, repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arbiter_core::model::{
    AgentBeat, AgentId, AgentMode, AgentProfile, BatchId, Holder, OutcomeDelta, Record, RecordDraft,
    RegisteredAgent, StoredTask, TaskId, TenantId, TenantScope, Timestamp,
};
use arbiter_core::ports::{
    AgentChanges, AgentPage, AgentQuery, AgentRegistry, AgentsHeard, Applied, AuditEntry, AuditLog,
    AuditPage, AuditQuery, HeardFrom, Registered, RegistryError, Retry, Revision, Seal, Sealed, StoreError,
    Tally, TaskHistory, TaskPage, TaskQuery, TaskReader,
};
use arbiter_testkit::contract::Stores;
use arbiter_testkit::faulty::{Fault, FaultPlan};
use async_trait::async_trait;

use crate::world::{World, yield_now};

/// The state of the way between one node and the store.
pub(crate) struct Link {
    pub(crate) world: Arc<World>,
    pub(crate) cut: Arc<AtomicBool>,
}

impl Link {
    /// Waits as long as a call takes, and says what goes wrong with it.
    async fn draw(&self) -> Fault {
        yield_now().await;
        if self.world.happens(60) {
            let delay = Duration::from_millis(self.world.draw(3_000));
            self.world.sleep(delay).await;
        }
        let fault = if self.cut.load(Ordering::Relaxed) {
            self.world.sleep(Duration::from_millis(200)).await;
            Fault::UnknownBefore
        } else if self.world.draw(100) < u64::from(self.world.faults_per_hundred.load(Ordering::Relaxed)) {
            match self.world.draw(4) {
                0 => Fault::NotApplied,
                1 => Fault::UnknownBefore,
                2 => Fault::UnknownAfter,
                _ => Fault::Repeated,
            }
        } else {
            Fault::None
        };
        self.world.journal().faults += u64::from(fault != Fault::None);
        fault
    }

    /// A call that only reads: it fails or it does not.
    async fn read(&self, operation: &'static str) -> Result<(), StoreError> {
        match self.draw().await {
            Fault::None | Fault::Repeated => Ok(()),
            _ => Err(lost(operation)),
        }
    }
}

fn lost(operation: &'static str) -> StoreError {
    StoreError::Backend {
        operation,
        applied: Applied::Unknown,
        retry: Retry::Transient,
        source: "the connection was lost".into(),
    }
}

/// Faults of the calls that change tasks.
#[async_trait]
impl FaultPlan for Link {
    async fn next(&self, _: &'static str) -> Fault {
        self.draw().await
    }
}

/// The other ports of the store over the same way.
pub(crate) struct Far {
    pub(crate) link: Arc<Link>,
    pub(crate) stores: Stores,
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl TaskReader for Far {
    async fn get(&self, scope: TenantScope, ids: &[TaskId]) -> Result<Vec<Option<StoredTask>>, StoreError> {
        self.link.read("get").await?;
        self.stores.reader.get(scope, ids).await
    }

    async fn list(&self, scope: TenantScope, query: TaskQuery) -> Result<TaskPage, StoreError> {
        self.link.read("list").await?;
        self.stores.reader.list(scope, query).await
    }

    async fn history(&self, scope: TenantScope, task: TaskId) -> Result<TaskHistory, StoreError> {
        self.link.read("history").await?;
        self.stores.reader.history(scope, task).await
    }

    async fn held_by(&self, holder: Holder) -> Result<Vec<StoredTask>, StoreError> {
        self.link.read("held_by").await?;
        self.stores.reader.held_by(holder).await
    }

    async fn tally(&self, tenant: TenantId) -> Result<Tally, StoreError> {
        self.link.read("tally").await?;
        self.stores.reader.tally(tenant).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl AuditLog for Far {
    async fn append(&self, batch: BatchId, records: Vec<Record>) -> Result<(), StoreError> {
        match self.link.draw().await {
            Fault::None => {}
            Fault::Repeated => self.stores.log.append(batch, records.clone()).await?,
            Fault::UnknownAfter => {
                self.stores.log.append(batch, records).await?;
                return Err(lost("append"));
            }
            Fault::NotApplied | Fault::UnknownBefore => return Err(lost("append")),
        }
        self.stores.log.append(batch, records).await
    }

    async fn read(&self, from: u64, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.link.read("read").await?;
        self.stores.log.read(from, limit).await
    }

    async fn search(&self, scope: TenantScope, query: AuditQuery) -> Result<AuditPage, StoreError> {
        self.link.read("search").await?;
        self.stores.log.search(scope, query).await
    }

    async fn redact(&self, index: u64, tenant: TenantId, draft: RecordDraft) -> Result<bool, StoreError> {
        self.link.read("redact").await?;
        self.stores.log.redact(index, tenant, draft).await
    }

    async fn seal(&self, rule: Seal, draft: RecordDraft) -> Result<Sealed, StoreError> {
        self.link.read("seal").await?;
        self.stores.log.seal(rule, draft).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl AgentRegistry for Far {
    async fn register(&self, profile: AgentProfile, draft: RecordDraft) -> Result<Registered, RegistryError> {
        self.link.read("register").await?;
        self.stores.agents.register(profile, draft).await
    }

    async fn set_mode(
        &self,
        agent: AgentId,
        mode: AgentMode,
        draft: RecordDraft,
    ) -> Result<bool, RegistryError> {
        self.link.read("set_mode").await?;
        self.stores.agents.set_mode(agent, mode, draft).await
    }

    async fn beat(&self, beats: Vec<AgentBeat>) -> Result<Vec<AgentId>, RegistryError> {
        self.link.read("beat").await?;
        self.stores.agents.beat(beats).await
    }

    async fn changes(&self, after: Revision, limit: usize) -> Result<AgentChanges, RegistryError> {
        self.link.read("changes").await?;
        self.stores.agents.changes(after, limit).await
    }

    async fn heard(&self, from: HeardFrom, limit: usize) -> Result<AgentsHeard, RegistryError> {
        self.link.read("heard").await?;
        self.stores.agents.heard(from, limit).await
    }

    async fn learn(&self, outcomes: Vec<OutcomeDelta>) -> Result<(), RegistryError> {
        match self.link.draw().await {
            Fault::None => {}
            Fault::Repeated => self.stores.agents.learn(outcomes.clone()).await?,
            _ => return Err(lost("learn").into()),
        }
        self.stores.agents.learn(outcomes).await
    }

    async fn remove_silent(
        &self,
        since: Timestamp,
        draft: RecordDraft,
    ) -> Result<Vec<AgentId>, RegistryError> {
        self.link.read("remove_silent").await?;
        self.stores.agents.remove_silent(since, draft).await
    }

    async fn remove(&self, agent: AgentId, draft: RecordDraft) -> Result<bool, RegistryError> {
        self.link.read("remove").await?;
        self.stores.agents.remove(agent, draft).await
    }

    async fn get(&self, ids: &[AgentId]) -> Result<Vec<Option<RegisteredAgent>>, RegistryError> {
        self.link.read("get agents").await?;
        self.stores.agents.get(ids).await
    }

    async fn list(&self, scope: TenantScope, query: AgentQuery) -> Result<AgentPage, RegistryError> {
        self.link.read("list agents").await?;
        self.stores.agents.list(scope, query).await
    }
}
