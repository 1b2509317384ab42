//! The operations, by group.

mod agents;
mod artifacts;
mod audit;
mod hooks;
mod routing;
mod system;
mod tasks;
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
        .join(audit::routes())
        .join(system::routes())
}
