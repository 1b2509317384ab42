//! One thing that a check found wrong.

use std::fmt;

/// What is wrong, where, and which check says so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// The name of the check or of the rule inside it, `layers::edge` for example.
    pub(crate) check: String,
    /// The file, crate or command concerned.
    pub(crate) place: String,
    /// What is wrong and what the rule asks for.
    pub(crate) text: String,
}

impl Finding {
    /// Makes a finding of `check` at `place`.
    pub(crate) fn new(check: &str, place: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            place: place.into(),
            text: text.into(),
        }
    }
}

/// A number of findings in words.
pub(crate) fn count(number: usize) -> String {
    if number == 1 {
        "1 finding".to_owned()
    } else {
        format!("{number} findings")
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}: {}", self.check, self.place, self.text)
    }
}
