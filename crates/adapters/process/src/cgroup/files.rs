//! Reading and writing the files of a control group.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Writes a file that the kernel has made. A file that is not there is not made: it would limit nothing.
pub(crate) fn put(path: &Path, value: &str) -> Result<(), String> {
    let written = OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(value.as_bytes()));
    written.map_err(|error| format!("`{}` cannot be set to `{value}`: {error}", path.display()))
}

/// The words of a file; none when it cannot be read.
pub(super) fn words(path: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// The number that stands alone in a file.
pub(super) fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number after a name in a file of lines `name number`.
pub(super) fn counter(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value?.trim().parse().ok()
}

/// The processes of one group, without those of groups in it. The kernel writes 0 for processes of other namespaces.
pub(super) fn processes(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let pids = text.lines().filter_map(|line| line.parse().ok());
    pids.filter(|pid| *pid > 0).collect()
}

/// A group and the groups in it, the inner ones first.
pub(super) fn tree(group: &Path) -> Vec<PathBuf> {
    let inner = fs::read_dir(group).into_iter().flatten().flatten();
    let inner = inner.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut all: Vec<PathBuf> = inner.flat_map(|entry| tree(&entry.path())).collect();
    all.push(group.to_path_buf());
    all
}

/// Removes a group and the groups in it, which the kernel allows when no process is left in them.
pub(super) fn remove(group: &Path) -> io::Result<()> {
    for one in tree(group) {
        match fs::remove_dir(&one) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_group_are_read() {
        let group = tempfile::tempdir().expect("folder");
        let path = |name: &str| group.path().join(name);
        std::fs::write(path("memory.events"), "low 0\noom 2\noom_kill 1\n").expect("file");
        std::fs::write(path("cgroup.procs"), "0\n12\n13\n").expect("file");
        std::fs::write(path("cgroup.controllers"), "cpu memory\n").expect("file");
        std::fs::write(path("pids.peak"), "7\n").expect("file");
        assert_eq!(counter(&path("memory.events"), "oom"), Some(2));
        assert_eq!(counter(&path("memory.events"), "oom_kill"), Some(1));
        assert_eq!(counter(&path("memory.events"), "max"), None);
        assert_eq!(counter(&path("absent"), "oom"), None);
        assert_eq!(processes(group.path()), [12, 13]);
        assert!(words(&path("cgroup.controllers")).contains("memory"));
        assert_eq!(number(&path("pids.peak")), Some(7));
    }

    #[test]
    fn what_the_kernel_has_not_made_is_not_made() {
        let group = tempfile::tempdir().expect("folder");
        let path = group.path().join("pids.max");
        assert!(put(&path, "8").is_err_and(|why| why.contains("pids.max")));
        assert!(!path.exists());
        std::fs::write(&path, "max").expect("file");
        assert_eq!(put(&path, "8"), Ok(()));
    }
}
