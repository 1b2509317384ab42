//! The operations, by group.

mod agents;
mod artifacts;
mod audit;
mod bulk;
mod erasures;
mod hooks;
mod policies;
mod principals;
mod queue;
mod routing;
mod schedules;
mod system;
mod tasks;
mod tenants;
mod work;

pub use artifacts::ArtifactReader;
pub use audit::{AuditFilter, Download};
pub use tasks::TaskFilter;

use arbiter_net::Method;

use crate::client::Client;

pub(crate) use tasks::WATCH;

/// An operation: its id (`group.verb`), its method, and its path with the parts that vary in braces.
pub type Operation = (&'static str, Method, &'static str);

/// Every operation that the client has.
pub const OPERATIONS: &[Operation] = &[
    tasks::SUBMIT,
    tasks::SUBMIT_MANY,
    tasks::LIST,
    tasks::GET,
    tasks::ATTEMPTS,
    tasks::EVENTS,
    tasks::WATCH,
    tasks::CANCEL,
    tasks::RETRY,
    tasks::RELEASE,
    tasks::DEAD_LETTER,
    tasks::REQUEUE,
    bulk::CANCEL_MANY,
    bulk::REQUEUE_MANY,
    bulk::PURGE_MANY,
    work::CLAIM,
    work::ACKNOWLEDGE,
    work::HEARTBEAT,
    work::PROGRESS,
    work::REPORT,
    work::FAIL,
    work::DECLINE,
    agents::REGISTER,
    agents::LIST,
    agents::GET,
    agents::REMOVE,
    agents::PERFORMANCE,
    agents::HEARTBEAT,
    agents::MODE,
    agents::CHANGES,
    agents::HEARD,
    agents::GET_MANY,
    agents::HEARTBEATS,
    agents::LEARN,
    agents::REMOVE_SILENT,
    artifacts::PUT,
    artifacts::GET,
    artifacts::DELETE,
    artifacts::LIST,
    artifacts::QUOTA,
    hooks::CREATE,
    hooks::LIST,
    hooks::GET,
    hooks::UPDATE,
    hooks::DELETE,
    hooks::ROTATE,
    hooks::DELIVERIES,
    hooks::REPLAY,
    routing::ROUTE,
    routing::DECISIONS,
    queue::STATUS,
    queue::PAUSE,
    queue::RESUME,
    schedules::CREATE,
    schedules::LIST,
    schedules::PREVIEW,
    schedules::GET,
    schedules::NEXT,
    schedules::UPDATE,
    schedules::DELETE,
    tenants::CREATE,
    tenants::LIST,
    tenants::GET,
    tenants::UPDATE,
    tenants::SUSPEND,
    tenants::RESUME,
    tenants::DELETE,
    erasures::REQUEST,
    erasures::LIST,
    erasures::GET,
    principals::CREATE,
    principals::LIST,
    principals::GET,
    principals::UPDATE,
    principals::KEY_CREATE,
    principals::KEY_LIST,
    principals::KEY_REVOKE,
    principals::KEY_ROTATE,
    policies::GET,
    policies::LIST,
    policies::GET_SET,
    policies::CHECK,
    policies::DIFF,
    policies::ACTIVATE,
    policies::ROLL_BACK,
    audit::QUERY,
    audit::EXPORT,
    audit::HEAD,
    audit::PROOF,
    audit::REDACT,
    audit::CONSISTENCY,
    system::HEALTH,
    system::READY,
    system::STATUS,
    system::BACKUP,
    system::METRICS,
    system::DOCUMENT,
];

impl Client {
    /// Every operation that the client has.
    pub const OPERATIONS: &'static [Operation] = OPERATIONS;
}
