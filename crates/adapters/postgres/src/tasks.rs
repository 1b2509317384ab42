//! The ports `TaskStore` and `TaskReader`.

mod apply;
mod claim;
mod dependants;
mod due;
mod extend;
mod flush;
mod group;
mod lanes;
mod purge;
mod read;
mod rows;
mod submit;

use arbiter_core::lifecycle::Refusal;
use arbiter_core::model::{Holder, LaneId, StoredTask, Task, TaskId, TenantId, TenantScope};
use arbiter_core::ports::{
    ClaimRequest, Claimed, DueDone, LaneHead, LeaseRef, LeaseStatus, Retention, StoreError, SubmitRequest,
    Submitted, Tally, TaskHistory, TaskPage, TaskQuery, TaskReader, TaskStore, Transition,
};
use async_trait::async_trait;

pub(crate) use apply::Apply;
pub(crate) use extend::Extend;
pub(crate) use flush::{ADD_ATTEMPTS, ADD_AWAITED, ADD_SPECS, ADD_TASKS, KEEP_LANES, PUT_STAGES, label_hash};
pub(crate) use lanes::LaneNames;
pub(crate) use submit::Submit;

use crate::store::PostgresStore;

#[async_trait]
impl TaskStore for PostgresStore {
    async fn submit(&self, request: SubmitRequest) -> Result<Vec<Submitted>, StoreError> {
        self.lines.submits.call(Submit(request)).await
    }

    async fn lanes(&self, after: Option<LaneId>, limit: usize) -> Result<Vec<LaneHead>, StoreError> {
        self.read("read lanes", TenantScope::All, move |session| {
            Box::pin(async move { lanes::lanes(session, after, limit).await })
        })
        .await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Claimed, StoreError> {
        let (rules, names) = (self.core.rules, self.lanes.clone());
        self.write("claim", move |write| {
            Box::pin(async move { claim::claim(write, &rules, &names, &request).await })
        })
        .await
    }

    async fn apply(&self, transitions: Vec<Transition>) -> Result<Vec<Result<Task, Refusal>>, StoreError> {
        self.lines.applies.call(Apply(transitions)).await
    }

    async fn extend(&self, leases: Vec<LeaseRef>) -> Result<Vec<LeaseStatus>, StoreError> {
        self.lines.extends.call(Extend(leases)).await
    }

    async fn due(&self, limit: usize) -> Result<DueDone, StoreError> {
        let rules = self.core.rules;
        self.write("do what is due", move |write| {
            Box::pin(async move { due::due(write, &rules, limit).await })
        })
        .await
    }

    async fn purge(&self, retention: Retention) -> Result<usize, StoreError> {
        self.write("purge", move |write| {
            Box::pin(async move { purge::purge(write, &retention).await })
        })
        .await
    }
}

#[async_trait]
impl TaskReader for PostgresStore {
    async fn get(&self, scope: TenantScope, ids: &[TaskId]) -> Result<Vec<Option<StoredTask>>, StoreError> {
        let ids = ids.to_vec();
        self.read("read tasks", scope, move |session| {
            Box::pin(async move { read::get_all(session, scope, &ids).await })
        })
        .await
    }

    async fn list(&self, scope: TenantScope, query: TaskQuery) -> Result<TaskPage, StoreError> {
        self.read("list tasks", scope, move |session| {
            Box::pin(async move { read::list(session, scope, &query).await })
        })
        .await
    }

    async fn history(&self, scope: TenantScope, task: TaskId) -> Result<TaskHistory, StoreError> {
        self.read("read the history of a task", scope, move |session| {
            Box::pin(async move { read::history(session, scope, task).await })
        })
        .await
    }

    async fn held_by(&self, holder: Holder) -> Result<Vec<StoredTask>, StoreError> {
        self.read("read what a holder has", TenantScope::All, move |session| {
            Box::pin(async move { read::held_by(session, holder).await })
        })
        .await
    }

    async fn tally(&self, tenant: TenantId) -> Result<Tally, StoreError> {
        self.read("read a tally", TenantScope::Tenant(tenant), move |session| {
            Box::pin(async move { read::tally(session, tenant).await })
        })
        .await
    }
}
