//! Telling those that wait for a task how it ended.

use std::collections::BTreeSet;

use arbiter_core::lifecycle::Command;
use arbiter_core::model::{State, TaskId};
use uuid::Uuid;

use super::due::{Done, automatic};
use super::group::Group;
use super::rows;
use crate::error::Fault;
use crate::number::whole;
use crate::session::{get, id_bytes, uuid};
use crate::write::Write;

/// Who waits for tasks, by the tasks' order, and whether it exists yet: it may have been purged.
const WAITING: &str = "SELECT p.id, d.dependant, EXISTS (SELECT FROM task WHERE id = d.dependant)
     FROM unnest($1::uuid[]) WITH ORDINALITY AS p (id, place)
     CROSS JOIN LATERAL (
       SELECT dependant FROM dependency WHERE prerequisite = p.id ORDER BY dependant LIMIT $2) AS d
     ORDER BY p.place, d.dependant LIMIT $2";

/// Tells at most `room` of those that wait for ended tasks; gives the tasks for which nobody waits any more.
///
/// A dependant that somebody else is changing is left for the next call: waiting for it here, with other tasks locked,
/// could go round in a circle.
pub(super) async fn tell_dependants(
    write: &Write<'_>,
    group: &mut Group<'_>,
    ended: &[TaskId],
    room: usize,
    done: &mut Done,
) -> Result<Vec<TaskId>, Fault> {
    let ids: Vec<Uuid> = ended.iter().map(|id| uuid(id.as_bytes())).collect();
    let asked = whole(room.saturating_add(1));
    let rows = write.session.query(WAITING, &[&ids, &asked]).await?;
    let mut waiting = Vec::with_capacity(rows.len());
    for row in &rows {
        let prerequisite = TaskId::from_bytes(id_bytes(row, 0)?);
        let dependant = TaskId::from_bytes(id_bytes(row, 1)?);
        waiting.push((prerequisite, dependant, get::<bool>(row, 2)?));
    }
    // the first that there is no room for: it and what follows are left
    let cut = waiting.get(room).map(|(prerequisite, ..)| *prerequisite);
    waiting.truncate(room);
    let dependants = waiting.iter().filter(|(.., exists)| *exists);
    let free = rows::lock_free(&write.session, dependants.map(|(_, dependant, _)| *dependant)).await?;
    let mut left = BTreeSet::new();
    let mut told = Vec::new();
    for (prerequisite, dependant, exists) in waiting {
        if exists && !free.contains_key(&dependant) {
            left.insert(prerequisite);
        } else {
            told.push((prerequisite, dependant));
        }
    }
    group.take(free.into_values());
    for (prerequisite, dependant) in told {
        group.told.insert((prerequisite, dependant));
        tell(group, prerequisite, dependant, done)?;
    }
    let mut settled = Vec::new();
    let mut is_cut = false;
    for id in ended {
        is_cut |= cut == Some(*id);
        if !is_cut && !left.contains(id) {
            group.mark_awaited(*id, false);
            settled.push(*id);
        }
    }
    Ok(settled)
}

fn tell(
    group: &mut Group<'_>,
    prerequisite: TaskId,
    dependant: TaskId,
    done: &mut Done,
) -> Result<(), Fault> {
    let prerequisite = group.known(prerequisite)?;
    let Some(waiting) = group.find_in(prerequisite.tenant, dependant).cloned() else {
        return Ok(());
    };
    let action = Command::Prerequisite {
        id: prerequisite.id,
        succeeded: prerequisite.state == State::Succeeded,
    };
    // refused when the dependant was cancelled or held meanwhile: nothing to tell then
    if let Some(task) = automatic(group, &waiting, &action) {
        done.note(&task);
    }
    Ok(())
}
