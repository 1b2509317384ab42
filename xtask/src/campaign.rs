//! `campaign`: the long run outside CI, and the page that keeps its result.
//!
//! A test that measures something prints a line that starts with `report: `; these lines and
//! nextest's closing line make the page.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;

use crate::environment::{Build, Environment};
use crate::shell;
use crate::simulate::{SEED, SEEDS};
use crate::workspace::Workspace;

const REPORT: &str = "report: ";
/// How much the tests do that take their number of samples from a variable.
const SAMPLES: [(&str, &str); 2] = [
    ("ARBITER_AUTHORIZATION_REQUESTS", "100000"),
    ("ARBITER_OVERLOAD_SECONDS", "60"),
];

/// How much the campaign runs.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many seeded schedules the simulation runs
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed; the seconds since 1970 when absent
    #[arg(long)]
    seed: Option<u64>,
    /// How often a real process is killed
    #[arg(long, default_value_t = 200)]
    kills: u64,
}

/// What stands on the page.
#[derive(Debug)]
struct Page<'a> {
    date: &'a str,
    commit: &'a str,
    seed: u64,
    seeds: u64,
    kills: u64,
    took: Duration,
    passed: bool,
    lines: &'a [String],
}

/// Runs the campaign and writes its page, also when a test failed.
///
/// # Errors
/// When a test fails or the page cannot be written.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> anyhow::Result<()> {
    let environment = Environment::prepare(workspace, Build::Release)?;
    let seed = match options.seed {
        Some(seed) => seed,
        None => text_of("date", &["-u", "+%s"], workspace)?
            .parse()
            .context("reading the time")?,
    };
    let date = text_of("date", &["-u", "+%F"], workspace)?;
    let commit = text_of(
        "git",
        &["describe", "--always", "--dirty", "--abbrev=40"],
        workspace,
    )?;
    println!("seed {seed}");

    let mut command = workspace.cargo()?;
    command.args(["nextest", "run", "--release", "--package", "arbiter-tests"]);
    command.args([
        "--profile",
        "campaign",
        "--success-output",
        "immediate",
        "--color",
        "never",
    ]);
    command
        .env("ARBITER_CAMPAIGN", "1")
        .env("ARBITER_KILL_ROUNDS", options.kills.to_string())
        .envs(SAMPLES);
    command
        .env(SEEDS, options.seeds.to_string())
        .env(SEED, seed.to_string())
        .env("ARBITER_AUTHORIZATION_SEED", seed.to_string());
    environment.apply(&mut command);
    let start = Instant::now();
    let outcome = follow(&mut command);
    environment.stop()?;
    let (passed, lines) = outcome?;

    let (seeds, kills, took) = (options.seeds, options.kills, start.elapsed());
    let page = Page {
        date: &date,
        commit: &commit,
        seed,
        seeds,
        kills,
        took,
        passed,
        lines: &lines,
    };
    let folder = workspace.root.join("docs/campaigns");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let file = folder.join(format!("{date}.md"));
    fs::write(&file, page.text()).with_context(|| format!("writing {}", file.display()))?;
    println!("wrote {}", file.display());
    anyhow::ensure!(passed, "the campaign failed; replay it with `--seed {seed}`");
    Ok(())
}

/// Runs a command, shows what it writes to standard error, where nextest reports, and keeps the
/// lines that belong on the page.
fn follow(command: &mut Command) -> anyhow::Result<(bool, Vec<String>)> {
    println!("$ {}", shell::line(command));
    let mut child = command
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting nextest")?;
    let stream = child.stderr.take().context("nextest has no standard error")?;
    let mut kept = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.context("reading what nextest reports")?;
        println!("{line}");
        kept.extend(page_line(&line));
    }
    let status = child.wait().context("waiting for nextest")?;
    Ok((status.success(), kept))
}

fn page_line(line: &str) -> Option<String> {
    let line = line.trim();
    if let Some(report) = line.strip_prefix(REPORT) {
        return Some(report.to_owned());
    }
    line.strip_prefix("Summary ")
        .map(|summary| summary.trim().to_owned())
}

fn text_of(program: &str, arguments: &[&str], workspace: &Workspace) -> anyhow::Result<String> {
    let text = shell::output(Command::new(program).args(arguments).current_dir(&workspace.root))?;
    Ok(text.trim().to_owned())
}

impl Page<'_> {
    fn text(&self) -> String {
        let outcome = if self.passed { "passed" } else { "failed" };
        let facts = [
            ("outcome", outcome.to_owned()),
            ("commit", self.commit.to_owned()),
            ("first seed", self.seed.to_string()),
            ("simulated schedules", self.seeds.to_string()),
            ("process kills", self.kills.to_string()),
            ("duration", format!("{} s", self.took.as_secs())),
        ];
        let mut lines = vec![
            format!("# Campaign of {}\n", self.date),
            "| fact | value |".to_owned(),
            "| --- | --- |".to_owned(),
        ];
        lines.extend(facts.map(|(fact, value)| format!("| {fact} | {value} |")));
        lines.push("\n## Measured\n".to_owned());
        lines.extend(self.lines.iter().map(|line| format!("- {line}")));
        lines.push(format!(
            "\nAgain: `cargo xtask campaign --seed {} --seeds {} --kills {}`\n",
            self.seed, self.seeds, self.kills
        ));
        lines.join("\n")
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::{Page, follow};

    #[test]
    fn reported_lines_and_the_closing_line_are_kept() {
        let script = "printf 'noise\\n    report: 3 schedules, 0 lost\\n     Summary [ 1.2s] 9 tests run\\n' >&2; exit 1";
        let (passed, lines) = follow(Command::new("sh").args(["-c", script])).unwrap();
        assert!(!passed);
        assert_eq!(lines, ["3 schedules, 0 lost", "[ 1.2s] 9 tests run"]);
    }

    #[test]
    fn the_page_names_seed_date_and_commit() {
        let lines = ["0 lost".to_owned()];
        let took = Duration::from_secs(5);
        let page = Page {
            date: "2026-01-02",
            commit: "abc",
            seed: 7,
            seeds: 10,
            kills: 2,
            took,
            passed: false,
            lines: &lines,
        };
        let text = page.text();
        assert!(text.starts_with("# Campaign of 2026-01-02\n"), "{text}");
        for part in [
            "| outcome | failed |",
            "| commit | abc |",
            "| first seed | 7 |",
            "- 0 lost",
            "--seed 7 --seeds 10 --kills 2",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
