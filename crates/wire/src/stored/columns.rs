//! The columns that indexes and counts over tasks need. All of them follow from the task, in every store alike.

use arbiter_core::model::{Holder, Stage, State, StateName, Task, Timestamp};

/// What a store's indexes see of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskColumns {
    /// Where it can be claimed now.
    pub lane: i64,
    /// Its place in the lane, once it has been claimable.
    pub order_key: Option<i64>,
    /// The code of its state; 0 and 4 can be claimed.
    pub state: i16,
    /// The one next moment at which something must happen, in microseconds.
    pub due_at: Option<i64>,
    /// Who has its lease; see [`holder_key`].
    pub holder: Option<[u8; 17]>,
    /// Since when nothing but retention keeps it, in microseconds.
    pub closed_at: Option<i64>,
}

impl TaskColumns {
    /// The columns of a task.
    pub fn of(task: &Task) -> Self {
        let settled = task.state.is_closed() && task.releases.is_empty() && !task.has_dependants;
        Self {
            lane: task.lane_now().0,
            order_key: task.order_key.map(|key| key.0),
            state: state_code(task),
            due_at: task.due_at().map(Timestamp::as_micros),
            holder: task.state.lease().map(|lease| holder_key(lease.holder)),
            closed_at: settled.then_some(task.changed_at.as_micros()),
        }
    }
}

/// The code of a state. 0 and 4 can be claimed.
fn state_code(task: &Task) -> i16 {
    match (&task.state, task.is_claimable()) {
        (State::Queued { .. }, true) => 0,
        (State::Queued { .. }, false) => 1,
        (State::Assigned(_), _) => 2,
        (State::Running(_), _) => 3,
        (State::Reviewing { .. }, true) => 4,
        (State::Reviewing { .. }, false) => 5,
        (State::Held { .. }, _) => 6,
        (State::Succeeded, _) => 10,
        (State::Failed { .. }, _) => 11,
        (State::Cancelled, _) => 12,
        (State::DeadLettered { .. }, _) => 13,
    }
}

/// Where the open tasks of a tenant are counted: 0 queued, 1 running, 2 reviewing, 3 held, 4 dead; others are not.
pub const fn tally_place(state: &State) -> Option<usize> {
    match state {
        State::Queued { .. } => Some(0),
        State::Assigned(_) | State::Running(_) => Some(1),
        State::Reviewing { .. } => Some(2),
        State::Held { .. } => Some(3),
        State::DeadLettered { .. } => Some(4),
        State::Succeeded | State::Failed { .. } | State::Cancelled => None,
    }
}

/// The codes of a state's name, the lowest and the highest.
pub const fn state_codes(name: StateName) -> (i16, i16) {
    match name {
        StateName::Queued => (0, 1),
        StateName::Assigned => (2, 2),
        StateName::Running => (3, 3),
        StateName::Reviewing => (4, 5),
        StateName::Held => (6, 6),
        StateName::Succeeded => (10, 10),
        StateName::Failed => (11, 11),
        StateName::Cancelled => (12, 12),
        StateName::DeadLettered => (13, 13),
    }
}

/// A holder as it stands in its column: `a` or `n`, then the id of the agent or node.
pub fn holder_key(holder: Holder) -> [u8; 17] {
    let (letter, id) = match &holder {
        Holder::Agent(agent) => (b'a', agent.as_bytes()),
        Holder::Node(node) => (b'n', node.as_bytes()),
    };
    let mut key = [letter; 17];
    key[1..].copy_from_slice(id);
    key
}

/// The code of a review stage, in the order in which they follow each other.
pub const fn stage_code(stage: Stage) -> i16 {
    match stage {
        Stage::Verify => 0,
        Stage::Judge => 1,
        Stage::Comply => 2,
    }
}
