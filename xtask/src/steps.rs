//! A list of timed steps that all run, and fail together at the end.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::finding::{self, Finding};
use crate::shell;

/// The steps that ran so far and what they found.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    done: Vec<Done>,
    findings: Vec<Finding>,
}

#[derive(Debug)]
struct Done {
    name: &'static str,
    took: Duration,
    findings: usize,
}

impl Steps {
    /// Runs one step. An error of the step itself is a finding too, so that later steps still run.
    pub(crate) fn run(&mut self, name: &'static str, step: impl FnOnce() -> anyhow::Result<Vec<Finding>>) {
        println!("== {name}");
        let start = Instant::now();
        let found = step().unwrap_or_else(|error| vec![Finding::new(name, "step", format!("{error:#}"))]);
        for finding in &found {
            println!("{finding}");
        }
        self.done.push(Done {
            name,
            took: start.elapsed(),
            findings: found.len(),
        });
        self.findings.extend(found);
    }

    /// Runs a command as a step; an exit status other than success is its finding.
    pub(crate) fn command(&mut self, name: &'static str, command: &mut Command) {
        self.run(name, || match shell::run(command) {
            Ok(()) => Ok(Vec::new()),
            Err(error) => Ok(vec![Finding::new(name, "command", format!("{error:#}"))]),
        });
    }

    /// Prints the time of each step and all findings.
    ///
    /// # Errors
    /// When there is at least one finding.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        println!("== summary");
        for step in &self.done {
            let verdict = if step.findings == 0 {
                "ok".to_owned()
            } else {
                finding::count(step.findings)
            };
            println!("{:<10} {:>8.1} s  {verdict}", step.name, step.took.as_secs_f64());
        }
        if self.findings.is_empty() {
            return Ok(());
        }
        for finding in &self.findings {
            println!("{finding}");
        }
        anyhow::bail!(finding::count(self.findings.len()))
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::Steps;
    use crate::finding::Finding;

    #[test]
    fn all_steps_run_and_all_findings_count() {
        let mut steps = Steps::default();
        let mut last_ran = false;
        steps.run("first", || Ok(vec![Finding::new("first", "a", "wrong")]));
        steps.run("second", || anyhow::bail!("broken"));
        steps.command("third", Command::new("sh").args(["-c", "exit 3"]));
        steps.run("last", || {
            last_ran = true;
            Ok(Vec::new())
        });
        assert!(last_ran);
        assert_eq!(steps.findings.len(), 3);
        assert_eq!(steps.findings[1].text, "broken");
        assert_eq!(
            steps.findings[2].text,
            "`sh -c 'exit 3'` ended with exit status: 3"
        );
        assert_eq!(steps.finish().unwrap_err().to_string(), "3 findings");
    }

    #[test]
    fn no_finding_is_success() {
        let mut steps = Steps::default();
        steps.run("clean", || Ok(Vec::new()));
        assert!(steps.finish().is_ok());
    }
}
