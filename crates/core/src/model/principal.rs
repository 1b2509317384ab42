//! Who acts, and what may be done.

use std::collections::BTreeSet;

use super::task::words;
use super::{AgentId, Band, PrincipalId, SecurityLevel, TaskId, TaskKind, TenantId};

words! {
    /// The sort of a principal.
    PrincipalKind {
        /// A person.
        User = "user",
        /// An agent.
        Agent = "agent",
        /// Another program.
        Service = "service",
    }
}

words! {
    /// A role. What each may do by default is the table in `docs/authorization.md`.
    Role {
        /// Submits tasks and follows its own.
        Submitter = "submitter",
        /// Works on what it was assigned.
        Agent = "agent",
        /// Decides held tasks, waivers, appeals.
        Reviewer = "reviewer",
        /// Runs one tenant.
        Operator = "operator",
        /// Reads everything of its tenant, changes nothing.
        Auditor = "auditor",
        /// Runs all tenants.
        Admin = "admin",
        /// Another control plane whose registry of agents this one is. It counts in the system's own tenant only.
        Peer = "peer",
    }
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Its id; the only thing of it that enters the audit log.
    pub id: PrincipalId,
    /// Where it belongs.
    pub tenant: TenantId,
    /// What sort it is.
    pub kind: PrincipalKind,
    /// Its roles in that tenant.
    pub roles: BTreeSet<Role>,
    /// The agent that it is, for [`PrincipalKind::Agent`].
    pub agent: Option<AgentId>,
    /// The kinds of tasks that it may submit, where that differs from its tenant's.
    pub kinds: Option<BTreeSet<TaskKind>>,
    /// The highest band that it may use.
    pub highest_band: Band,
}

impl Principal {
    /// Whether it belongs to no single tenant: an agent that serves all of them has its principal in the system's own.
    pub fn is_shared(&self) -> bool {
        self.tenant == TenantId::SYSTEM
    }
}

words! {
    /// An operation that is authorised: `group.verb`, the same word in policies, interfaces and audit records.
    Operation {
        /// Submit one task or many.
        TaskSubmit = "task.submit",
        /// Read a task.
        TaskGet = "task.get",
        /// List tasks.
        TaskList = "task.list",
        /// Follow a task as it goes.
        TaskWatch = "task.watch",
        /// Withdraw a task.
        TaskCancel = "task.cancel",
        /// Requeue a failed task.
        TaskRetry = "task.retry",
        /// Decide a held task.
        TaskRelease = "task.release",
        /// Move a task to the dead letters.
        TaskDeadLetter = "task.dead_letter",
        /// Requeue a dead letter.
        TaskRequeue = "task.requeue",
        /// Withdraw every task that a filter finds.
        TaskCancelMany = "task.cancel_many",
        /// Requeue every failed task or dead letter that a filter finds.
        TaskRequeueMany = "task.requeue_many",
        /// Delete every closed task that a filter finds.
        TaskPurgeMany = "task.purge_many",
        /// Take work.
        WorkClaim = "work.claim",
        /// Acknowledge an assignment.
        WorkAcknowledge = "work.acknowledge",
        /// Extend leases.
        WorkHeartbeat = "work.heartbeat",
        /// Tell progress.
        WorkProgress = "work.progress",
        /// Hand in an output.
        WorkReport = "work.report",
        /// Report a failed attempt.
        WorkFail = "work.fail",
        /// Give an assignment back.
        WorkDecline = "work.decline",
        /// Register an agent.
        AgentRegister = "agent.register",
        /// Read agents.
        AgentList = "agent.list",
        /// Drain, quarantine or reinstate an agent.
        AgentMode = "agent.mode",
        /// Tell that an agent is alive.
        AgentHeartbeat = "agent.heartbeat",
        /// Remove an agent.
        AgentRemove = "agent.remove",
        /// Tell how attempts of agents ended.
        AgentLearn = "agent.learn",
        /// Ask which agent a task would get, and why.
        RoutingRoute = "routing.route",
        /// Read the decisions that were taken.
        RoutingDecisions = "routing.decisions",
        /// Read an artifact.
        ArtifactGet = "artifact.get",
        /// Store an artifact.
        ArtifactPut = "artifact.put",
        /// List artifacts and their quota.
        ArtifactList = "artifact.list",
        /// Delete an artifact.
        ArtifactDelete = "artifact.delete",
        /// Make a schedule.
        ScheduleCreate = "schedule.create",
        /// Read schedules.
        ScheduleList = "schedule.list",
        /// Change, pause or resume a schedule.
        ScheduleUpdate = "schedule.update",
        /// Delete a schedule.
        ScheduleDelete = "schedule.delete",
        /// Make a webhook.
        HookCreate = "hook.create",
        /// Read webhooks and their deliveries.
        HookList = "hook.list",
        /// Change, pause or resume a webhook, or give it a new secret.
        HookUpdate = "hook.update",
        /// Delete a webhook.
        HookDelete = "hook.delete",
        /// Deliver an event again.
        HookReplay = "hook.replay",
        /// Read audit records.
        AuditQuery = "audit.query",
        /// Export the audit log.
        AuditExport = "audit.export",
        /// Take proofs and heads of the audit log.
        AuditProof = "audit.proof",
        /// Rotate the key that signs the audit log.
        AuditRotate = "audit.rotate",
        /// Remove the detail of an audit record.
        AuditRedact = "audit.redact",
        /// Make a key.
        KeyCreate = "key.create",
        /// List keys.
        KeyList = "key.list",
        /// Revoke a key.
        KeyRevoke = "key.revoke",
        /// Make a tenant.
        TenantCreate = "tenant.create",
        /// Read tenants.
        TenantList = "tenant.list",
        /// Change a tenant's weight or limits, suspend or resume it.
        TenantUpdate = "tenant.update",
        /// Delete a tenant with all its data.
        TenantDelete = "tenant.delete",
        /// Erase what was kept about one person or task.
        TenantErase = "tenant.erase",
        /// Make a principal.
        PrincipalCreate = "principal.create",
        /// Read principals.
        PrincipalList = "principal.list",
        /// Change, disable or enable a principal.
        PrincipalUpdate = "principal.update",
        /// Read policies, and check or compare new ones.
        PolicyRead = "policy.read",
        /// Put other policies into force.
        PolicyActivate = "policy.activate",
        /// Pause the queue, a tenant, a kind or an agent.
        QueuePause = "queue.pause",
        /// Resume what was paused.
        QueueResume = "queue.resume",
        /// Read what is paused, and the counts of tasks.
        QueueStatus = "queue.status",
        /// Read the state of the node and its services.
        SystemStatus = "system.status",
        /// Take a backup.
        SystemBackup = "system.backup",
    }
}

/// What an operation is done to, as far as a decision depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// The tenant that owns it.
    pub tenant: Option<TenantId>,
    /// The task.
    pub task: Option<TaskId>,
    /// Who submitted the task.
    pub submitter: Option<PrincipalId>,
    /// The agent that the operation is about.
    pub agent: Option<AgentId>,
    /// The agent that holds the task's lease.
    pub holder: Option<AgentId>,
    /// The band that is asked for.
    pub band: Option<Band>,
    /// The security level of the task.
    pub security: Option<SecurityLevel>,
}

impl Target {
    /// Something that belongs to `tenant`.
    pub fn of(tenant: TenantId) -> Self {
        Self {
            tenant: Some(tenant),
            ..Self::default()
        }
    }
}

/// Which tenants' data a read may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TenantScope {
    /// One tenant's.
    Tenant(TenantId),
    /// Every tenant's: for the engine itself and for administrators.
    All,
}

impl TenantScope {
    /// Whether data of `tenant` may be seen.
    pub fn covers(self, tenant: TenantId) -> bool {
        match self {
            Self::All => true,
            Self::Tenant(own) => own == tenant,
        }
    }
}
