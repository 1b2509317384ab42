//! The vocabulary: ids, value types, tasks, agents, principals, records.

mod agent;
mod attempt;
mod decision;
mod digest;
mod failure;
mod ids;
mod incident;
mod json;
mod kind;
mod lane;
mod numbers;
mod principal;
mod record;
mod review;
mod spec;
mod task;
mod telemetry;
mod time;

pub use agent::{
    AgentBeat, AgentCost, AgentMode, AgentProfile, AgentRecord, AgentSeen, Capabilities, Health,
    InvalidProfile, OutcomeDelta, RegisteredAgent, Transport,
};
pub use attempt::{Attempt, AttemptEnd, Failure, FailureClass, OpenAttempt, Progress, Release, Report};
pub use decision::{Alternative, Decision, ScorePart};
pub use digest::{Digest, InvalidDigest};
pub use failure::{
    ComponentFailure, ComponentName, Diagnostics, FailureKind, Impact, InvalidComponent, Severity,
};
pub use ids::{
    AgentId, BatchId, CommandId, DecisionId, ErasureId, Fence, HookId, IncidentId, InvalidId, LaneId, NodeId,
    OperationId, OrderKey, OutboxId, PrincipalId, ScheduleId, SilenceId, TaskId, TenantId, Version,
};
pub use incident::{IncidentState, IncidentSummary};
pub use json::{InvalidJson, Json};
pub use kind::{InvalidKind, TaskKind};
pub use lane::{LaneKey, Shape, Work};
pub use numbers::{Band, OutOfRange, Priority, Ratio};
pub use principal::{Operation, Principal, PrincipalKind, Role, Target, TenantScope};
pub use record::{AuditAction, Record, RecordDraft, RecordOutcome, Resource};
pub use review::{StageOutcome, StageReport};
pub use spec::{
    ArtifactRef, Budget, CompliancePlan, Constraints, InvalidTraceContext, OnPrerequisiteFailure, Requires,
    ReviewPlan, SecurityLevel, Stage, TaskSpec, TraceContext, Usage, VerificationPlan,
};
pub(crate) use task::words as task_words;
pub use task::{
    DeadReason, FailReason, HoldReason, Holder, Lease, Resume, State, StateName, StoredTask, Task, Terms,
    Wait,
};
pub use telemetry::{Bucket, InvalidSample, Labels, Sample, SeriesKey};
pub use time::{InvalidTime, Timestamp};
