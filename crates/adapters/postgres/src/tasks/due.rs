//! What happens without anybody calling: timers, and the ends of prerequisites.

use std::collections::BTreeSet;

use arbiter_core::lifecycle::{Call, Command, Expect, Rules, apply};
use arbiter_core::model::{CommandId, RecordDraft, Task, TaskId, TenantId, Timestamp};
use arbiter_core::ports::DueDone;

use super::dependants::tell_dependants;
use super::flush::nothing;
use super::group::Group;
use super::rows;
use crate::error::Fault;
use crate::number::whole;
use crate::session::get;
use crate::write::Write;

/// Overdue tasks in time order, without those that somebody else is changing.
const OVERDUE: &str = "SELECT status FROM task WHERE due_at <= $1
     ORDER BY due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED";

/// The next moment at which something will be due.
const NEXT_DUE: &str = "SELECT due_at FROM task WHERE due_at IS NOT NULL ORDER BY due_at, id LIMIT 1";

/// How many things one task may have overdue at a time: a deadline, then slots to give back, then its dependants.
const STEPS: usize = 4;

/// Does what is overdue, at most `limit` tasks and `limit` dependants.
pub(super) async fn due(write: &mut Write<'_>, rules: &Rules, limit: usize) -> Result<DueDone, Fault> {
    let mut group = Group::new(rules, write.session.now);
    let now = group.now.as_micros();
    let found = write.session.query(OVERDUE, &[&now, &whole(limit)]).await?;
    let mut overdue = Vec::with_capacity(found.len());
    for row in &found {
        let task = rows::task(row, 0)?;
        overdue.push(task.id);
        group.take([task]);
    }
    let mut done = Done::default();
    let mut open = overdue.clone();
    for _ in 0..STEPS {
        let mut ended = Vec::new();
        let mut next = Vec::new();
        for id in open {
            match step(&mut group, id, &mut done)? {
                Step::Moved => next.push(id),
                Step::HasDependants => ended.push(id),
                Step::Nothing => {}
            }
        }
        if !ended.is_empty() {
            let room = limit.saturating_sub(done.changed.len());
            next.extend(tell_dependants(write, &mut group, &ended, room, &mut done).await?);
        }
        if next.is_empty() {
            break;
        }
        open = next;
    }
    group.flush(write, nothing).await?;
    let next = write.session.query_opt(NEXT_DUE, &[]).await?;
    let next = next.map(|row| get(&row, 0)).transpose()?;
    Ok(DueDone {
        changed: done.changed,
        handled: overdue.len(),
        next: next.map(Timestamp::from_micros),
    })
}

/// The tasks that a call has changed.
#[derive(Debug, Default)]
pub(super) struct Done {
    changed: Vec<(TaskId, TenantId)>,
    seen: BTreeSet<TaskId>,
}

impl Done {
    pub(super) fn note(&mut self, task: &Task) {
        if self.seen.insert(task.id) {
            self.changed.push((task.id, task.tenant));
        }
    }
}

enum Step {
    /// It did one overdue thing; there may be another.
    Moved,
    /// It has ended, and others wait for that.
    HasDependants,
    /// There is nothing overdue.
    Nothing,
}

/// Does one overdue thing.
fn step(group: &mut Group<'_>, id: TaskId, done: &mut Done) -> Result<Step, Fault> {
    let task = group.known(id)?;
    if task.due_at().is_none_or(|at| at > group.now) {
        return Ok(Step::Nothing);
    }
    if task.state.is_closed() && task.has_dependants {
        return Ok(Step::HasDependants);
    }
    let moved = automatic(group, &task, &Command::Due);
    if let Some(task) = &moved {
        done.note(task);
    }
    Ok(moved.map_or(Step::Nothing, |_| Step::Moved))
}

/// Applies a command that nobody asked for; none when it is refused: then there is nothing to do any more.
pub(super) fn automatic(group: &mut Group<'_>, task: &Task, action: &Command) -> Option<Task> {
    let draft = RecordDraft::default();
    let call = Call {
        command: CommandId::for_version(task.id, task.version),
        expect: Expect::Any,
        draft: &draft,
        rules: group.rules,
        now: group.now,
    };
    let change = apply(task, action, call).ok()?;
    Some(group.save(task, change, &[]))
}
