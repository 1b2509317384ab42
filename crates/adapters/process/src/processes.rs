//! The processes of an attempt, read from /proc.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use arbiter_core::ports::Clock;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::cgroup::Group;

/// The variable by which processes that left the group are still found.
pub(crate) const MARKER: &str = "ARBITER_ATTEMPT";

/// How long killed processes are waited for; one that the kernel keeps in a call may take longer.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// How often it is looked whether they are gone.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What the processes of an attempt use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Used {
    pub(crate) processes: u32,
    /// Threads of all of them; each has one at least.
    pub(crate) threads: u32,
    /// Of those that no control group holds to a limit.
    pub(crate) memory_bytes: u64,
}

/// The processes of one attempt: those of its process group and of its control group, their descendants, whatever was
/// one of these at an earlier look, and, when they are killed, whatever carries the marker. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Processes {
    leader: i32,
    control: Option<Group>,
    variable: Vec<u8>,
    /// Start times by process id: an id that is used again has another one.
    known: BTreeMap<i32, u64>,
}

/// What /proc says about a process.
pub(crate) struct Row {
    pub(crate) dead: bool,
    parent: i32,
    group: i32,
    threads: u32,
    /// When it was started, in ticks since the machine was.
    pub(crate) started: u64,
    pages: u64,
}

impl Row {
    /// The row of a process that /proc shows.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        row(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }
}

impl Processes {
    /// The processes of the group of `leader` and of the control group, with this value of [`MARKER`].
    pub(crate) fn new(leader: i32, marker: &str, control: Option<Group>) -> Self {
        Self {
            leader,
            control,
            variable: format!("{MARKER}={marker}").into_bytes(),
            known: BTreeMap::new(),
        }
    }

    /// Sends a signal to the group. A group that is gone is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        let _gone = killpg(Pid::from_raw(self.leader), signal);
    }

    /// Looks which processes there are and what they use.
    pub(crate) fn measure(&mut self) -> Used {
        let rows = table();
        let page = sysconf(SysconfVar::PAGE_SIZE)
            .ok()
            .flatten()
            .and_then(|size| u64::try_from(size).ok());
        let page = page.unwrap_or(4_096);
        let members = self.look(&rows, &self.inside());
        let held = self.control.as_ref().map(Group::held_in_memory);
        let held = held.unwrap_or_default();
        let living = members
            .iter()
            .filter_map(|pid| Some((pid, rows.get(pid)?)))
            .filter(|(_, row)| !row.dead);
        living.fold(Used::default(), |used, (pid, row)| {
            let pages = if held.contains(pid) { 0 } else { row.pages };
            Used {
                processes: used.processes + 1,
                threads: used.threads.saturating_add(row.threads),
                memory_bytes: used.memory_bytes.saturating_add(pages.saturating_mul(page)),
            }
        })
    }

    /// The control group, if there is one.
    pub(crate) const fn control(&self) -> Option<&Group> {
        self.control.as_ref()
    }

    /// The processes in the control group.
    fn inside(&self) -> BTreeSet<i32> {
        let mut inside = self.control.as_ref().map(Group::members).unwrap_or_default();
        // It never is; if it were, it must not end itself.
        inside.remove(&Pid::this().as_raw());
        inside
    }

    /// The members among `rows`, which are known from now on.
    fn look(&mut self, rows: &BTreeMap<i32, Row>, inside: &BTreeSet<i32>) -> BTreeSet<i32> {
        let member = |pid: &i32| {
            let mut pid = *pid;
            // A chain of parents is never longer than the table.
            for _ in 0..=rows.len() {
                let Some(row) = rows.get(&pid) else { return false };
                let known = self.known.get(&pid) == Some(&row.started);
                if row.group == self.leader || known || inside.contains(&pid) {
                    return true;
                }
                pid = row.parent;
            }
            false
        };
        let members: BTreeSet<i32> = rows.keys().copied().filter(member).collect();
        self.known = members
            .iter()
            .filter_map(|pid| Some((*pid, rows.get(pid)?.started)))
            .collect();
        members
    }

    /// Kills them once. Gives whether there was a living one.
    pub(crate) fn kill(&mut self) -> bool {
        if let Some(control) = &self.control {
            control.kill();
        }
        let rows = table();
        let members = self.look(&rows, &self.inside());
        if members
            .iter()
            .filter_map(|pid| rows.get(pid))
            .any(|row| row.group == self.leader)
        {
            self.signal(Signal::SIGKILL);
        }
        let mut found = false;
        for (pid, row) in rows.iter().filter(|(_, row)| !row.dead) {
            if members.contains(pid) || self.marked(*pid) {
                found = true;
                self.known.insert(*pid, row.started);
                let _gone = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
        }
        found
    }

    fn marked(&self, pid: i32) -> bool {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment
            .split(|byte| *byte == 0)
            .any(|one| one == self.variable)
    }

    /// Kills them, waits until they are gone, and removes their control group.
    pub(crate) async fn end(mut self, clock: &dyn Clock) {
        let until = clock.monotonic() + GONE_WITHIN;
        while self.kill() && clock.monotonic() < until {
            clock.sleep_until(clock.monotonic() + LOOK_EVERY).await;
        }
        if let Some(control) = self.control.take() {
            control.end(clock).await;
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // A process may have forked between the look and the signal.
        for _ in 0..32 {
            if !self.kill() {
                return;
            }
        }
    }
}

fn table() -> BTreeMap<i32, Row> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter_map(|pid| Some((pid, Row::of(pid)?))).collect()
}

/// Reads a line of /proc/<pid>/stat (proc_pid_stat(5)).
fn row(stat: &str) -> Option<Row> {
    // The command's name stands in parentheses and may hold anything, parentheses included.
    let rest = stat.get(stat.rfind(')')? + 1..)?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    Some(Row {
        dead: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        threads: fields.get(17)?.parse().ok()?,
        started: fields.get(19)?.parse().ok()?,
        pages: fields.get(21)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(parent: i32, group: i32, started: u64) -> Row {
        Row {
            dead: false,
            parent,
            group,
            threads: 1,
            started,
            pages: 1,
        }
    }

    #[test]
    fn names_with_parentheses_do_not_confuse_the_reader() {
        let line =
            "42 (a) b) (c)) S 7 9 9 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 100 1000 55 18446744073709551615";
        let row = row(line).expect("row");
        assert_eq!(
            (
                row.parent,
                row.group,
                row.threads,
                row.started,
                row.pages,
                row.dead
            ),
            (7, 9, 3, 100, 55, false)
        );
        assert!(super::row(&line.replace(" S ", " Z ")).expect("row").dead);
        assert!(super::row("42 (a").is_none());
    }

    #[test]
    fn members_stay_known_when_they_leave_group_and_parent() {
        let mut processes = Processes::new(10_000_000, "none", None);
        let (group, none) = (processes.leader, BTreeSet::new());
        let first = [
            (1, at(0, 1, 0)),
            (20, at(1, group, 5)),
            (21, at(20, 21, 6)),
            (30, at(1, 30, 7)),
        ];
        assert_eq!(processes.look(&first.into(), &none), [20, 21].into());
        // 20 has ended, 21 belongs to init now, and has a child.
        let later = [
            (1, at(0, 1, 0)),
            (21, at(1, 21, 6)),
            (22, at(21, 22, 8)),
            (30, at(1, 30, 7)),
        ];
        assert_eq!(processes.look(&later.into(), &none), [21, 22].into());
        // The number 21 is another process's now.
        assert_eq!(
            processes.look(&[(1, at(0, 1, 0)), (21, at(1, 21, 9))].into(), &none),
            none
        );
        // Whatever is in the control group is a member, and so is what it starts.
        let apart = [(1, at(0, 1, 0)), (40, at(1, 40, 1)), (41, at(40, 41, 2))];
        assert_eq!(processes.look(&apart.into(), &[40].into()), [40, 41].into());
    }
}
