//! Heartbeats: no transition, no record.

use super::Rules;
use super::change::{Change, LoadDelta};
use crate::model::{Fence, Holder, Lease, Progress, State, Task, Timestamp};
use crate::ports::{LeaseRef, LeaseStatus};

/// Extends a lease, or says why it cannot be extended. The change, if any, has no record.
pub fn extend(task: &Task, lease: &LeaseRef, rules: &Rules, now: Timestamp) -> (LeaseStatus, Option<Change>) {
    let Some(open) = task
        .state
        .lease()
        .filter(|open| open.fence == lease.fence && open.holder == lease.holder)
    else {
        let status = match &task.state {
            State::Cancelled => LeaseStatus::Cancelled,
            state if state.is_closed() && task.fence == lease.fence => LeaseStatus::Cancelled,
            _ => LeaseStatus::Lost,
        };
        return (status, settle(task, lease.fence, lease.holder));
    };
    let mut next = task.clone();
    if let (Some(attempt), Some(limits)) = (&mut next.attempt, &lease.not_enforced) {
        attempt.not_enforced = Some(limits.clone());
    }
    if let Some(part) = lease
        .usage
        .and_then(|usage| task.terms.budget.exceeded_by(&usage))
    {
        // Not extended; what was told of the limits is kept, because nothing will be told after it.
        return (LeaseStatus::OverBudget { part }, quietly(task, next));
    }
    let until = match &mut next.state {
        // An assignment is kept by its acknowledgement, not by heartbeats.
        State::Assigned(_) => open.until,
        State::Running(Lease { until, .. })
        | State::Reviewing {
            lease: Some(Lease { until, .. }),
            ..
        } => {
            *until = now.plus(rules.lease).max(*until);
            *until
        }
        _ => return (LeaseStatus::Lost, None),
    };
    if let Some(told) = &lease.progress {
        next.progress = Some(Progress {
            at: now,
            ..told.clone()
        });
    }
    (LeaseStatus::Held { until }, quietly(task, next))
}

/// A change without a record, if there is one.
fn quietly(task: &Task, next: Task) -> Option<Change> {
    (next != *task).then(|| Change {
        next,
        ended: None,
        stage: None,
        loads: Vec::new(),
        record: None,
    })
}

/// Gives back the slot of an attempt that was ended from outside, because its holder has been heard of.
pub fn settle(task: &Task, fence: Fence, holder: Holder) -> Option<Change> {
    let place = task
        .releases
        .iter()
        .position(|release| release.fence == fence && release.holder == holder)?;
    let mut next = task.clone();
    let release = next.releases.remove(place);
    let loads = release
        .loads
        .into_iter()
        .map(|scope| LoadDelta { scope, by: -1 })
        .collect();
    Some(Change {
        next,
        ended: None,
        stage: None,
        loads,
        record: None,
    })
}
