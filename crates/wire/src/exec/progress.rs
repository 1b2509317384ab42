//! Lines on standard error: progress or log.

use arbiter_core::model::{Ratio, Usage};
use serde::Deserialize;

use super::answer::UsageForm;
use crate::object::Object;

/// What a line on standard error is.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// Progress.
    Progress {
        /// How much is done.
        fraction: Option<Ratio>,
        /// A line for people.
        message: Option<String>,
        /// What was used so far.
        usage: Option<Usage>,
    },
    /// Anything else.
    Log,
}

#[derive(Deserialize)]
struct Form {
    progress: Object<ProgressForm>,
}

#[derive(Deserialize)]
struct ProgressForm {
    fraction: Option<f64>,
    message: Option<String>,
    usage: Option<Object<UsageForm>>,
}

/// Reads a line. What is not progress of the protocol is log, never an error.
pub fn parse_line(line: &str) -> Line {
    // Most lines of a log are no JSON: this spares them the parser.
    if !line.trim_start().starts_with('{') {
        return Line::Log;
    }
    match serde_json::from_str::<Object<Form>>(line) {
        Ok(Object(Form {
            progress: Object(progress),
        })) => Line::Progress {
            fraction: progress.fraction.and_then(|fraction| Ratio::new(fraction).ok()),
            message: progress.message,
            usage: progress.usage.map(|Object(usage)| usage.into()),
        },
        Err(_) => Line::Log,
    }
}
