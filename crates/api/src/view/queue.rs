//! What is paused, and how many tasks stand where.

use arbiter_queue::traffic::{Pause, PauseTarget, QueueStatus};
use arbiter_wire::http::{PauseView, PauseWord, QueueStatusView, TallyView};

/// How the queue stands for a tenant.
pub fn queue_status(status: &QueueStatus) -> QueueStatusView {
    let tally = status.tally;
    QueueStatusView {
        tenant: status.tenant.to_string(),
        suspended: status.suspended,
        pauses: status.pauses.iter().map(pause).collect(),
        tasks: TallyView {
            open: tally.open,
            queued: tally.queued,
            running: tally.running,
            reviewing: tally.reviewing,
            held: tally.held,
            dead: tally.dead,
        },
    }
}

/// Something that is paused.
pub fn pause(pause: &Pause) -> PauseView {
    let (what, tenant, kind, agent) = match &pause.target {
        PauseTarget::Queue => (PauseWord::Queue, None, None, None),
        PauseTarget::Tenant(tenant) => (PauseWord::Tenant, Some(*tenant), None, None),
        PauseTarget::Kind { kind, tenant } => (PauseWord::Kind, *tenant, Some(kind), None),
        PauseTarget::Agent(agent) => (PauseWord::Agent, None, None, Some(agent)),
    };
    PauseView {
        what,
        tenant: tenant.map(|tenant| tenant.to_string()),
        kind: kind.map(ToString::to_string),
        agent: agent.map(ToString::to_string),
        reason: pause.reason.clone(),
        by: pause.by.map(|by| by.to_string()),
        since: pause.since.to_string(),
    }
}
