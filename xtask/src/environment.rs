//! What tests find in their environment: the built binary, an interpreter, servers.

use std::path::PathBuf;
use std::process::Command;

use anyhow::ensure;

use crate::services::Session;
use crate::tools::Found;
use crate::verify::FULL;
use crate::workspace::Workspace;
use crate::{node, packaged, python, shell, tools};

/// Where tests find the binary that they start as a process of its own.
const BINARY: &str = "ARBITER_TEST_BINARY";
/// Where tests find an interpreter that has the packages of `xtask/python/requirements.txt`.
const PYTHON: &str = "ARBITER_TEST_PYTHON";
/// Where tests find a Node that runs TypeScript.
const NODE: &str = "ARBITER_TEST_NODE";
/// Where tests find the checker of systemd's unit files.
const SYSTEMD_ANALYZE: &str = "ARBITER_TEST_SYSTEMD_ANALYZE";
/// Where tests find curl.
const CURL: &str = "ARBITER_TEST_CURL";

/// How the binary is built; tests run in the same profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// Quick to build, with all assertions.
    Debug,
    /// As it is shipped.
    Release,
}

impl Build {
    /// The arguments of cargo. Images are built with those of a release.
    pub(crate) const fn arguments(self) -> &'static [&'static str] {
        match self {
            // with the features that the whole workspace has, so that the tests need no second build of what both use
            Self::Debug => &["build", "--workspace", "--bin", "arbiter", "--features", FULL],
            Self::Release => &[
                "build",
                "--release",
                "--locked",
                "--features",
                "full",
                "-p",
                "arbiter",
            ],
        }
    }
}

/// Everything that is ready for a test run.
#[derive(Debug)]
pub(crate) struct Environment {
    binary: PathBuf,
    interpreter: Found,
    node: Found,
    systemd_analyze: Found,
    curl: Found,
    session: Session,
}

impl Environment {
    /// Finds, fetches, builds and starts what tests need, and says so.
    ///
    /// # Errors
    /// When something is missing and cannot be had; the message says how to install it.
    pub(crate) fn prepare(workspace: &Workspace, build: Build) -> anyhow::Result<Self> {
        println!("{}", tools::ensure(workspace, &tools::NEXTEST)?);
        let interpreter = python::ensure(workspace)?;
        println!("{interpreter}");
        let node = node::ensure(&interpreter.path)?;
        println!("{node}");
        let systemd_analyze = packaged::ensure(workspace, "systemd-analyze", "systemd")?;
        println!("{systemd_analyze}");
        let curl = packaged::ensure(workspace, "curl", "curl")?;
        println!("{curl}");
        let binary = binary(workspace, build)?;
        println!("built    arbiter ({})", binary.display());
        let session = Session::start(workspace)?;
        session.notes().iter().for_each(|note| println!("{note}"));
        Ok(Self {
            binary,
            interpreter,
            node,
            systemd_analyze,
            curl,
            session,
        })
    }

    /// Sets the variables that tests read.
    pub(crate) fn apply(&self, command: &mut Command) {
        command
            .env(BINARY, &self.binary)
            .env(PYTHON, &self.interpreter.path)
            .env(NODE, &self.node.path)
            .env(SYSTEMD_ANALYZE, &self.systemd_analyze.path)
            .env(CURL, &self.curl.path);
        command.envs(self.session.variables());
    }

    /// Stops the servers that were started for this run.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.session.stop()
    }
}

/// Builds the program that the tests use, and says where it is.
///
/// # Errors
/// When it cannot be built.
pub(crate) fn binary(workspace: &Workspace, build: Build) -> anyhow::Result<PathBuf> {
    let folder = match build {
        Build::Debug => "debug",
        Build::Release => "release",
    };
    shell::run(workspace.cargo()?.args(build.arguments()))?;
    let binary = workspace.target.join(folder).join("arbiter");
    ensure!(binary.is_file(), "cargo built no {}", binary.display());
    Ok(binary)
}
