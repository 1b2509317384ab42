//! `ci`: verify, the test command that README.md shows, and the generated documents.

use std::fs;

use anyhow::Context;

use crate::checks::readme;
use crate::generate;
use crate::shell;
use crate::steps::Steps;
use crate::verify;
use crate::workspace::Workspace;

/// Runs everything that a change must pass.
///
/// # Errors
/// When a part fails; later parts still run.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    let mut steps = Steps::default();
    steps.run("readme", || {
        let text = fs::read_to_string(workspace.root.join("README.md")).context("reading README.md")?;
        Ok(readme::check(&text))
    });
    steps.run("verify", || verify::run(workspace).map(|()| Vec::new()));
    let mut words = readme::TEST.split(' ').skip(1);
    steps.run("test", || {
        shell::run(workspace.cargo()?.args(&mut words).env("CI", "true")).map(|()| Vec::new())
    });
    steps.run("gen", || generate::check(workspace));
    steps.finish()
}
