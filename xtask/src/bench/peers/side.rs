//! The programs that are measured: ours and the peers', built or installed below `target/peers`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use cargo_metadata::Message;
use serde::Deserialize;

use super::measure::Line;
use crate::tools::Found;
use crate::workspace::Workspace;
use crate::{node, python, shell};

/// What our side is called.
pub(crate) const OURS: &str = "arbiter";

/// The bench of ours that does a round.
const BENCH: &str = "control-plane";

/// What is copied of a peer in JavaScript; its packages are installed beside.
const SCRIPT_FILES: [&str; 4] = [".npmrc", "package-lock.json", "package.json", "round.js"];

/// One program that does a round.
#[derive(Debug)]
pub(crate) struct Side {
    /// What it is called.
    pub(crate) name: &'static str,
    /// Its version.
    pub(crate) version: String,
    folder: PathBuf,
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Side {
    /// Does one round.
    ///
    /// # Errors
    /// When the program fails or writes no measurements.
    pub(crate) fn round(
        &self,
        variables: &[(&'static str, String)],
        tasks: usize,
    ) -> anyhow::Result<Vec<Line>> {
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.folder)
            .args(&self.arguments)
            .arg(tasks.to_string())
            .envs(variables.iter().map(|(name, value)| (name, value)));
        let text = shell::output(&mut command)?;
        Line::read_all(&text).with_context(|| format!("{} wrote:\n{text}", self.name))
    }
}

/// Builds and installs all sides, ours first.
///
/// # Errors
/// When one cannot be had; the message says what to install.
pub(crate) fn prepare(workspace: &Workspace) -> anyhow::Result<Vec<Side>> {
    // what cannot be fetched is missed before the long builds
    let npm = npm(shell::find_program("npm"))?;
    let node = node::ensure(&python::ensure(workspace)?.path)?;
    Ok(vec![
        ours(workspace)?,
        rust(workspace, "apalis", "apalis-postgres")?,
        rust(workspace, "graphile", "graphile_worker")?,
        pg_boss(workspace, &npm, node)?,
    ])
}

fn npm(found: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    found.context("npm is missing, which installs pg-boss; install it with `apt-get install npm`")
}

fn ours(workspace: &Workspace) -> anyhow::Result<Side> {
    // built here once and then run by itself: cargo would look at every source again in each round
    let mut build = workspace.cargo()?;
    build.args([
        "bench",
        "--package",
        "arbiter-tests",
        "--bench",
        BENCH,
        "--no-run",
    ]);
    build
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    let told = shell::output(&mut build)?;
    let product = workspace
        .members
        .iter()
        .find(|package| package.name.as_str() == OURS);
    Ok(Side {
        name: OURS,
        version: product
            .context("the workspace has no arbiter")?
            .version
            .to_string(),
        folder: workspace.root.clone(),
        program: built(&told, BENCH)?,
        arguments: vec!["round".into()],
    })
}

/// The program of a target in what cargo tells of a build.
fn built(told: &str, target: &str) -> anyhow::Result<PathBuf> {
    for message in Message::parse_stream(told.as_bytes()) {
        if let Message::CompilerArtifact(artifact) = message.context("reading what cargo tells")?
            && artifact.target.name == target
            && let Some(program) = artifact.executable
        {
            return Ok(program.into_std_path_buf());
        }
    }
    bail!("cargo built no {target}")
}

fn rust(workspace: &Workspace, folder: &str, package: &'static str) -> anyhow::Result<Side> {
    let source = sources(workspace).join(folder);
    let target = target(workspace).join("cargo");
    let mut build = workspace.cargo()?;
    build
        .args(["build", "--release", "--locked", "--manifest-path"])
        .arg(source.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", &target);
    shell::run(&mut build)?;
    Ok(Side {
        name: package,
        version: locked(&read(&source.join("Cargo.lock"))?, package)?,
        program: target.join("release").join(format!("peer-{folder}")),
        folder: source,
        arguments: Vec::new(),
    })
}

fn pg_boss(workspace: &Workspace, npm: &Path, node: Found) -> anyhow::Result<Side> {
    let (source, folder) = (
        sources(workspace).join("pg-boss"),
        target(workspace).join("pg-boss"),
    );
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    for file in SCRIPT_FILES {
        fs::copy(source.join(file), folder.join(file)).with_context(|| format!("copying {file}"))?;
    }
    shell::run(
        Command::new(npm)
            .current_dir(&folder)
            .args(["ci", "--no-audit", "--no-fund"]),
    )?;
    let version = installed(&read(&folder.join("package-lock.json"))?, "pg-boss")?;
    let node_version = shell::output(Command::new(&node.path).arg("--version"))?;
    Ok(Side {
        name: "pg-boss",
        version: format!("{version} on Node {}", node_version.trim()),
        folder,
        program: node.path,
        arguments: vec!["round.js".into()],
    })
}

fn sources(workspace: &Workspace) -> PathBuf {
    workspace.root.join("xtask/peers")
}

fn target(workspace: &Workspace) -> PathBuf {
    workspace.target.join("peers")
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[derive(Deserialize)]
struct CargoLock {
    package: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
}

/// The version of a package in a lock file of cargo.
fn locked(text: &str, name: &str) -> anyhow::Result<String> {
    let lock: CargoLock = toml::from_str(text).context("reading Cargo.lock")?;
    let mut found = lock.package.into_iter().filter(|package| package.name == name);
    let package = found
        .next()
        .with_context(|| format!("Cargo.lock has no {name}"))?;
    ensure!(found.next().is_none(), "Cargo.lock has {name} in two versions");
    Ok(package.version)
}

/// The version of a package in a lock file of npm.
fn installed(text: &str, name: &str) -> anyhow::Result<String> {
    let lock: serde_json::Value = serde_json::from_str(text).context("reading package-lock.json")?;
    let version = lock.pointer(&format!("/packages/node_modules~1{name}/version"));
    let version = version.and_then(serde_json::Value::as_str);
    Ok(version
        .with_context(|| format!("package-lock.json has no {name}"))?
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::{BENCH, SCRIPT_FILES, built, installed, locked, npm, read, sources};
    use crate::workspace::Workspace;

    #[test]
    fn the_committed_lock_files_name_the_peers() {
        let peers = sources(&Workspace::load().unwrap());
        for (folder, package) in [("apalis", "apalis-postgres"), ("graphile", "graphile_worker")] {
            let lock = read(&peers.join(folder).join("Cargo.lock")).unwrap();
            assert!(locked(&lock, package).is_ok(), "{package}");
        }
        for file in SCRIPT_FILES {
            assert!(peers.join("pg-boss").join(file).is_file(), "{file}");
        }
        let lock = read(&peers.join("pg-boss/package-lock.json")).unwrap();
        let wanted = read(&peers.join("pg-boss/package.json")).unwrap();
        let version = installed(&lock, "pg-boss").unwrap();
        assert!(
            wanted.contains(&format!("\"pg-boss\": \"{version}\"")),
            "{version}"
        );
    }

    #[test]
    fn a_missing_npm_is_told_with_what_to_install() {
        let error = npm(None).unwrap_err().to_string();
        assert!(error.contains("apt-get install npm"), "{error}");
    }

    #[test]
    fn the_program_is_found_in_what_cargo_tells() {
        let artifact = |name: &str, executable: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"package_id\":\"path+file:///a#0.1.0\",\
                 \"manifest_path\":\"/a/Cargo.toml\",\"target\":{{\"kind\":[\"bench\"],\"crate_types\":[\"bin\"],\
                 \"name\":\"{name}\",\"src_path\":\"/a/main.rs\",\"edition\":\"2024\",\"doc\":false,\"doctest\":false,\
                 \"test\":false}},\"profile\":{{\"opt_level\":\"3\",\"debuginfo\":0,\"debug_assertions\":false,\
                 \"overflow_checks\":false,\"test\":true}},\"features\":[],\"filenames\":[],\
                 \"executable\":{executable},\"fresh\":true}}\n"
            )
        };
        let told = artifact("seed", "\"/t/seed\"") + &artifact(BENCH, "\"/t/control-plane-1\"");
        assert_eq!(built(&told, BENCH).unwrap().to_str(), Some("/t/control-plane-1"));
        let told = artifact("seed", "\"/t/seed\"") + &artifact(BENCH, "null");
        assert!(built(&told, BENCH).is_err());
    }

    #[test]
    fn what_cargo_did_not_build_is_an_error() {
        let told = "{\"reason\":\"build-finished\",\"success\":true}\n";
        let error = built(told, BENCH).unwrap_err().to_string();
        assert_eq!(error, "cargo built no control-plane");
    }

    #[test]
    fn a_package_that_is_not_locked_once_is_an_error() {
        let twice = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n[[package]]\nname = \"a\"\nversion = \"2.0.0\"\n";
        assert!(
            locked(twice, "a")
                .unwrap_err()
                .to_string()
                .contains("two versions")
        );
        assert!(locked(twice, "b").unwrap_err().to_string().contains("has no b"));
        assert!(installed("{\"packages\":{}}", "b").is_err());
    }
}
