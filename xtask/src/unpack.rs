//! Packages of a Debian-like distribution, unpacked into a folder instead of installed.
//!
//! apt runs with state, cache and package list of its own and with an empty list of installed
//! packages, so that it fetches the whole closure and touches nothing of the system. No root is
//! needed. The C library is left out: the system's own must match its dynamic linker.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::shell;
use crate::workspace::Workspace;

/// Packages whose files must be the system's own.
const LEFT_OUT: &[&str] = &["libc6_", "libc-bin_"];

/// A folder that looks like `/` for the unpacked packages.
#[derive(Debug)]
pub(crate) struct Unpacked {
    /// The folder.
    pub(crate) root: PathBuf,
}

impl Unpacked {
    /// The folders of shared libraries below the root, as `LD_LIBRARY_PATH` wants them.
    pub(crate) fn library_path(&self) -> String {
        library_folders(&self.root)
            .iter()
            .map(|path| path.display().to_string())
            .collect::<Vec<_>>()
            .join(":")
    }
}

/// Unpacks packages with all that they depend on, or finds them unpacked by an earlier run.
///
/// # Errors
/// When the system has no apt, or when the packages cannot be fetched.
pub(crate) fn packages(workspace: &Workspace, names: &[&str]) -> anyhow::Result<Unpacked> {
    let folder = workspace.target.join("services/packages").join(names.join("+"));
    let root = folder.join("root");
    let done = folder.join("done");
    if done.exists() {
        return Ok(Unpacked { root });
    }
    for program in ["apt-get", "dpkg-deb"] {
        ensure!(
            shell::find_program(program).is_some(),
            "`{program}` is not there to fetch {}",
            names.join(", ")
        );
    }
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    for path in ["state/lists/partial", "cache/archives/partial", "root"] {
        fs::create_dir_all(folder.join(path)).with_context(|| format!("creating {path}"))?;
    }
    fs::write(folder.join("state/status"), "").context("writing the empty list of installed packages")?;

    // One source that does not answer is no reason to stop: the install below says what is missing.
    if let Err(error) = shell::run(apt(&folder).arg("update")) {
        println!("{error:#}");
    }
    let mut download = apt(&folder);
    download
        .args(["install", "--download-only", "--yes", "--no-install-recommends"])
        .args(names);
    shell::run(&mut download)?;
    for archive in archives(&folder)? {
        shell::output(Command::new("dpkg-deb").arg("--extract").arg(&archive).arg(&root))?;
    }
    for path in ["state", "cache"] {
        fs::remove_dir_all(folder.join(path)).with_context(|| format!("removing {path}"))?;
    }
    fs::write(&done, names.join("\n")).context("marking the packages as unpacked")?;
    Ok(Unpacked { root })
}

/// apt with private folders; it drops to no other user, who could not enter them.
fn apt(folder: &Path) -> Command {
    let mut command = Command::new("apt-get");
    let state = folder.join("state");
    let options = [
        format!("Dir::State={}", state.display()),
        format!("Dir::State::status={}", state.join("status").display()),
        format!("Dir::Cache={}", folder.join("cache").display()),
        format!("Dir::Log={}", state.display()),
        "Debug::NoLocking=true".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
    ];
    command.arg("-qq").env("DEBIAN_FRONTEND", "noninteractive");
    for option in options {
        command.args(["-o", &option]);
    }
    command
}

fn archives(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let folder = folder.join("cache/archives");
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_wanted(path))
        .collect();
    ensure!(!paths.is_empty(), "apt fetched nothing into {}", folder.display());
    Ok(paths)
}

fn is_wanted(archive: &Path) -> bool {
    let name = archive
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    archive.extension().is_some_and(|extension| extension == "deb")
        && !LEFT_OUT.iter().any(|prefix| name.starts_with(prefix))
}

/// `lib` and `usr/lib`, and the folders in them that are named after an architecture.
fn library_folders(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for base in [root.join("usr/lib"), root.join("lib")] {
        let children = fs::read_dir(&base)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let architecture = |path: &PathBuf| path.to_string_lossy().contains("-linux-");
        found.extend(children.filter(|path| path.is_dir() && architecture(path)));
        if base.is_dir() {
            found.push(base);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::{Unpacked, is_wanted};

    #[test]
    fn the_c_library_stays_the_systems_own() {
        assert!(is_wanted(Path::new("/a/redis-server_5%3a7_amd64.deb")));
        assert!(!is_wanted(Path::new("/a/libc6_2.36_amd64.deb")));
        assert!(!is_wanted(Path::new("/a/lock")));
    }

    #[test]
    fn libraries_are_looked_for_by_architecture() {
        let root = std::env::temp_dir().join(format!("xtask-unpack-{}", std::process::id()));
        fs::create_dir_all(root.join("usr/lib/x86_64-linux-gnu")).unwrap();
        fs::create_dir_all(root.join("usr/lib/python3")).unwrap();
        let path = Unpacked { root: root.clone() }.library_path();
        let base = root.display();
        assert_eq!(path, format!("{base}/usr/lib/x86_64-linux-gnu:{base}/usr/lib"));
        fs::remove_dir_all(root).unwrap();
    }
}
