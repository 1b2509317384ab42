//! The operations, by group.

mod agents;
mod artifacts;
mod audit;
mod bulk;
mod erasures;
mod hooks;
mod keys;
mod policies;
mod principals;
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
        .join(bulk::routes())
        .join(work::routes())
        .join(agents::routes())
        .join(routing::routes())
        .join(artifacts::routes())
        .join(hooks::routes())
        .join(schedules::routes())
        .join(principals::routes())
        .join(keys::routes())
        .join(policies::routes())
        .join(audit::routes())
        .join(tenants::routes())
        .join(erasures::routes())
        .join(queue::routes())
        .join(system::routes())
}
