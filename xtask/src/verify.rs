//! `verify`: every check that writes nothing, all findings at the end.

use crate::checks::{layers, tidy};
use crate::steps::Steps;
use crate::tools;
use crate::workspace::Workspace;

/// What releases have.
pub(crate) const FULL: &str = "arbiter/full";

/// Packages whose tests need servers, a database on disk or the built binary.
const SLOW: &[&str] = &[
    "arbiter-adapter-postgres",
    "arbiter-adapter-redis",
    "arbiter-adapter-sqlite",
    "arbiter-tests",
];

/// Test programs that need the interpreter which `test` provides.
const NEEDS_PYTHON: &[&str] = &["cedarpy"];

/// Runs the checks.
///
/// # Errors
/// When one of them has a finding; the message counts them, the output lists them.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    for tool in [&tools::NEXTEST, &tools::DENY] {
        println!("{}", tools::ensure(workspace, tool)?);
    }
    let mut steps = Steps::default();
    steps.command(
        "fmt",
        workspace
            .cargo()?
            .args(["fmt", "--all", "--check", "--", "--files-with-diff"]),
    );
    steps.run("layers", || layers::check_workspace(workspace));
    steps.run("tidy", || tidy::check_workspace(workspace));
    let clippy = [
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--features",
        FULL,
        "--",
        "-D",
        "warnings",
    ];
    steps.command("clippy", workspace.cargo()?.args(clippy));
    // What a newcomer builds first has none of the features.
    let plain = [
        "clippy",
        "--locked",
        "--workspace",
        "--bin",
        "arbiter",
        "--",
        "-D",
        "warnings",
    ];
    steps.command("clippy (no features)", workspace.cargo()?.args(plain));
    let deny = [
        "deny",
        "--locked",
        "check",
        "--hide-inclusion-graph",
        "--allow",
        "unused-wrapper",
    ];
    steps.command(
        "deny",
        workspace
            .cargo()?
            .args(deny)
            .args(["bans", "licenses", "sources"]),
    );
    let docs = ["doc", "--locked", "--workspace", "--no-deps"];
    steps.command(
        "docs",
        workspace.cargo()?.args(docs).env("RUSTDOCFLAGS", "-D warnings"),
    );
    // Everything is built, so that `test` finds the same artifacts; the filter chooses what runs.
    let fast: Vec<String> = SLOW
        .iter()
        .filter(|package| workspace.has(package))
        .map(|package| format!("not package({package})"))
        .chain(
            NEEDS_PYTHON
                .iter()
                .map(|program| format!("not binary({program})")),
        )
        .collect();
    let mut tests = workspace.cargo()?;
    tests.args([
        "nextest",
        "run",
        "--locked",
        "--workspace",
        "--features",
        FULL,
        "--filterset",
        &fast.join(" and "),
    ]);
    steps.command("tests", &mut tests);
    steps.finish()
}
