//! Reading tasks.

use async_trait::async_trait;

use super::StoreError;
use crate::model::{
    Attempt, Holder, StageReport, StateName, StoredTask, TaskId, TaskKind, TenantId, TenantScope,
};

/// Reads tasks. Every read names the tenants that it may see; what it may not see is absent.
#[async_trait]
pub trait TaskReader: Send + Sync + 'static {
    /// Tasks by id; absent ones are `None`, in the order of the ids.
    async fn get(&self, scope: TenantScope, ids: &[TaskId]) -> Result<Vec<Option<StoredTask>>, StoreError>;

    /// A page of tasks by id, oldest first.
    ///
    /// The scan is bounded: a page with filters may be short, or empty, and still carry a cursor.
    async fn list(&self, scope: TenantScope, query: TaskQuery) -> Result<TaskPage, StoreError>;

    /// The finished attempts of a task and the reports of its review stages, oldest first; empty for what is absent.
    async fn history(&self, scope: TenantScope, task: TaskId) -> Result<TaskHistory, StoreError>;

    /// Tasks whose open lease `holder` has.
    async fn held_by(&self, holder: Holder) -> Result<Vec<StoredTask>, StoreError>;

    /// How many tasks of a tenant stand where.
    async fn tally(&self, tenant: TenantId) -> Result<Tally, StoreError>;
}

/// Which tasks to list.
#[derive(Debug, Clone, Default)]
pub struct TaskQuery {
    /// Only those after this one.
    pub after: Option<TaskId>,
    /// At most so many, 1–1000.
    pub limit: usize,
    /// Only those in this state.
    pub state: Option<StateName>,
    /// Only those of this kind.
    pub kind: Option<TaskKind>,
    /// Only those with this label and value.
    pub label: Option<(String, String)>,
}

/// A page of tasks.
#[derive(Debug, Clone, Default)]
pub struct TaskPage {
    /// The tasks.
    pub tasks: Vec<StoredTask>,
    /// Where to go on, if there may be more.
    pub next: Option<TaskId>,
}

/// The finished attempts and stage reports of a task.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TaskHistory {
    /// Attempts by fence.
    pub attempts: Vec<Attempt>,
    /// Stage reports by fence and stage.
    pub stages: Vec<StageReport>,
}

/// Counts of a tenant's tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Not closed.
    pub open: u64,
    /// Queued.
    pub queued: u64,
    /// Assigned or running.
    pub running: u64,
    /// In review.
    pub reviewing: u64,
    /// Held.
    pub held: u64,
    /// Dead-lettered.
    pub dead: u64,
}
