//! Where groups for attempts can be made, and what must be done before.

use std::path::{Path, PathBuf};

use super::files::{processes, put, words};
use super::mounts::{Place, Sources};

/// The group into which a process moves that has its own divided, and from whose name it is known again. The same as
/// `DelegateSubgroup=` in our unit.
const LEAF: &str = "node";
/// The controllers that we need.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// The version of the kernel's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V2,
}

/// The folders in which groups are made: the same one twice where one hierarchy has both controllers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) version: Version,
    pub(super) memory: PathBuf,
    pub(super) pids: PathBuf,
}

/// What must be done before groups can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    /// Controllers must be given to the groups in the home.
    Give,
    /// We must leave the home for a leaf in it, because a group whose controllers are given to groups in it has no
    /// processes of its own ("no internal process constraint"); then controllers can be given.
    Leave,
}

impl Home {
    /// The home in the hierarchy of version 2, or why there is none.
    pub(super) fn unified(sources: &Sources, pid: i32) -> Result<(Self, Before), String> {
        let place = sources
            .unified()
            .ok_or("this process's group of version 2 is not mounted")?;
        let Place { mount, own } = &place;
        let leaf = own.file_name().is_some_and(|name| name == LEAF);
        let (home, before) = match own.parent().filter(|_| leaf && own != mount) {
            Some(parent) if gives(parent) => (parent, Before::Nothing),
            Some(parent) if has(parent) && processes(parent).is_empty() => (parent, Before::Give),
            _ if gives(own) => (own.as_path(), Before::Nothing),
            _ if !has(own) => {
                return Err(format!(
                    "the controllers memory and pids are not delegated to `{}`",
                    own.display()
                ));
            }
            // The root group has no type. It is not ours to change.
            _ if !own.join("cgroup.type").exists() => {
                return Err("the root group does not give its controllers memory and pids".to_owned());
            }
            _ if processes(own) != [pid] => {
                return Err(format!(
                    "other processes are in `{}`, so it cannot be divided",
                    own.display()
                ));
            }
            _ => (own.as_path(), Before::Leave),
        };
        let home = Self {
            version: Version::V2,
            memory: home.to_path_buf(),
            pids: home.to_path_buf(),
        };
        Ok((home, before))
    }

    /// The home in the hierarchies of version 1, or why there is none.
    pub(super) fn separate(sources: &Sources) -> Result<Self, String> {
        let own = |controller: &str| {
            let place = sources.controller(controller);
            let place =
                place.ok_or_else(|| format!("the controller {controller} of version 1 is not mounted"));
            place.map(|place| place.own)
        };
        Ok(Self {
            version: Version::V1,
            memory: own("memory")?,
            pids: own("pids")?,
        })
    }

    /// Does what must be done before groups can be made. When that fails, everything is as it was.
    pub(super) fn prepare(&self, before: Before, pid: i32) -> Result<(), String> {
        let give = || put(&self.pids.join("cgroup.subtree_control"), "+memory +pids");
        match before {
            Before::Nothing => Ok(()),
            Before::Give => give(),
            Before::Leave => {
                let leaf = self.pids.join(LEAF);
                // It may be there from an earlier process.
                let _made = std::fs::create_dir(&leaf);
                let left = put(&leaf.join("cgroup.procs"), &pid.to_string()).and_then(|()| give());
                if left.is_err() {
                    let _back = put(&self.pids.join("cgroup.procs"), &pid.to_string());
                    let _removed = std::fs::remove_dir(&leaf);
                }
                left
            }
        }
    }

    /// The folders, each once.
    pub(super) fn folders(&self) -> Vec<&Path> {
        let mut folders = vec![self.memory.as_path(), self.pids.as_path()];
        folders.dedup();
        folders
    }
}

/// Whether a group has our controllers.
fn has(group: &Path) -> bool {
    let there = words(&group.join("cgroup.controllers"));
    CONTROLLERS.iter().all(|one| there.contains(*one))
}

/// Whether a group gives our controllers to the groups in it.
fn gives(group: &Path) -> bool {
    let given = words(&group.join("cgroup.subtree_control"));
    CONTROLLERS.iter().all(|one| given.contains(*one))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A tree as the kernel would show it, with this process in `own`.
    struct Tree {
        folder: tempfile::TempDir,
        sources: Sources,
    }

    const PID: i32 = 7;

    fn tree(own: &str) -> Tree {
        let folder = tempfile::tempdir().expect("folder");
        let sources = Sources {
            mountinfo: format!(
                "30 24 0:26 / {} rw - cgroup2 cgroup2 rw\n",
                folder.path().display()
            ),
            cgroup: format!("0::{own}\n"),
        };
        Tree { folder, sources }
    }

    impl Tree {
        fn group(self, path: &str, controllers: &str, given: &str, processes: &str) -> Self {
            let group = self.path(path);
            fs::create_dir_all(&group).expect("group");
            let files = [
                ("cgroup.controllers", controllers),
                ("cgroup.subtree_control", given),
                ("cgroup.procs", processes),
                ("cgroup.type", "domain"),
            ];
            for (name, text) in files {
                fs::write(group.join(name), text).expect("file");
            }
            self
        }

        fn path(&self, path: &str) -> PathBuf {
            self.folder.path().join(path.trim_start_matches('/'))
        }

        fn home(&self) -> Result<(PathBuf, Before), String> {
            let (home, before) = Home::unified(&self.sources, PID)?;
            assert_eq!(home.folders(), [home.pids.as_path()]);
            Ok((home.pids, before))
        }
    }

    const BOTH: &str = "cpu memory pids";

    #[test]
    fn a_group_that_gives_its_controllers_is_a_home() {
        let tree = tree("/s").group("s", BOTH, "memory pids", "");
        assert_eq!(tree.home(), Ok((tree.path("s"), Before::Nothing)));
    }

    #[test]
    fn a_delegated_unit_is_divided_when_we_are_alone_in_it() {
        let alone = tree("/s").group("s", BOTH, "", "7\n");
        assert_eq!(alone.home(), Ok((alone.path("s"), Before::Leave)));
        let shared = tree("/s").group("s", BOTH, "cpu", "7\n8\n");
        assert!(shared.home().is_err_and(|why| why.contains("other processes")));
        let without = tree("/s").group("s", "cpu pids", "", "7\n");
        assert!(without.home().is_err_and(|why| why.contains("not delegated")));
    }

    #[test]
    fn from_the_leaf_the_group_around_it_is_the_home() {
        let divided =
            tree("/s/node")
                .group("s", BOTH, "memory pids", "")
                .group("s/node", "memory pids", "", "7\n");
        assert_eq!(divided.home(), Ok((divided.path("s"), Before::Nothing)));
        let fresh = tree("/s/node")
            .group("s", BOTH, "", "")
            .group("s/node", "", "", "7\n");
        assert_eq!(fresh.home(), Ok((fresh.path("s"), Before::Give)));
        // A group of that name whose parent is not delegated.
        let other = tree("/s/node")
            .group("s", BOTH, "", "9\n")
            .group("s/node", "", "", "7\n");
        assert!(other.home().is_err());
    }

    #[test]
    fn the_root_group_is_not_changed() {
        let root = tree("/").group("/", BOTH, "", "7\n");
        fs::remove_file(root.path("cgroup.type")).expect("removed");
        assert!(root.home().is_err_and(|why| why.contains("root group")));
        let given = root.group("/", BOTH, "memory pids", "7\n");
        assert_eq!(given.home(), Ok((given.path("/"), Before::Nothing)));
    }

    #[test]
    fn leaving_writes_what_the_kernel_reads() {
        let tree = tree("/s").group("s", BOTH, "", "7\n").group("s/node", "", "", "");
        let (home, before) = Home::unified(&tree.sources, PID).expect("home");
        home.prepare(before, PID).expect("prepared");
        let read = |path: &str| fs::read_to_string(tree.path(path)).expect("file");
        assert_eq!(read("s/node/cgroup.procs"), "7");
        assert_eq!(read("s/cgroup.subtree_control"), "+memory +pids");
    }

    #[test]
    fn leaving_in_vain_leaves_everything_as_it_was() {
        let tree = tree("/s").group("s", BOTH, "", "7\n");
        let (home, before) = Home::unified(&tree.sources, PID).expect("home");
        // The leaf that is made has no files: nobody is the kernel here.
        assert!(
            home.prepare(before, PID)
                .is_err_and(|why| why.contains("cgroup.procs"))
        );
        assert!(!tree.path("s/node").exists());
        let read = fs::read_to_string(tree.path("s/cgroup.subtree_control"));
        assert_eq!(read.expect("file"), "");
    }

    #[test]
    fn version_1_needs_both_controllers() {
        let mut sources = Sources {
            mountinfo: "35 31 0:32 / /c/memory rw - cgroup cgroup rw,memory\n\
                        39 31 0:36 / /c/pids rw - cgroup cgroup rw,pids\n"
                .to_owned(),
            cgroup: "8:pids:/\n4:memory:/a\n".to_owned(),
        };
        let home = Home::separate(&sources).expect("home");
        assert_eq!(home.folders(), [Path::new("/c/memory/a"), Path::new("/c/pids")]);
        sources.cgroup = "4:memory:/a\n".to_owned();
        assert!(Home::separate(&sources).is_err_and(|why| why.contains("pids")));
    }
}
