//! Where control groups are mounted, and in which one this process is.

use std::path::{Component, Path, PathBuf};

/// What the kernel says about this process: /proc/self/mountinfo (proc_pid_mountinfo(5)) and /proc/self/cgroup
/// (cgroups(7)).
#[derive(Debug, Clone, Default)]
pub(super) struct Sources {
    pub(super) mountinfo: String,
    pub(super) cgroup: String,
}

/// This process's group in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Where the hierarchy is mounted.
    pub(super) mount: PathBuf,
    /// The folder of the group, the same as `mount` or below it.
    pub(super) own: PathBuf,
}

impl Sources {
    /// What it says now. Files that cannot be read say nothing.
    pub(super) fn read() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            mountinfo: read("/proc/self/mountinfo"),
            cgroup: read("/proc/self/cgroup"),
        }
    }

    /// This process's group in the hierarchy of version 2.
    pub(super) fn unified(&self) -> Option<Place> {
        let path = self.cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
        self.place(path, |mount| mount.kind == "cgroup2")
    }

    /// This process's group in the hierarchy of version 1 that has the controller.
    pub(super) fn controller(&self, name: &str) -> Option<Place> {
        let path = self.cgroup.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|one| one == name).then_some(path)
        })?;
        self.place(path, |mount| {
            mount.kind == "cgroup" && mount.options.split(',').any(|one| one == name)
        })
    }

    fn place(&self, path: &str, wanted: impl Fn(&Mount<'_>) -> bool) -> Option<Place> {
        let mounts = self.mountinfo.lines().filter_map(Mount::parse);
        mounts.filter(wanted).find_map(|mount| mount.place(path))
    }
}

struct Mount<'a> {
    /// Which group of the hierarchy is seen at `point`.
    root: PathBuf,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let mut right = right.split(' ');
        Some(Self {
            root: plain(left.next()?),
            point: plain(left.next()?),
            kind: right.next()?,
            options: right.nth(1)?,
        })
    }

    /// Where the group `path` is seen, if it is. A path that leads out of this process's namespace begins with `/..`.
    fn place(&self, path: &str) -> Option<Place> {
        let inner = Path::new(path).strip_prefix(&self.root).ok()?;
        let below = inner
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        // Joining nothing would put a slash at the end.
        let own = if inner.as_os_str().is_empty() {
            self.point.clone()
        } else {
            self.point.join(inner)
        };
        below.then(|| Place {
            mount: self.point.clone(),
            own,
        })
    }
}

/// A path of mountinfo, in which blanks and backslashes are written as a backslash and three octal digits.
fn plain(text: &str) -> PathBuf {
    let mut parts = text.split('\\');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) if code.is_ascii() => {
                path.push(char::from(code));
                path.push_str(rest);
            }
            _ => {
                path.push('\\');
                path.push_str(part);
            }
        }
    }
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(mountinfo: &str, cgroup: &str) -> Sources {
        Sources {
            mountinfo: mountinfo.to_owned(),
            cgroup: cgroup.to_owned(),
        }
    }

    fn place(mount: &str, own: &str) -> Place {
        Place {
            mount: mount.into(),
            own: own.into(),
        }
    }

    #[test]
    fn a_pure_version_2_is_found() {
        let found = sources(
            "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
             30 24 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n",
            "0::/system.slice/arbiter.service\n",
        );
        let own = "/sys/fs/cgroup/system.slice/arbiter.service";
        assert_eq!(found.unified(), Some(place("/sys/fs/cgroup", own)));
        assert_eq!(found.controller("memory"), None);
    }

    #[test]
    fn both_versions_beside_each_other_are_found() {
        let found = sources(
            "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             39 31 0:36 / /sys/fs/cgroup/cpu,pids rw - cgroup cgroup rw,cpu,pids\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            "9:name=systemd:/\n8:cpu,pids:/\n4:memory:/a/b:c\n0::/\n",
        );
        assert_eq!(
            found.unified(),
            Some(place("/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified"))
        );
        assert_eq!(
            found.controller("memory"),
            Some(place("/sys/fs/cgroup/memory", "/sys/fs/cgroup/memory/a/b:c"))
        );
        assert_eq!(
            found.controller("pids"),
            Some(place("/sys/fs/cgroup/cpu,pids", "/sys/fs/cgroup/cpu,pids"))
        );
        assert_eq!(found.controller("pid"), None);
    }

    #[test]
    fn a_mount_that_shows_a_part_shows_what_lies_in_it() {
        let mountinfo = "30 24 0:26 /docker/abc /sys/fs/a\\040cgroup ro - cgroup2 cgroup rw\n";
        let own = |path: &str| sources(mountinfo, &format!("0::{path}\n")).unified();
        assert_eq!(
            own("/docker/abc/x"),
            Some(place("/sys/fs/a cgroup", "/sys/fs/a cgroup/x"))
        );
        for outside in ["/docker/abcd", "/", "/../x", "/docker/abc/../x"] {
            assert_eq!(own(outside), None, "{outside}");
        }
        assert_eq!(sources(mountinfo, "").unified(), None);
        assert_eq!(sources("30 24 nonsense\n", "0::/\n").unified(), None);
    }
}
