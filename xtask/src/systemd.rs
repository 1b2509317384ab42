//! The checker of systemd's unit files: the system's, else the one of the distribution's package, unpacked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::Context;

use crate::shell;
use crate::tools::{Found, Origin};
use crate::unpack;
use crate::workspace::Workspace;

/// Finds or unpacks `systemd-analyze`.
///
/// # Errors
/// When neither works; the message holds the command that installs it.
pub(crate) fn ensure(workspace: &Workspace) -> anyhow::Result<Found> {
    let name = "systemd-analyze".to_owned();
    if let Some(path) = shell::find_program("systemd-analyze") {
        return Ok(Found {
            name,
            path,
            origin: Origin::Found,
        });
    }
    let unpacked = unpack::packages(workspace, &["systemd"])
        .context("systemd-analyze is missing; install it with `apt-get install systemd`")?;
    let path = workspace.tools().join("systemd-analyze");
    let script = format!(
        "#!/bin/sh\nexport LD_LIBRARY_PATH='{}'\nexec '{}' \"$@\"\n",
        unpacked.library_path(),
        unpacked.root.join("usr/bin/systemd-analyze").display(),
    );
    fs::write(&path, script).with_context(|| format!("writing {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    shell::output(Command::new(&path).arg("--version"))?;
    Ok(Found {
        name,
        path,
        origin: Origin::Fetched,
    })
}
