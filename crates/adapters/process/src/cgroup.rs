//! Control groups: hard limits of memory and of processes, which hold also between two measurements.
//!
//! The kernel's documentation calls the interfaces "Control Group v2" and "Control Groups version 1". Whether one can
//! be used is tried, not guessed; where none can, memory and processes are measured. No group is touched that is not
//! ours: groups of attempts are made in the group of this process, and a name tells who made it.

mod files;
mod group;
mod home;
mod mounts;
mod name;

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arbiter_core::ports::Clock;
use nix::unistd::Uid;

pub(crate) use self::files::put;
use self::group::Left;
pub(crate) use self::group::{Bounds, Group};
use self::home::{Before, Home, Version};
use self::mounts::Sources;
use self::name::Maker;

/// Limits of the group with which it is tried whether groups work: enough for a shell.
const TRIAL: Bounds = Bounds {
    memory_bytes: 64 << 20,
    threads: 16,
};

/// How memory and processes are held to their limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// By the kernel, with control groups of version 2.
    V2,
    /// By the kernel, with control groups of version 1.
    V1,
    /// By measuring them alone, and why.
    Measured(String),
}

impl std::fmt::Display for Mode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::V2 => "cgroup v2",
            Self::V1 => "cgroup v1",
            Self::Measured(_) => "measured every 100 ms",
        })
    }
}

/// The control groups that this process makes for attempts.
#[derive(Debug)]
pub struct Groups {
    mode: Mode,
    /// Where they are made, and by whom.
    place: Option<(Home, Maker)>,
    left: Arc<Left>,
    /// Whether it was told that a group could not be made.
    told: AtomicBool,
}

impl Groups {
    /// Finds out whether this process can make groups. In a delegated group of version 2 in which it is alone, the
    /// process moves into the leaf `node`, as the kernel wants it.
    pub fn find() -> Self {
        Self::among(&Sources::read(), true)
    }

    /// None: memory and processes are measured.
    pub fn off() -> Self {
        Self::measured("control groups are switched off (exec.cgroup)".to_owned())
    }

    /// What [`find`](Self::find) would find. The process stays where it is.
    pub fn look() -> Mode {
        Self::among(&Sources::read(), false).mode
    }

    /// How memory and processes are held to their limits.
    pub const fn mode(&self) -> &Mode {
        &self.mode
    }

    fn measured(why: String) -> Self {
        Self {
            mode: Mode::Measured(why),
            place: None,
            left: Arc::default(),
            told: AtomicBool::default(),
        }
    }

    fn among(sources: &Sources, may_move: bool) -> Self {
        let Some(maker) = Maker::this() else {
            return Self::measured("/proc does not show this process".to_owned());
        };
        let unified = Home::unified(sources, maker.pid()).and_then(|(home, before)| {
            // What needs a move is believed by those that only look.
            if before == Before::Nothing || may_move {
                home.prepare(before, maker.pid())?;
                try_out(&home, &maker)?;
            }
            Ok(home)
        });
        let found = unified.or_else(|of_2| {
            let separate = Home::separate(sources).and_then(|home| {
                try_out(&home, &maker)?;
                Ok(home)
            });
            separate.map_err(|of_1| format!("version 2: {of_2}; version 1: {of_1}"))
        });
        match found {
            Ok(home) => Self {
                mode: match home.version {
                    Version::V1 => Mode::V1,
                    Version::V2 => Mode::V2,
                },
                place: Some((home, maker)),
                left: Arc::default(),
                told: AtomicBool::default(),
            },
            Err(why) => Self::measured(why),
        }
    }

    /// A group for an attempt. None where groups do not work: then the attempt is measured.
    pub(crate) fn make(&self, bounds: Bounds, attempt: &str) -> Option<Group> {
        let (home, maker) = self.place.as_ref()?;
        match Group::make(home, &maker.name(attempt), bounds, &self.left) {
            Ok(group) => Some(group),
            Err(why) => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        event = "control_group_failed",
                        why,
                        "an attempt has no control group: its memory and processes are measured; this is told once"
                    );
                }
                None
            }
        }
    }

    /// Kills what is in groups whose makers are dead, and removes them. Gives how many.
    pub async fn sweep(&self, clock: &dyn Clock) -> usize {
        let Some((home, maker)) = &self.place else {
            return 0;
        };
        let folders = home.folders().into_iter();
        let names: BTreeSet<String> = folders.flat_map(|folder| dead(folder, maker)).collect();
        let mut removed = 0;
        for name in names {
            let group = Group::named(home, &name, TRIAL, &self.left);
            removed += usize::from(group.end(clock).await);
        }
        removed
    }
}

/// The names of groups in a folder whose makers are dead.
fn dead(folder: &Path, this: &Maker) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| {
        let data = entry.metadata().ok()?;
        let ours = data.is_dir() && data.uid() == Uid::effective().as_raw();
        entry.file_name().into_string().ok().filter(|_| ours)
    });
    names
        .filter(|name| Maker::of(name).is_some_and(|maker| this.knows_dead(&maker)))
        .collect()
}

/// Makes a group, has a shell join it, and removes it.
fn try_out(home: &Home, maker: &Maker) -> Result<(), String> {
    static TRIALS: AtomicU64 = AtomicU64::new(0);
    let trial = format!("trial-{}", TRIALS.fetch_add(1, Ordering::Relaxed));
    let group = Group::make(home, &maker.name(&trial), TRIAL, &Arc::default())?;
    join_as_shell(&group.doors())
}

/// Starts a shell that joins through the doors, as the launcher would.
fn join_as_shell(doors: &[PathBuf]) -> Result<(), String> {
    let joined = Command::new("/bin/sh")
        .args(["-c", "for door; do echo $$ > \"$door\" || exit; done", "sh"])
        .args(doors)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("no shell can be started to try it out: {error}"))?;
    if joined.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&joined.stderr);
    Err(format!("a process cannot join a group: {}", told.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version_1(memory: &str, pids: &str) -> Sources {
        Sources {
            mountinfo: format!(
                "35 31 0:32 / {memory} rw - cgroup cgroup rw,memory\n39 31 0:36 / {pids} rw - cgroup cgroup rw,pids\n"
            ),
            cgroup: "8:pids:/\n4:memory:/\n".to_owned(),
        }
    }

    fn why(groups: &Groups) -> &str {
        match groups.mode() {
            Mode::Measured(why) => why,
            mode => panic!("{mode}"),
        }
    }

    #[test]
    fn without_control_groups_we_measure_and_say_why() {
        let groups = Groups::among(&Sources::default(), true);
        let told = why(&groups);
        assert!(
            told.contains("version 2: ") && told.contains("version 1: "),
            "{told}"
        );
        assert!(groups.make(TRIAL, "attempt-x").is_none());
        assert!(why(&Groups::off()).contains("exec.cgroup"));
    }

    #[test]
    fn a_folder_that_is_no_control_group_is_left_as_it_was() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().display().to_string();
        let groups = Groups::among(&version_1(&path, &path), true);
        assert!(why(&groups).contains("memory.limit_in_bytes"), "{groups:?}");
        assert_eq!(std::fs::read_dir(folder.path()).expect("folder").count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_means_measuring() {
        // Nobody can make folders in /proc/self/fdinfo.
        let groups = Groups::among(&version_1("/proc/self/fdinfo", "/proc/self/fdinfo"), true);
        assert!(
            why(&groups).contains("no group can be made in `/proc"),
            "{groups:?}"
        );
    }

    #[test]
    fn a_place_that_stops_working_fails_no_attempt() {
        let folder = tempfile::tempdir().expect("folder");
        let home = Home {
            version: Version::V2,
            memory: folder.path().join("gone"),
            pids: folder.path().join("gone"),
        };
        let groups = Groups {
            mode: Mode::V2,
            place: Some((home, Maker::this().expect("this process"))),
            left: Arc::default(),
            told: AtomicBool::default(),
        };
        assert!(groups.make(TRIAL, "attempt-x").is_none());
        assert!(groups.told.load(Ordering::Relaxed));
    }

    #[test]
    fn a_group_that_cannot_be_joined_is_noticed() {
        let folder = tempfile::tempdir().expect("folder");
        let open = folder.path().join("cgroup.procs");
        std::fs::write(&open, "").expect("file");
        assert_eq!(join_as_shell(std::slice::from_ref(&open)), Ok(()));
        let joined = std::fs::read_to_string(&open).expect("file");
        assert!(joined.trim().parse::<i32>().is_ok(), "{joined}");
        // The second hierarchy refuses.
        let closed = folder.path().join("gone/cgroup.procs");
        let refused = join_as_shell(&[open, closed]);
        assert!(refused.is_err_and(|why| why.contains("cannot join a group: ")));
    }

    #[test]
    fn only_groups_of_the_dead_are_named() {
        let folder = tempfile::tempdir().expect("folder");
        let this = Maker::this().expect("this process");
        let mine = this.name("attempt-x");
        let gone = mine.replacen(&this.pid().to_string(), &i32::MAX.to_string(), 1);
        for name in [mine.as_str(), &gone, "foreign", "arbiter-1-2-3-attempt-x"] {
            std::fs::create_dir(folder.path().join(name)).expect("folder");
        }
        assert_eq!(dead(folder.path(), &this), [gone]);
    }
}
