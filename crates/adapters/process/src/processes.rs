//! The processes of an attempt, read from /proc.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use arbiter_core::ports::Clock;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, SysconfVar, sysconf};

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
    pub(crate) memory_bytes: u64,
}

/// The processes of one attempt: the group, descendants of its members, whatever was one of these at an earlier look,
/// and, when they are killed, whatever carries the marker. Dropping it kills them.
#[derive(Debug)]
pub(crate) struct Processes {
    leader: i32,
    variable: Vec<u8>,
    /// Start times by process id: an id that is used again has another one.
    known: BTreeMap<i32, u64>,
}

struct Row {
    dead: bool,
    parent: i32,
    group: i32,
    started: u64,
    pages: u64,
}

impl Processes {
    /// The processes of the group of `leader`, with this value of [`MARKER`].
    pub(crate) fn new(leader: i32, marker: &str) -> Self {
        Self {
            leader,
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
        let members = self.look(&rows);
        let living = members
            .iter()
            .filter_map(|pid| rows.get(pid))
            .filter(|row| !row.dead);
        living.fold(Used::default(), |used, row| Used {
            processes: used.processes + 1,
            memory_bytes: used.memory_bytes.saturating_add(row.pages.saturating_mul(page)),
        })
    }

    /// The members among `rows`, which are known from now on.
    fn look(&mut self, rows: &BTreeMap<i32, Row>) -> BTreeSet<i32> {
        let member = |pid: &i32| {
            let mut pid = *pid;
            // A chain of parents is never longer than the table.
            for _ in 0..=rows.len() {
                let Some(row) = rows.get(&pid) else { return false };
                if row.group == self.leader || self.known.get(&pid) == Some(&row.started) {
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
        let rows = table();
        let members = self.look(&rows);
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

    /// Kills them and waits until they are gone.
    pub(crate) async fn end(mut self, clock: &dyn Clock) {
        let until = clock.monotonic() + GONE_WITHIN;
        while self.kill() && clock.monotonic() < until {
            clock.sleep_until(clock.monotonic() + LOOK_EVERY).await;
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
    pids.filter_map(|pid| Some((pid, row(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?)))
        .collect()
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
            started,
            pages: 1,
        }
    }

    #[test]
    fn names_with_parentheses_do_not_confuse_the_reader() {
        let line =
            "42 (a) b) (c)) S 7 9 9 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 100 1000 55 18446744073709551615";
        let row = row(line).expect("row");
        assert_eq!(
            (row.parent, row.group, row.started, row.pages, row.dead),
            (7, 9, 100, 55, false)
        );
        assert!(super::row(&line.replace(" S ", " Z ")).expect("row").dead);
        assert!(super::row("42 (a").is_none());
    }

    #[test]
    fn members_stay_known_when_they_leave_group_and_parent() {
        let mut processes = Processes::new(10_000_000, "none");
        let group = processes.leader;
        let first = [
            (1, at(0, 1, 0)),
            (20, at(1, group, 5)),
            (21, at(20, 21, 6)),
            (30, at(1, 30, 7)),
        ];
        assert_eq!(processes.look(&first.into()), [20, 21].into());
        // 20 has ended, 21 belongs to init now, and has a child.
        let later = [
            (1, at(0, 1, 0)),
            (21, at(1, 21, 6)),
            (22, at(21, 22, 8)),
            (30, at(1, 30, 7)),
        ];
        assert_eq!(processes.look(&later.into()), [21, 22].into());
        // The number 21 is another process's now.
        assert_eq!(
            processes.look(&[(1, at(0, 1, 0)), (21, at(1, 21, 9))].into()),
            BTreeSet::new()
        );
    }
}
