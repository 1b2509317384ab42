//! The demo's agent: this binary itself, speaking the exec protocol.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

/// Counts the words of the artifact `document`. On the first attempt of a task about one of `crash_on` it kills itself in
/// mid-task.
pub(crate) fn main(crash_on: &[String]) -> ExitCode {
    let mut text = String::new();
    let order: Value = match std::io::stdin()
        .read_to_string(&mut text)
        .map(|_| serde_json::from_str(&text))
    {
        Ok(Ok(order)) => order,
        _ => return ExitCode::FAILURE,
    };
    tell(&json!({"progress": {"fraction": 0.5, "message": "reading"}}));
    let title = order["task"]["title"].as_str().unwrap_or_default();
    let crashes = crash_on.iter().any(|name| title.ends_with(name.as_str()));
    if crashes && order["attempt"]["number"] == json!(1) {
        // As an agent dies in reality: without a word.
        let _never_returns = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
    let answer = match order["artifacts"]["document"]
        .as_str()
        .map(std::fs::read_to_string)
    {
        Some(Ok(document)) => json!({"version": 1, "outcome": "succeeded", "output": count(&document)}),
        Some(Err(error)) => failed(&error.to_string()),
        None => failed("the task has no artifact `document`"),
    };
    crate::output::json(&answer);
    ExitCode::SUCCESS
}

fn failed(message: &str) -> Value {
    json!({"version": 1, "outcome": "failed", "error": {"class": "input", "message": message}})
}

fn count(document: &str) -> Value {
    json!({
        "words": document.split_whitespace().count(),
        "lines": document.lines().count(),
        "bytes": document.len(),
    })
}

fn tell(line: &Value) {
    let _node_may_be_gone = writeln!(std::io::stderr().lock(), "{line}");
}
