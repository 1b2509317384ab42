//! From Cedar's errors to problems of the port, by file and line.

use arbiter_core::ports::PolicyProblem;
use cedar_policy::{ParseErrors, ValidationError};
use miette::Diagnostic;

/// Everything in a file that is not Cedar.
pub(crate) fn syntax(file: &str, text: &str, errors: &ParseErrors) -> Vec<PolicyProblem> {
    let of = |error: &dyn Diagnostic| problem(file, line(text, error), error.to_string());
    errors.iter().map(|error| of(error)).collect()
}

/// A policy of a file that does not fit the schema.
pub(crate) fn unfit(file: &str, text: &str, error: &ValidationError) -> PolicyProblem {
    problem(file, line(text, error), error.to_string())
}

/// Something that is wrong with a file.
pub(crate) fn problem(file: &str, line: Option<usize>, message: impl Into<String>) -> PolicyProblem {
    PolicyProblem {
        file: file.to_owned(),
        line,
        message: message.into(),
    }
}

/// The line that an error points to, from 1.
pub(crate) fn line(text: &str, error: &dyn Diagnostic) -> Option<usize> {
    let label = error.labels()?.next()?;
    let before = text.as_bytes().iter().take(label.offset());
    Some(before.filter(|byte| **byte == b'\n').count() + 1)
}
