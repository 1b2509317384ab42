//! The operations, by group.

mod agents;
mod artifacts;
mod audit;
mod hooks;
mod queue;
mod routing;
mod schedules;
mod system;
mod tasks;
mod tenants;
mod watch;
mod work;

use crate::routes::Routes;

/// Every operation.
pub(crate) fn all() -> Routes {
    tasks::routes()
        .join(work::routes())
        .join(agents::routes())
        .join(routing::routes())
        .join(artifacts::routes())
        .join(hooks::routes())
        .join(schedules::routes())
        .join(audit::routes())
        .join(tenants::routes())
        .join(queue::routes())
        .join(system::routes())
}
