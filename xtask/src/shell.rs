//! Running other programs: each is shown before it runs, and its failure names it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, iter};

use anyhow::{Context, bail};

/// Runs a command with our standard streams.
///
/// # Errors
/// When it cannot start or ends without success.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let line = line(command);
    println!("$ {line}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("starting `{line}`"))?;
    if !status.success() {
        bail!("`{line}` ended with {status}");
    }
    Ok(())
}

/// Runs a command and gives its standard output.
///
/// # Errors
/// When it cannot start, ends without success (the message carries its standard error) or does not
/// write UTF-8.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    output_of(command, Stdio::null())
}

/// As [`output`], for a command that reads something.
pub(crate) fn output_of(command: &mut Command, input: impl Into<Stdio>) -> anyhow::Result<String> {
    let line = line(command);
    let output = command
        .stdin(input)
        .output()
        .with_context(|| format!("starting `{line}`"))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{line}` ended with {}: {}", output.status, complaint.trim_end());
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of `{line}`"))
}

/// The command as one would type it.
pub(crate) fn line(command: &Command) -> String {
    let words = iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| quoted(&word.to_string_lossy()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The first file of this name in a folder of `PATH`.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// `PATH` with this folder in front.
///
/// # Errors
/// When a folder contains the separator.
pub(crate) fn path_with(folder: &Path) -> anyhow::Result<std::ffi::OsString> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = iter::once(folder.to_owned()).chain(env::split_paths(&path));
    env::join_paths(folders).context("joining PATH")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:@+,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::{find_program, line, output, run};

    #[test]
    fn a_line_can_be_pasted_into_a_shell() {
        let mut command = Command::new("printf");
        command.args(["%s", "it's", "", "a b", "$HOME"]);
        assert_eq!(line(&command), r"printf %s 'it'\''s' '' 'a b' '$HOME'");
    }

    #[test]
    fn failures_name_the_command_and_its_complaint() {
        let failed = output(Command::new("sh").args(["-c", "echo why >&2; exit 4"]))
            .unwrap_err()
            .to_string();
        assert!(failed.contains("exit status: 4: why"), "{failed}");
        let absent = run(&mut Command::new("no-such-program-here"))
            .unwrap_err()
            .to_string();
        assert_eq!(absent, "starting `no-such-program-here`");
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find_program("sh").is_some());
        assert!(find_program("no-such-program-here").is_none());
    }
}
