//! Everything that the store keeps.

use std::sync::Arc;

use arbiter_audit::detail::Detail;
use arbiter_audit::leaf::Leaf;
use arbiter_core::model::{
    AgentId, Attempt, BatchId, Digest, Fence, Holder, Json, LaneId, LaneKey, NodeId, OrderKey, OutboxId,
    PrincipalId, RegisteredAgent, Stage, StageReport, Task, TaskId, TaskSpec, TenantId, Timestamp,
};
use arbiter_core::ports::{Document, DocumentKey, Scope, Tally, TreeHead};

use crate::table::Table;

macro_rules! tables {
    ($($(#[$doc:meta])* $name:ident: $key:ty => $value:ty,)+) => {
        /// Rows and the indexes over them.
        #[derive(Debug, Default)]
        pub(crate) struct Tables { $($(#[$doc])* pub(crate) $name: Table<$key, $value>,)+ }

        impl Tables {
            pub(crate) fn commit(&mut self) {
                $(self.$name.commit();)+
            }

            pub(crate) fn roll_back(&mut self) {
                $(self.$name.roll_back();)+
            }
        }
    };
}

tables! {
    tasks: TaskId => TaskRow,
    /// Index: tasks of a tenant.
    tasks_by_tenant: (TenantId, TaskId) => (),
    /// Index: tasks that can be claimed now, in the order of their lane.
    claimable: (LaneId, OrderKey, TaskId) => (),
    /// Index: tasks to which something happens at a moment.
    due: (Timestamp, TaskId) => (),
    /// Index: tasks with an open lease.
    held: (Holder, TaskId) => (),
    /// Index: tasks that nothing but retention keeps, by the moment at which they closed.
    settled: (Timestamp, TaskId) => (),
    idempotency: (TenantId, PrincipalId, String) => (Digest, TaskId),
    attempts: (TaskId, Fence) => Attempt,
    stages: (TaskId, Fence, Stage) => StageReport,
    /// Prerequisite and dependant.
    dependencies: (TaskId, TaskId) => (),
    lanes: LaneId => Arc<LaneKey>,
    loads: Scope => u32,
    tallies: TenantId => Tally,

    /// The audit log by index.
    leaves: u64 => LeafRow,
    /// Complete tiles by level and index.
    tiles: (u8, u64) => Vec<Digest>,
    /// Batches that were appended.
    batches: BatchId => (),
    published: () => (TreeHead, String),

    documents: DocumentKey => Document,
    /// Index: kind, name, value, tenant, id.
    documents_by_value: (&'static str, &'static str, String, TenantId, String) => (),

    outbox: OutboxId => OutboxRow,
    /// Index: topic, due time, id.
    outbox_due: (String, Timestamp, OutboxId) => (),

    turns: String => TurnRow,

    agents: AgentId => AgentRow,
    /// Index: agents by the revision of their last change.
    agents_by_revision: u64 => AgentId,
    /// Attempts whose outcome was counted; when, where their tasks are not here.
    outcomes: (TaskId, Fence) => Option<Timestamp>,
    /// Index: those whose tasks are not here, by when they were counted.
    outcomes_elsewhere: (Timestamp, (TaskId, Fence)) => (),
}

/// A task.
#[derive(Debug, Clone)]
pub(crate) struct TaskRow {
    pub(crate) task: Task,
    pub(crate) spec: Arc<TaskSpec>,
    /// The idempotency key under which it was submitted.
    pub(crate) key: Option<String>,
}

/// A leaf with what stands beside it.
#[derive(Debug, Clone)]
pub(crate) struct LeafRow {
    pub(crate) leaf: Leaf,
    pub(crate) bytes: Vec<u8>,
    pub(crate) detail: Option<Detail>,
}

/// An entry for outside.
#[derive(Debug, Clone)]
pub(crate) struct OutboxRow {
    pub(crate) topic: String,
    pub(crate) about: Option<(TenantId, Option<TaskId>)>,
    pub(crate) body: Json,
    pub(crate) tries: u16,
    pub(crate) state: OutboxState,
}

/// Whether an entry is still to be delivered.
#[derive(Debug, Clone)]
pub(crate) enum OutboxState {
    Due(Timestamp),
    #[expect(dead_code, reason = "kept for whoever looks at the store in a debugger")]
    Quarantined(String),
}

/// A named lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TurnRow {
    /// None after it was given back.
    pub(crate) node: Option<NodeId>,
    pub(crate) fence: Fence,
    pub(crate) until: Timestamp,
}

/// An agent, or the place of one that was removed.
#[derive(Debug, Clone)]
pub(crate) struct AgentRow {
    pub(crate) revision: u64,
    pub(crate) agent: Option<RegisteredAgent>,
}
