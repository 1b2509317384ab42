//! The workspace as cargo sees it: root, target folder and member packages.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use cargo_metadata::{MetadataCommand, Package};

/// The member packages and the folders that commands work in.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// Where cargo builds; tools and services live in folders of it.
    pub(crate) target: PathBuf,
    /// The member packages, in cargo's order.
    pub(crate) members: Vec<Package>,
}

impl Workspace {
    /// Reads the workspace that holds this package.
    ///
    /// # Errors
    /// When cargo cannot read the manifests.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let manifests = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifests.parent().context("xtask has no parent folder")?;
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .no_deps()
            .exec()
            .context("reading the workspace")?;
        Ok(Self {
            root: metadata.workspace_root.into_std_path_buf(),
            target: metadata.target_directory.into_std_path_buf(),
            members: metadata.packages,
        })
    }

    /// A cargo command that runs in the root with the pinned toolchain, with our tools on its path.
    ///
    /// # Errors
    /// When `PATH` cannot be extended.
    pub(crate) fn cargo(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command
            .current_dir(&self.root)
            .env("PATH", crate::shell::path_with(&self.tools().join("bin"))?);
        // What cargo told this program about its own package is not for its children.
        // Build scripts that look at it would run again each time that cargo is started otherwise.
        let told = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(told) {
                command.env_remove(name);
            }
        }
        Ok(command)
    }

    /// Where fetched tools live.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// The folder of a member, relative to the root.
    pub(crate) fn folder(&self, package: &Package) -> PathBuf {
        let folder = package
            .manifest_path
            .parent()
            .map_or(Path::new(""), |path| path.as_std_path());
        folder.strip_prefix(&self.root).unwrap_or(folder).to_owned()
    }

    /// Whether a member of this name exists.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.members.iter().any(|package| package.name.as_str() == name)
    }
}
