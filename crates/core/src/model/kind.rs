//! Kinds of tasks.

use std::fmt;
use std::sync::Arc;

/// A namespaced word that says what sort of work a task is, such as `code-review` or `acme/label-images`.
///
/// Up to 64 characters; segments of `a–z`, `0–9` and `-`, each starting with a letter, joined by `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKind(Arc<str>);

/// A text that is not a task kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a task kind (lower-case words such as `code-review` or `acme/label-images`, at most 64 characters)"
)]
pub struct InvalidKind(pub String);

impl TaskKind {
    /// The kinds that every tenant may use; a tenant may allow more.
    pub const BUILT_IN: [&'static str; 14] = [
        "code-editing",
        "code-review",
        "analysis",
        "research",
        "validation",
        "documentation",
        "testing",
        "debugging",
        "refactoring",
        "api-design",
        "data-processing",
        "writing",
        "script-execution",
        "general",
    ];

    /// Checks the form of `text`.
    ///
    /// # Errors
    /// [`InvalidKind`] when the form is wrong.
    pub fn new(text: &str) -> Result<Self, InvalidKind> {
        let segment = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_lowercase())
                && part
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if text.len() <= 64 && text.split('/').all(segment) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidKind(text.chars().take(80).collect()))
        }
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the kind is one of [`Self::BUILT_IN`].
    pub fn is_built_in(&self) -> bool {
        Self::BUILT_IN.contains(&self.as_str())
    }
}

impl fmt::Display for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TaskKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskKind({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_is_checked() {
        for good in TaskKind::BUILT_IN.into_iter().chain(["acme/label-images", "a1"]) {
            assert_eq!(TaskKind::new(good).expect(good).as_str(), good);
        }
        let long = "a".repeat(65);
        for bad in [
            "",
            "/",
            "a/",
            "1a",
            "A",
            "code review",
            "a//b",
            "ä",
            long.as_str(),
        ] {
            assert!(TaskKind::new(bad).is_err(), "{bad}");
        }
    }
}
