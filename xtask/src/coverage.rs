//! `coverage`: branch coverage of the domain crates, measured with the compiler's own instruments.
//!
//! Branch counters need a nightly compiler (`-Zcoverage-options=branch`) and the LLVM tools of the
//! same toolchain. Only the measured crates and what they need are built, in a target folder of
//! their own.

mod mapping;
mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use cargo_metadata::Message;

use crate::checks;
use crate::checks::layers::domain_crates;
use crate::workspace::Workspace;
use crate::{shell, tools};

/// The toolchain; its date is printed with the result.
const TOOLCHAIN: &str = "nightly";
const FLAGS: &str = "-Cinstrument-coverage -Zcoverage-options=branch";

/// Measures the coverage.
///
/// # Errors
/// When a test fails, when a tool is missing (the message holds the command that installs it) or
/// when the domain crates together are below the floor.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    println!("{}", tools::ensure(workspace, &tools::NEXTEST)?);
    let llvm = llvm_tools()?;
    let folder = workspace.target.join("coverage");
    let profiles = folder.join("profiles");
    if profiles.exists() {
        fs::remove_dir_all(&profiles).with_context(|| format!("removing {}", profiles.display()))?;
    }
    fs::create_dir_all(&profiles).with_context(|| format!("creating {}", profiles.display()))?;

    shell::run(&mut cargo(
        workspace,
        &folder,
        &["nextest", "run", "--no-tests", "pass"],
    )?)?;
    let build = [
        "test",
        "--lib",
        "--tests",
        "--no-run",
        "--message-format",
        "json",
        "--quiet",
    ];
    let programs = programs(&shell::output(&mut cargo(workspace, &folder, &build)?)?)?;
    ensure!(
        !programs.is_empty(),
        "no domain crate of this workspace has a test program"
    );
    let merged = folder.join("merged.profdata");
    let mut merge = Command::new(llvm.join("llvm-profdata"));
    shell::output(
        merge
            .args(["merge", "--sparse", "--output"])
            .arg(&merged)
            .arg(&profiles),
    )?;
    let mut export = Command::new(llvm.join("llvm-cov"));
    export.args(["export", "--format=text", "--skip-expansions", "--skip-functions"]);
    export.arg("--instr-profile").arg(&merged);
    for program in &programs {
        export.arg("--object").arg(repaired(program, &folder)?);
    }
    let measured = report::read(&shell::output(&mut export)?, &workspace.root)?;
    print!("{}", measured.table());
    checks::report(&measured.findings())
}

/// A cargo command of the nightly toolchain over the domain crates that are there.
fn cargo(workspace: &Workspace, folder: &Path, arguments: &[&str]) -> anyhow::Result<Command> {
    let mut command = Command::new("rustup");
    command
        .current_dir(&workspace.root)
        .args(["run", TOOLCHAIN, "cargo"])
        .args(arguments);
    for name in domain_crates().filter(|name| workspace.has(name)) {
        command.args(["--package", &name]);
    }
    command.env("PATH", shell::path_with(&workspace.tools().join("bin"))?);
    command.env("CARGO_TARGET_DIR", folder).env("RUSTFLAGS", FLAGS);
    command.env("LLVM_PROFILE_FILE", folder.join("profiles/%p-%m.profraw"));
    Ok(command)
}

/// The folder of the toolchain's LLVM tools; the component is added when it is missing.
fn llvm_tools() -> anyhow::Result<PathBuf> {
    let rustc = |arguments: &[&str]| {
        shell::output(
            Command::new("rustup")
                .args(["run", TOOLCHAIN, "rustc"])
                .args(arguments),
        )
    };
    let missing = "the nightly toolchain is missing; install it with `rustup toolchain install nightly --component llvm-tools`";
    let version = rustc(&["--version", "--verbose"]).context(missing)?;
    print!("{version}");
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc names no host")?;
    let root = rustc(&["--print", "sysroot"])?;
    let folder = Path::new(root.trim()).join("lib/rustlib").join(host).join("bin");
    if !folder.join("llvm-cov").is_file() {
        let mut add = Command::new("rustup");
        add.args(["component", "add", "llvm-tools", "--toolchain", TOOLCHAIN]);
        let line = shell::line(&add);
        shell::run(&mut add)
            .with_context(|| format!("LLVM's tools are missing; install them with `{line}`"))?;
    }
    Ok(folder)
}

/// A copy of a program that `llvm-cov` can read; see `mapping`.
fn repaired(program: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    let copies = folder.join("repaired");
    fs::create_dir_all(&copies).with_context(|| format!("creating {}", copies.display()))?;
    let copy = copies.join(program.file_name().context("a program without a name")?);
    let bytes = fs::read(program).with_context(|| format!("reading {}", program.display()))?;
    let bytes = mapping::repair(bytes).with_context(|| format!("in {}", program.display()))?;
    fs::write(&copy, bytes).with_context(|| format!("writing {}", copy.display()))?;
    Ok(copy)
}

/// The test programs among cargo's messages.
fn programs(messages: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for message in Message::parse_stream(messages.as_bytes()) {
        if let Message::CompilerArtifact(artifact) = message.context("reading cargo's messages")?
            && let Some(program) = artifact.executable.filter(|_| artifact.profile.test)
        {
            found.push(program.into_std_path_buf());
        }
    }
    Ok(found)
}
