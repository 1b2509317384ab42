//! The secure queue's persistence.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::lifecycle::{Command, Expect, Refusal};
use crate::model::{
    AgentId, Budget, CommandId, Decision, Digest, Fence, Holder, Json, LaneId, LaneKey, NodeId, OrderKey,
    OutboxId, PrincipalId, Priority, Progress, RecordDraft, StoredTask, Task, TaskId, TaskKind, TaskSpec,
    TenantId, Timestamp, Usage,
};

/// Keeps tasks, their leases, attempts and dependencies.
///
/// # Contract
/// - A call's mutations, audit leaves, outbox entries, loads and tallies commit together or not at all. A call is
///   durable when it returns.
/// - Legal moves are decided by [`lifecycle::apply`](crate::lifecycle::apply) alone.
/// - A refused transition changes nothing and still commits its leaf. One bad item never fails its neighbours,
///   except in a submit that asked for all or nothing.
/// - Every mutation may be sent again after an unknown outcome: `submit` repeats by task id and idempotency key,
///   `apply` by command id, `due` is idempotent, and a claim whose answer was lost is found by
///   [`TaskReader::held_by`](super::TaskReader::held_by).
/// - Leases, due times and order keys use the store's clock only.
/// - The cost of each method depends on the items given and returned, not on the backlog.
/// - For every task, versions 1..v have exactly one leaf each.
///
/// # Cancel safety
/// Once polled, a mutation may commit although its future is dropped; sending it again with the same ids is safe.
#[async_trait]
pub trait TaskStore: Send + Sync + 'static {
    /// Stores new tasks. The answers stand in the order of the tasks.
    async fn submit(&self, request: SubmitRequest) -> Result<Vec<Submitted>, StoreError>;

    /// Lanes with claimable work and their first order key, by lane id, after `after`, at most `limit`.
    async fn lanes(&self, after: Option<LaneId>, limit: usize) -> Result<Vec<LaneHead>, StoreError>;

    /// Takes tasks off the heads of lanes, as many as each quota says, and gives them to whom the chooser names.
    ///
    /// A task whose choice names a full scope stays queued and is reported in [`Claimed::full`]. A lane that has no
    /// claimable work gives nothing.
    async fn claim(&self, request: ClaimRequest) -> Result<Claimed, StoreError>;

    /// Applies transitions, each by itself. The answers stand in the order of the transitions.
    ///
    /// A command that ended an attempt and is sent again gets the task as it is now, not `lease_lost`.
    async fn apply(&self, transitions: Vec<Transition>) -> Result<Vec<Result<Task, Refusal>>, StoreError>;

    /// Extends leases and carries progress. No transition, no leaf.
    ///
    /// A holder that is told [`LeaseStatus::Cancelled`] or [`LeaseStatus::Lost`] gives back the slot that the
    /// attempt still held.
    async fn extend(&self, leases: Vec<LeaseRef>) -> Result<Vec<LeaseStatus>, StoreError>;

    /// Does everything that is overdue by the store's clock, in time order, at most `limit` tasks.
    async fn due(&self, limit: usize) -> Result<DueDone, StoreError>;

    /// Deletes tasks that only retention keeps, with their specifications and attempts, at most `retention.limit`,
    /// leaving one audit leaf per tenant that counts them. Audit leaves of the tasks stay.
    ///
    /// What is open stays, and what others wait for or whose attempt holds a slot yet. When the last task of a tenant
    /// goes by [`Purge::Tenant`], its lanes and counters go with it. What [`Purge::Tenant`] and [`Purge::Tasks`] delete
    /// cannot be read from the store's files afterwards.
    async fn purge(&self, retention: Retention) -> Result<usize, StoreError>;
}

/// Tasks to store together.
#[derive(Debug, Clone)]
pub struct SubmitRequest {
    /// The tasks.
    pub tasks: Vec<NewTask>,
    /// Store all or none.
    pub all_or_nothing: bool,
}

/// A task to store.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Its id, chosen by the caller, so that the call can be repeated. An id is never used for another task, not even
    /// after its task was purged: the store forgets it then, and the log would tell two lives as one.
    pub id: TaskId,
    /// The command that submits it.
    pub command: CommandId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Who submits it.
    pub submitter: PrincipalId,
    /// What is asked.
    pub spec: Arc<TaskSpec>,
    /// Under which key a repeat is recognised.
    pub idempotency: Option<Idempotency>,
    /// How many tasks of the tenant may be open, this one included.
    pub open_limit: Option<u64>,
    /// Who and what for the audit log, and what goes outside.
    pub effects: Effects,
}

/// Recognises a repeated submission. Scope: tenant and submitter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key that the submitter chose.
    pub key: String,
    /// The fingerprint of the submission's content: the same key with another content is a conflict.
    pub fingerprint: Digest,
}

/// What became of a submitted task.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// It is stored now.
    Stored(Box<Task>),
    /// It was stored before: same task id, or same idempotency key and fingerprint.
    Known(TaskId),
    /// The idempotency key was used for another content, by this task.
    Conflict(TaskId),
    /// It was not stored.
    Refused(SubmitRefusal),
}

/// Why a task was not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubmitRefusal {
    /// The tenant has as many open tasks as it may have.
    #[error("the tenant has {open} open tasks and may have {limit}")]
    BacklogFull {
        /// Open tasks.
        open: u64,
        /// The limit.
        limit: u64,
    },
    /// A prerequisite does not exist in the tenant.
    #[error("the prerequisite `{0}` does not exist")]
    UnknownPrerequisite(TaskId),
    /// Prerequisites of the submitted tasks form a cycle.
    #[error("the prerequisites of the submitted tasks form a cycle through `{0}`")]
    Cycle(TaskId),
    /// The deadline has passed by the store's clock. A repeat is known although its deadline has passed meanwhile.
    #[error("the deadline {0} has passed")]
    DeadlinePassed(Timestamp),
    /// Another task of an all-or-nothing submit was refused.
    #[error("another task of the same all-or-nothing submit was refused")]
    NeighbourRefused,
}

/// The head of a lane with claimable work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneHead {
    /// The lane.
    pub lane: LaneId,
    /// Its full name.
    pub key: LaneKey,
    /// The order key of its first task.
    pub first: OrderKey,
}

/// What to take off which lanes.
#[derive(Clone)]
pub struct ClaimRequest {
    /// Quotas in the order in which they are served.
    pub lanes: Vec<LaneQuota>,
    /// Chooses who gets each task.
    pub chooser: Arc<dyn Chooser>,
    /// Names the claim: the commands of its assignments are derived from it.
    pub command: CommandId,
    /// Who and what for the audit log.
    pub effects: Effects,
}

impl std::fmt::Debug for ClaimRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClaimRequest")
            .field("lanes", &self.lanes)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// How many tasks to take off a lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneQuota {
    /// The lane.
    pub lane: LaneId,
    /// At most so many.
    pub take: u32,
}

/// Chooses holders for candidates. Called once per claim, inside the store's transaction, with candidates that no
/// other claimer holds. It must not block, and its answer may be dropped.
pub trait Chooser: Send + Sync {
    /// One answer per candidate, in order; `None` leaves the task in its lane.
    fn choose(&self, candidates: &[Candidate], now: Timestamp) -> Vec<Option<Choice>>;
}

/// A task that could be assigned.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The task.
    pub task: TaskId,
    /// Its lane.
    pub lane: LaneId,
    /// The lane's name: tenant, band, what is to be done.
    pub key: Arc<LaneKey>,
    /// How urgent it is.
    pub priority: Priority,
    /// Attempts made so far.
    pub attempts: u16,
    /// Agents to avoid while others can do it.
    pub avoid: Vec<AgentId>,
    /// When it must have ended.
    pub deadline: Option<Timestamp>,
    /// How long an attempt may run.
    pub attempt_timeout: Duration,
    /// What an attempt may use.
    pub budget: Budget,
}

/// Who gets a task.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The holder.
    pub to: Holder,
    /// Whether the holder has taken it already (a pulling agent's claim is its own acknowledgement).
    pub acknowledged: bool,
    /// What the lease takes up, with the limit of each scope.
    pub loads: Vec<(Scope, u32)>,
    /// Why; none for review work.
    pub decision: Option<Arc<Decision>>,
}

/// What is counted while leases are open.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The slots of an agent.
    Agent(AgentId),
    /// The review slots of a node.
    Node(NodeId),
    /// The running tasks of a tenant.
    Tenant(TenantId),
    /// The running tasks of one kind in a tenant.
    TenantKind(TenantId, TaskKind),
}

/// The outcome of a claim.
#[derive(Debug, Clone, Default)]
pub struct Claimed {
    /// What was assigned, in the order in which it was taken.
    pub assigned: Vec<Assignment>,
    /// Tasks whose choice named a full scope.
    pub full: Vec<(TaskId, Scope)>,
    /// What is at the heads of the asked lanes now.
    pub heads: Vec<(LaneId, Option<OrderKey>)>,
}

/// A task with its new lease.
#[derive(Debug, Clone)]
pub struct Assignment {
    /// The task and what is asked.
    pub stored: StoredTask,
    /// Who has it now.
    pub to: Holder,
    /// The fencing token.
    pub fence: Fence,
}

/// One transition of one task.
#[derive(Debug, Clone)]
pub struct Transition {
    /// Names the mutation, so that it can be repeated.
    pub command: CommandId,
    /// The task.
    pub task: TaskId,
    /// Its tenant: a task of another tenant is not found.
    pub tenant: TenantId,
    /// What must hold for it to be applied.
    pub expect: Expect,
    /// What to do.
    pub action: Command,
    /// Who and what for the audit log, and what goes outside.
    pub effects: Effects,
}

/// What else commits with a mutation.
#[derive(Debug, Clone, Default)]
pub struct Effects {
    /// The caller's part of the audit record.
    pub record: RecordDraft,
    /// What must reach somebody outside.
    pub outbox: Vec<NewOutboxEntry>,
}

impl Effects {
    /// Effects that consist of a record only.
    pub fn of(record: RecordDraft) -> Self {
        Self {
            record,
            outbox: Vec::new(),
        }
    }
}

/// An outbox entry to write.
#[derive(Debug, Clone, PartialEq)]
pub struct NewOutboxEntry {
    /// Its id.
    pub id: OutboxId,
    /// Which deliverer takes it.
    pub topic: String,
    /// The tenant that it tells of, and the task, so that it goes when they are erased.
    pub about: Option<(TenantId, Option<TaskId>)>,
    /// What to deliver.
    pub body: Json,
}

/// A lease to extend.
#[derive(Debug, Clone)]
pub struct LeaseRef {
    /// The task.
    pub task: TaskId,
    /// Its tenant.
    pub tenant: TenantId,
    /// The token.
    pub fence: Fence,
    /// Who says that it holds the lease.
    pub holder: Holder,
    /// What the agent tells, if it does; the time in it is replaced by the store's.
    pub progress: Option<Progress>,
    /// What it has used so far, if it tells.
    pub usage: Option<Usage>,
    /// The limits that are not enforced for the attempt, when that is told: see
    /// [`OpenAttempt::not_enforced`](crate::model::OpenAttempt::not_enforced).
    pub not_enforced: Option<Vec<String>>,
}

/// What became of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseStatus {
    /// It is held until then.
    Held {
        /// By the store's clock.
        until: Timestamp,
    },
    /// What was told is above the budget: the caller ends the task with [`Command::Exceed`].
    OverBudget {
        /// Which part of it.
        part: &'static str,
    },
    /// The task was ended while this holder had it: stop.
    Cancelled,
    /// Somebody else may have the task: stop, and do not report.
    Lost,
}

/// What `due` did.
#[derive(Debug, Clone, Default)]
pub struct DueDone {
    /// Tasks that changed.
    pub changed: Vec<(TaskId, TenantId)>,
    /// How many overdue tasks were handled; as many as the limit means that there may be more.
    pub handled: usize,
    /// The next moment at which something will be due.
    pub next: Option<Timestamp>,
}

/// What may be deleted.
#[derive(Debug, Clone)]
pub struct Retention {
    /// Which tasks.
    pub which: Purge,
    /// Tasks with an idempotency key that were submitted at this moment or later stay: a repeat of their submission must
    /// find them.
    pub keyed_before: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
    /// Who and what for the audit log.
    pub effects: Effects,
}

/// Which tasks may be deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purge {
    /// Those that closed before, those that closed first before others.
    ClosedBefore(Timestamp),
    /// Every closed task of a tenant, by id.
    Tenant(TenantId),
    /// These of a tenant, if they are closed.
    Tasks(TenantId, Vec<TaskId>),
}
