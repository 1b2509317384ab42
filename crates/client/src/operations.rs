//! The operations, by group.

mod agents;
mod artifacts;
mod audit;
mod hooks;
mod queue;
mod schedules;
mod system;
mod tasks;
mod tenants;
mod work;

pub use artifacts::ArtifactReader;
pub use audit::AuditFilter;
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
    tasks::WATCH,
    tasks::CANCEL,
    tasks::RETRY,
    tasks::RELEASE,
    tasks::DEAD_LETTER,
    tasks::REQUEUE,
    work::CLAIM,
    work::ACKNOWLEDGE,
    work::HEARTBEAT,
    work::REPORT,
    work::FAIL,
    work::DECLINE,
    agents::REGISTER,
    agents::LIST,
    agents::GET,
    agents::HEARTBEAT,
    agents::MODE,
    artifacts::PUT,
    artifacts::GET,
    artifacts::DELETE,
    hooks::CREATE,
    hooks::LIST,
    hooks::GET,
    hooks::UPDATE,
    hooks::DELETE,
    hooks::ROTATE,
    hooks::DELIVERIES,
    hooks::REPLAY,
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
    audit::QUERY,
    audit::HEAD,
    audit::PROOF,
    audit::CONSISTENCY,
    system::HEALTH,
    system::READY,
    system::METRICS,
    system::DOCUMENT,
];

impl Client {
    /// Every operation that the client has.
    pub const OPERATIONS: &'static [Operation] = OPERATIONS;
}
