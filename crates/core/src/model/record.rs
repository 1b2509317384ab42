//! Audit records as the domains draft them; crate `arbiter-audit` gives them their canonical form.

use super::task::words;
use super::{Json, Operation, PrincipalId, TenantId, Timestamp, Version};

words! {
    /// What happened, in one word of the audit log.
    AuditAction {
        /// A task was stored.
        Submitted = "submitted",
        /// A submission or a call was refused.
        Rejected = "rejected",
        /// A call was over a rate limit.
        RateLimited = "rate_limited",
        /// Secrets were replaced before anything was stored.
        Sanitized = "sanitized",
        /// Text was marked by the content policy.
        Flagged = "flagged",
        /// An agent was chosen.
        Assigned = "assigned",
        /// The agent took the task.
        Acknowledged = "acknowledged",
        /// The agent told progress (sampled).
        Progressed = "progressed",
        /// The agent handed in its output.
        Reported = "reported",
        /// An attempt failed.
        AttemptFailed = "attempt_failed",
        /// A lease ended without a word of its holder.
        LeaseExpired = "lease_expired",
        /// An attempt was given back.
        Returned = "returned",
        /// A review stage was taken by a node.
        StageStarted = "stage_started",
        /// A review stage passed.
        StagePassed = "stage_passed",
        /// A review stage refused the output.
        StageFailed = "stage_failed",
        /// A review stage could not decide.
        StageUnsure = "stage_unsure",
        /// The backend of a review stage failed.
        StageErrored = "stage_errored",
        /// The task was queued again.
        Retried = "retried",
        /// A waiting task became claimable.
        Readied = "readied",
        /// A prerequisite succeeded.
        PrerequisiteMet = "prerequisite_met",
        /// The task was held for a person.
        Held = "held",
        /// A held task was decided.
        Released = "released",
        /// The task was withdrawn.
        Cancelled = "cancelled",
        /// The task was given up.
        DeadLettered = "dead_lettered",
        /// The task ended.
        Closed = "closed",
        /// A credential was refused.
        AuthenticationFailed = "authentication_failed",
        /// An operation was refused by policy.
        AuthorizationFailed = "authorization_failed",
        /// A lease was refused or lost: a stale fencing token was presented.
        LeaseLost = "lease_lost",
        /// An agent registered or changed its profile.
        AgentRegistered = "agent_registered",
        /// An agent was drained, quarantined or reinstated.
        AgentModeSet = "agent_mode_set",
        /// An agent that was silent for too long was removed.
        AgentRemoved = "agent_removed",
        /// A registry elsewhere is asked to change an agent; how that ended is another record.
        AgentChangeAsked = "agent_change_asked",
        /// A registry elsewhere had nothing to change: it was so already, or there is no such agent.
        AgentChangeVoid = "agent_change_void",
        /// A registry elsewhere was asked to change an agent, and it is not known here whether it did.
        AgentChangeUnknown = "agent_change_unknown",
        /// A document was written.
        DocumentWritten = "document_written",
        /// A key was made.
        KeyCreated = "key_created",
        /// A key was revoked.
        KeyRevoked = "key_revoked",
        /// The key that signs the log was replaced.
        SigningKeyRotated = "signing_key_rotated",
        /// The salted detail of a leaf was removed.
        Redacted = "redacted",
        /// Closed tasks were purged after their retention.
        Purged = "purged",
        /// What was kept about a tenant, a person or a task was erased.
        Erased = "erased",
        /// A backup was taken.
        BackedUp = "backed_up",
        /// A recovery of a component began.
        RecoveryBegan = "recovery_began",
        /// A recovery went on: an action began, or came to an end.
        RecoveryStepped = "recovery_stepped",
        /// A recovery ended.
        RecoveryEnded = "recovery_ended",
        /// An isolated component was given work again.
        Reinstated = "reinstated",
        /// An incident was opened.
        IncidentOpened = "incident_opened",
        /// An incident got worse, or went on.
        IncidentUpdated = "incident_updated",
        /// The next level of an escalation policy is told of an incident.
        IncidentEscalated = "incident_escalated",
        /// Somebody took note of an incident, or works on it.
        IncidentAcknowledged = "incident_acknowledged",
        /// What an incident was about works again.
        IncidentResolved = "incident_resolved",
        /// An incident was looked back on.
        IncidentClosed = "incident_closed",
        /// An agent gets no more tasks of a kind for a while, or none at all.
        AgentRestricted = "agent_restricted",
    }
}

words! {
    /// How it ended.
    RecordOutcome {
        /// It was done.
        Done = "done",
        /// It was refused and changed nothing.
        Refused = "refused",
    }
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// The sort of thing: `task`, `agent`, `key`, `document`, …
    pub kind: &'static str,
    /// Its id; empty when the thing has none.
    pub id: String,
    /// The version that the record made, for things that count their transitions.
    pub version: Option<Version>,
}

impl Resource {
    /// Something without a version.
    pub fn new(kind: &'static str, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
            version: None,
        }
    }
}

/// The caller's part of a record: who, through which operation, and what should be kept beside the leaf.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RecordDraft {
    /// Who acted; none means nobody was authenticated, or the engine itself acted on a timer.
    pub principal: Option<PrincipalId>,
    /// The operation that was called, if one was.
    pub operation: Option<Operation>,
    /// Actions that the caller adds to those of the transition.
    pub actions: Vec<AuditAction>,
    /// The detail, kept beside the leaf with a salt and removable; only its digest is in the leaf.
    pub detail: Option<Json>,
}

impl RecordDraft {
    /// A draft for a principal's call.
    pub fn by(principal: PrincipalId, operation: Operation) -> Self {
        Self {
            principal: Some(principal),
            operation: Some(operation),
            ..Self::default()
        }
    }

    /// The draft with a detail.
    pub fn with_detail(mut self, detail: Json) -> Self {
        self.detail = Some(detail);
        self
    }
}

/// A whole record: what becomes one leaf of the audit log.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// When, by the store's clock.
    pub at: Timestamp,
    /// In which tenant.
    pub tenant: TenantId,
    /// Who.
    pub principal: Option<PrincipalId>,
    /// Through which operation.
    pub operation: Option<Operation>,
    /// What happened, in order; at least one.
    pub actions: Vec<AuditAction>,
    /// To what.
    pub resource: Resource,
    /// How it ended.
    pub outcome: RecordOutcome,
    /// The stable code or reason, if there is one.
    pub reason: Option<&'static str>,
    /// How many equal events the record sums up, where floods are summed.
    pub count: Option<u64>,
    /// The removable detail.
    pub detail: Option<Json>,
}
