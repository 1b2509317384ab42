//! The control group of one attempt.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::ports::Clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::files::{counter, number, processes, put, remove, tree};
use super::home::{Home, Version};

/// How long a group may stay busy after its processes were killed.
const EMPTY_WITHIN: Duration = Duration::from_secs(2);
/// How often its removal is tried.
const TRY_EVERY: Duration = Duration::from_millis(5);

/// How far below its limit a group may be refused memory: the kernel asks for up to 64 pages at once
/// (`MEMCG_CHARGE_BATCH`).
const BATCH_BYTES: u64 = 64 * 4_096;

/// What a group holds its processes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) memory_bytes: u64,
    pub(crate) threads: u32,
}

/// Groups that were still busy when they were to be removed.
#[derive(Debug, Default)]
pub(super) struct Left(Mutex<Vec<PathBuf>>);

impl Left {
    /// Tries again.
    pub(super) fn remove(&self) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|group| remove(group).is_err());
    }

    fn add(&self, group: &Path) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.push(group.to_path_buf());
    }
}

/// A control group with limits. Dropping it removes it, at once or, while it is busy, before the next one is made.
#[derive(Debug)]
pub(crate) struct Group {
    version: Version,
    memory: PathBuf,
    pids: PathBuf,
    bounds: Bounds,
    left: Arc<Left>,
}

impl Group {
    /// Makes the group `name` and sets its limits.
    pub(super) fn make(home: &Home, name: &str, bounds: Bounds, left: &Arc<Left>) -> Result<Self, String> {
        left.remove();
        let group = Self::named(home, name, bounds, left);
        for folder in group.folders() {
            std::fs::create_dir(folder).map_err(|error| {
                let within = folder.parent().unwrap_or(folder);
                format!("no group can be made in `{}`: {error}", within.display())
            })?;
        }
        group.limit()?;
        Ok(group)
    }

    /// The group `name`, which somebody has made.
    pub(super) fn named(home: &Home, name: &str, bounds: Bounds, left: &Arc<Left>) -> Self {
        Self {
            version: home.version,
            memory: home.memory.join(name),
            pids: home.pids.join(name),
            bounds,
            left: Arc::clone(left),
        }
    }

    /// Sets the limits. Files: "Control Group v2" of the kernel's documentation, "Memory Interface Files" and "PID
    /// Interface Files"; for version 1 "Memory Resource Controller" and "Process Number Controller".
    fn limit(&self) -> Result<(), String> {
        let bytes = self.bounds.memory_bytes.to_string();
        let (memory, where_there) = match self.version {
            // No swap, as memory that went there would count for nothing. All processes end together.
            Version::V2 => (
                "memory.max",
                vec![("memory.swap.max", "0"), ("memory.oom.group", "1")],
            ),
            // Memory and swap together: not below the limit of memory, so it comes after that.
            Version::V1 => (
                "memory.limit_in_bytes",
                vec![("memory.memsw.limit_in_bytes", bytes.as_str())],
            ),
        };
        put(&self.memory.join(memory), &bytes)?;
        for (file, value) in where_there {
            let file = self.memory.join(file);
            if file.exists() {
                put(&file, value)?;
            }
        }
        put(&self.pids.join("pids.max"), &self.bounds.threads.to_string())?;
        // Without these counters nobody could tell why processes were killed (version 1 before Linux 4.13).
        if self.killed_for_memory().is_none() {
            return Err(format!(
                "`{}` does not tell of memory",
                self.memory.join(self.memory_events()).display()
            ));
        }
        Ok(())
    }

    /// The files through which a process joins.
    pub(crate) fn doors(&self) -> Vec<PathBuf> {
        let folders = self.folders().into_iter();
        folders.map(|folder| folder.join("cgroup.procs")).collect()
    }

    /// The processes in it.
    pub(crate) fn members(&self) -> BTreeSet<i32> {
        let folders = self.folders().into_iter().flat_map(tree);
        folders.flat_map(|folder| processes(&folder)).collect()
    }

    /// The processes whose memory it holds to its limit.
    pub(crate) fn held_in_memory(&self) -> BTreeSet<i32> {
        let folders = tree(&self.memory).into_iter();
        folders.flat_map(|folder| processes(&folder)).collect()
    }

    /// Whether processes were killed because it had no more memory. Those that were killed because the whole machine,
    /// or a group around this one, had none do not count.
    pub(crate) fn is_over_memory(&self) -> bool {
        let reached = match self.version {
            Version::V2 => {
                counter(&self.memory.join(self.memory_events()), "oom").is_some_and(|count| count > 0)
            }
            // The counts of failures are not kept by every kernel for memory and swap together.
            Version::V1 => ["memory.max_usage_in_bytes", "memory.memsw.max_usage_in_bytes"]
                .iter()
                .filter_map(|file| number(&self.memory.join(file)))
                .any(|most| most.saturating_add(BATCH_BYTES) >= self.bounds.memory_bytes),
        };
        reached && self.killed_for_memory().is_some_and(|count| count > 0)
    }

    fn killed_for_memory(&self) -> Option<u64> {
        counter(&self.memory.join(self.memory_events()), "oom_kill")
    }

    const fn memory_events(&self) -> &str {
        match self.version {
            Version::V1 => "memory.oom_control",
            Version::V2 => "memory.events",
        }
    }

    /// Whether it was refused a process or thread because it had as many as it may. Some kernels count here what a
    /// group around this one refused; where the most that it had is told (`pids.peak`, Linux 6.1), that is left out.
    pub(crate) fn is_over_threads(&self) -> bool {
        let refused = counter(&self.pids.join("pids.events"), "max").is_some_and(|count| count > 0);
        let full =
            number(&self.pids.join("pids.peak")).is_none_or(|most| most >= u64::from(self.bounds.threads));
        refused && full
    }

    /// Kills everything in it.
    pub(crate) fn kill(&self) {
        // Linux 5.14 and later; of all groups in it too, whatever they fork meanwhile.
        if self.version == Version::V2 && put(&self.pids.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        // What can start nothing more cannot outrun the signals.
        for folder in tree(&self.pids) {
            let _left = put(&folder.join("pids.max"), "0");
        }
        for process in self.members() {
            if process != Pid::this().as_raw() {
                let _gone = kill(Pid::from_raw(process), Signal::SIGKILL);
            }
        }
    }

    /// Kills everything in it and removes it. Gives whether it is gone.
    pub(crate) async fn end(self, clock: &dyn Clock) -> bool {
        let until = clock.monotonic() + EMPTY_WITHIN;
        loop {
            self.kill();
            let gone = self.remove();
            if gone || clock.monotonic() >= until {
                return gone;
            }
            clock.sleep_until(clock.monotonic() + TRY_EVERY).await;
        }
    }

    fn remove(&self) -> bool {
        // Each is tried, also when another is busy.
        let left = self
            .folders()
            .into_iter()
            .filter(|folder| remove(folder).is_err());
        left.count() == 0
    }

    fn folders(&self) -> Vec<&Path> {
        let mut folders = vec![self.memory.as_path(), self.pids.as_path()];
        folders.dedup();
        folders
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for folder in self.folders() {
            if remove(folder).is_err() {
                self.left.add(folder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A group whose files the kernel would have made.
    fn group(version: Version, files: &[(&str, &str)]) -> (tempfile::TempDir, Group) {
        let folder = tempfile::tempdir().expect("folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("file");
        }
        let group = Group {
            version,
            memory: folder.path().into(),
            pids: folder.path().into(),
            bounds: Bounds {
                memory_bytes: 1 << 20,
                threads: 8,
            },
            left: Arc::default(),
        };
        (folder, group)
    }

    fn read(folder: &tempfile::TempDir, name: &str) -> String {
        fs::read_to_string(folder.path().join(name)).expect("file")
    }

    #[test]
    fn limits_of_version_2_are_set() {
        let files = [
            ("memory.max", ""),
            ("memory.swap.max", ""),
            ("memory.oom.group", ""),
            ("pids.max", ""),
            ("memory.events", "oom 0\noom_kill 0\n"),
        ];
        let (folder, group_2) = group(Version::V2, &files);
        assert_eq!(group_2.limit(), Ok(()));
        for (name, value) in [
            ("memory.max", "1048576"),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "1"),
            ("pids.max", "8"),
        ] {
            assert_eq!(read(&folder, name), value, "{name}");
        }
        // Without swap and without killing together, but not without the rest.
        let there = |missing: &str| {
            let files: Vec<_> = files.into_iter().filter(|(name, _)| *name != missing).collect();
            group(Version::V2, &files).1.limit()
        };
        for (missing, works) in [
            ("memory.swap.max", true),
            ("memory.oom.group", true),
            ("memory.max", false),
            ("pids.max", false),
            ("memory.events", false),
        ] {
            assert_eq!(there(missing).is_ok(), works, "{missing}");
        }
    }

    #[test]
    fn limits_of_version_1_are_set() {
        let (folder, group) = group(
            Version::V1,
            &[
                ("memory.limit_in_bytes", ""),
                ("memory.memsw.limit_in_bytes", ""),
                (
                    "memory.oom_control",
                    "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
                ),
                ("pids.max", ""),
            ],
        );
        assert_eq!(group.limit(), Ok(()));
        for name in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] {
            assert_eq!(read(&folder, name), "1048576", "{name}");
        }
        assert_eq!(read(&folder, "pids.max"), "8");
    }

    #[test]
    fn members_of_version_1_may_be_held_in_one_hierarchy_only() {
        let (_memory, mut group_1) = group(Version::V1, &[("cgroup.procs", "12\n")]);
        let (pids, _other) = group(Version::V1, &[("cgroup.procs", "12\n13\n")]);
        group_1.pids = pids.path().into();
        assert_eq!(group_1.members(), [12, 13].into());
        assert_eq!(group_1.held_in_memory(), [12].into());
        assert_eq!(group_1.doors().len(), 2);
    }

    #[test]
    fn only_its_own_lack_of_memory_counts() {
        let over = |version, files: &[(&str, &str)]| group(version, files).1.is_over_memory();
        let events = |text| over(Version::V2, &[("memory.events", text)]);
        assert!(events("oom 1\noom_kill 1\n"));
        assert!(!events("oom 1\noom_kill 0\n"));
        // A group around it, or the machine.
        assert!(!events("oom 0\noom_kill 1\n"));
        let most = |text| ("memory.max_usage_in_bytes", text);
        let most_with_swap = |text| ("memory.memsw.max_usage_in_bytes", text);
        let killed = ("memory.oom_control", "oom_kill 1\n");
        assert!(over(Version::V1, &[killed, most("1048576\n")]));
        assert!(over(
            Version::V1,
            &[killed, most("4096\n"), most_with_swap("1044480\n")]
        ));
        assert!(!over(
            Version::V1,
            &[killed, most("4096\n"), most_with_swap("4096\n")]
        ));
        // Caches were given up, nothing was killed.
        let spared = ("memory.oom_control", "oom_kill 0\n");
        assert!(!over(Version::V1, &[spared, most("1048576\n")]));
    }

    #[test]
    fn only_its_own_lack_of_processes_counts() {
        let over = |files: &[(&str, &str)]| group(Version::V2, files).1.is_over_threads();
        let refused = ("pids.events", "max 2\n");
        assert!(over(&[refused]));
        assert!(over(&[refused, ("pids.peak", "8\n")]));
        assert!(!over(&[refused, ("pids.peak", "7\n")]));
        assert!(!over(&[("pids.events", "max 0\n"), ("pids.peak", "8\n")]));
        assert!(!over(&[]));
    }

    #[test]
    fn killing_is_left_to_the_kernel_where_it_can() {
        let (folder, group_2) = group(Version::V2, &[("cgroup.kill", ""), ("pids.max", "8")]);
        group_2.kill();
        assert_eq!(
            (read(&folder, "cgroup.kill"), read(&folder, "pids.max")),
            ("1".to_owned(), "8".to_owned())
        );
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .expect("child");
        let procs = format!("0\n{}\n{}\n", child.id(), std::process::id());
        let (folder, older) = group(Version::V2, &[("cgroup.procs", &procs), ("pids.max", "8")]);
        older.kill();
        assert!(!child.wait().expect("ended").success());
        assert_eq!(read(&folder, "pids.max"), "0");
    }

    #[test]
    fn what_is_busy_is_removed_later() {
        let (folder, group) = group(Version::V2, &[("busy", "")]);
        let left = Arc::clone(&group.left);
        drop(group);
        assert!(folder.path().exists());
        fs::remove_file(folder.path().join("busy")).expect("removed");
        left.remove();
        assert!(!folder.path().exists());
    }
}
