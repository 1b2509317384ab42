//! Programs of the distribution: the system's, else the one of the distribution's package, unpacked.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::Context;

use crate::shell;
use crate::tools::{Found, Origin};
use crate::unpack;
use crate::workspace::Workspace;

/// Finds a program on `PATH`, or unpacks the package that holds it.
///
/// # Errors
/// When neither works; the message holds the command that installs it.
pub(crate) fn ensure(workspace: &Workspace, program: &str, package: &str) -> anyhow::Result<Found> {
    let name = program.to_owned();
    if let Some(path) = shell::find_program(program) {
        return Ok(Found {
            name,
            path,
            origin: Origin::Found,
        });
    }
    let unpacked = unpack::packages(workspace, &[package])
        .with_context(|| format!("{program} is missing; install it with `apt-get install {package}`"))?;
    let folder = workspace.tools().join("packaged");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let path = folder.join(program);
    let script = format!(
        "#!/bin/sh\nexport LD_LIBRARY_PATH='{}'\nexec '{}' \"$@\"\n",
        unpacked.library_path(),
        unpacked.root.join("usr/bin").join(program).display(),
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
