//! `test`: starts what the suites need, says so, and runs everything.

use std::env;

use crate::environment::{Build, Environment};
use crate::steps::Steps;
use crate::verify::FULL;
use crate::workspace::Workspace;

/// Runs all tests and documentation tests.
///
/// # Errors
/// When something that a suite needs is missing, or when a test fails.
pub(crate) fn run(workspace: &Workspace, profile: Option<String>, nextest: &[String]) -> anyhow::Result<()> {
    let profile = profile.unwrap_or_else(default_profile);
    let environment = Environment::prepare(workspace, Build::Debug)?;
    let mut steps = Steps::default();
    let mut tests = workspace.cargo()?;
    tests
        .args([
            "nextest",
            "run",
            "--workspace",
            "--features",
            FULL,
            "--profile",
            &profile,
        ])
        .args(nextest);
    environment.apply(&mut tests);
    steps.command("tests", &mut tests);
    // A filter after `--` asks for some tests; documentation tests would not obey it.
    if nextest.is_empty() {
        steps.command(
            "doctests",
            workspace
                .cargo()?
                .args(["test", "--quiet", "--doc", "--workspace"]),
        );
    }
    steps.run("services", || environment.stop().map(|()| Vec::new()));
    steps.finish()
}

/// The profile for this environment: `ci` where the variable `CI` is set.
fn default_profile() -> String {
    let name = if env::var_os("CI").is_some() {
        "ci"
    } else {
        "default"
    };
    name.to_owned()
}
