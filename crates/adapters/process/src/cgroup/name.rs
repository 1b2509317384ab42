//! Names of groups: they tell which process made the group, so that what a dead one left is recognised.

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::processes::Row;

/// What the names of our groups begin with.
const PREFIX: &str = "arbiter-";

/// A process that makes groups. Its number alone would be another's one day, and means another process in another
/// namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Maker {
    pid: i32,
    /// When it was started, in ticks since the machine was (proc_pid_stat(5)).
    started: u64,
    /// The number of its namespace of processes (namespaces(7)).
    namespace: u64,
}

impl Maker {
    /// This process, if /proc shows it.
    pub(super) fn this() -> Option<Self> {
        let namespace = std::fs::read_link("/proc/self/ns/pid").ok()?;
        let namespace = namespace.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?;
        let pid = Pid::this().as_raw();
        Some(Self {
            pid,
            started: Row::of(pid)?.started,
            namespace: namespace.parse().ok()?,
        })
    }

    pub(super) const fn pid(&self) -> i32 {
        self.pid
    }

    /// The name of its group for an attempt.
    pub(super) fn name(&self, attempt: &str) -> String {
        let Self {
            pid,
            started,
            namespace,
        } = self;
        format!("{PREFIX}{pid}-{started}-{namespace}-{attempt}")
    }

    /// Who made the group of this name; nobody we know when it is not one of ours.
    pub(super) fn of(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix(PREFIX)?.splitn(4, '-');
        let maker = Self {
            pid: parts.next()?.parse().ok().filter(|pid| *pid > 0)?,
            started: parts.next()?.parse().ok()?,
            namespace: parts.next()?.parse().ok()?,
        };
        parts
            .next()
            .is_some_and(|attempt| !attempt.is_empty())
            .then_some(maker)
    }

    /// Whether `self`, which lives, can be sure that the other one is dead. About other namespaces nobody can.
    pub(super) fn knows_dead(&self, other: &Self) -> bool {
        if other.namespace != self.namespace {
            return false;
        }
        if kill(Pid::from_raw(other.pid), None) == Err(Errno::ESRCH) {
            return true;
        }
        // A process that /proc hides from us may live.
        Row::of(other.pid).is_some_and(|row| row.dead || row.started != other.started)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_foreign_ones_are_nobodys() {
        let this = Maker::this().expect("this process");
        assert_eq!(Maker::of(&this.name("attempt-x")), Some(this));
        for foreign in [
            "arbiter-1-2-3",
            "arbiter-1-2-3-",
            "arbiter-x-2-3-a",
            "arbiter-0-2-3-a",
            "arbiter--1-2-3-a",
            "arbiter.service",
            "other-1-2-3-a",
        ] {
            assert_eq!(Maker::of(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn only_the_certainly_dead_are_dead() {
        let this = Maker::this().expect("this process");
        assert!(!this.knows_dead(&this));
        let reused = Maker {
            started: this.started + 1,
            ..this
        };
        assert!(this.knows_dead(&reused));
        let elsewhere = Maker {
            namespace: this.namespace + 1,
            ..reused
        };
        assert!(!this.knows_dead(&elsewhere));
        // Above the largest number of a process that Linux gives (proc_sys_kernel(5), pid_max).
        let gone = Maker {
            pid: i32::MAX,
            ..this
        };
        assert!(this.knows_dead(&gone));
    }
}
