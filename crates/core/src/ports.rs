//! What the domains need from outside. One port per file; each trait's documentation is its contract, and each
//! sentence there has a case in the contract suite of `arbiter-testkit`.

mod access;
mod agent_registry;
mod agent_transport;
mod artifact_store;
mod audit_log;
mod documents;
mod error;
mod hook_transport;
mod incident_notifier;
mod infrastructure;
mod lease_store;
mod measurements;
mod metrics;
mod outbox;
mod policy_engine;
mod rate_limiter;
mod signer;
mod spec_codec;
mod system;
mod task_reader;
mod task_store;
mod telemetry_store;
mod wakeups;

pub use access::{
    AuthenticationError, Authenticator, AuthorizationError, Authorizer, ClientCertificate, Credential,
    Identity, IdentityProvider, Verdict,
};
pub use agent_registry::{
    AgentChanges, AgentPage, AgentQuery, AgentRegistry, AgentsHeard, HeardFrom, OUTCOMES_KEPT, Registered,
    RegistryError, Revision,
};
pub use agent_transport::{
    AgentTransport, ContextItem, Delivered, Delivery, ProgressSink, StopSignal, TransportError,
};
pub use artifact_store::{
    ArtifactError, ArtifactPage, ArtifactStore, ArtifactUsage, ByteSource, Bytes, Stored,
};
pub use audit_log::{
    AuditDetail, AuditEntry, AuditLog, AuditPage, AuditQuery, AuditTree, Seal, SealSubject, Sealed, TreeHead,
};
pub use documents::{
    Clearance, Cleared, Document, DocumentContent, DocumentError, DocumentKey, DocumentQuery, DocumentWrite,
    Documents, Precondition,
};
pub use error::{Applied, BoxError, Retry, StoreError};
pub use hook_transport::{HookAnswer, HookEndpoint, HookMessage, HookTransport, HookTrouble};
pub use incident_notifier::{
    IncidentNotice, IncidentNotifier, MAX_ANSWER_BYTES, NoticeStep, Notified, NotifyError,
};
pub use infrastructure::{
    ComponentHealth, InfrastructureController, InfrastructureError, OperationRequest, OperationState,
    OperationStatus, Verb, VerbName,
};
pub use lease_store::{LeaseStore, Turn};
pub use measurements::{Measurements, Reading};
pub use metrics::{Metrics, NoMetrics};
pub use outbox::{Outbox, OutboxEntry};
pub use policy_engine::{NamedPolicy, PolicyEngine, PolicyFile, PolicyProblem, PolicyProblems};
pub use rate_limiter::{Draw, Drawn, RateLimiter};
pub use signer::{SignError, Signer};
pub use spec_codec::SpecCodec;
pub use system::{BoxFuture, Clock, Ended, Entropy, IdSource, Spawner, TaskHandle};
pub use task_reader::{Tally, TaskHistory, TaskPage, TaskQuery, TaskReader};
pub use task_store::{
    Assignment, Candidate, Choice, Chooser, ClaimRequest, Claimed, DueDone, Effects, Idempotency, LaneHead,
    LaneQuota, LeaseRef, LeaseStatus, NewOutboxEntry, NewTask, Purge, Retention, Scope, SubmitRefusal,
    SubmitRequest, Submitted, TaskStore, Transition,
};
pub use telemetry_store::{
    Compaction, InvalidQuery, MAX_POINTS, MAX_SAMPLES, MAX_SERIES, RangeQuery, Recorded, Series,
    TelemetryError, TelemetryStore,
};
pub use wakeups::{Hint, HintStream, Wakeups};
