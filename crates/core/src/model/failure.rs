//! Failures of components: agents, services, dependencies.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Timestamp;
use super::task::words;

words! {
    /// What sort of failure it is. It says which actions are tried.
    FailureKind {
        /// A health check did not pass.
        HealthCheck = "health_check",
        /// The component could not be reached.
        Connection = "connection",
        /// It did not answer in time.
        Timeout = "timeout",
        /// It failed by itself.
        Internal = "internal",
        /// Something that it depends on failed.
        Dependency = "dependency",
        /// It has no room for more.
        Capacity = "capacity",
        /// What it handed in has a wrong form.
        InvalidOutput = "invalid_output",
        /// It broke a rule.
        Policy = "policy",
        /// Work that takes down whoever does it.
        Poison = "poison",
    }
}

words! {
    /// How bad it is, the least first.
    Severity {
        /// Worth a note.
        Low = "low",
        /// Somebody should look at it in working hours.
        Medium = "medium",
        /// Somebody should look at it now.
        High = "high",
        /// Work stands still, or what was promised is broken.
        Critical = "critical",
    }
}

/// Names a part of the system that can fail, such as `agent/0190…`, `store`, `notifier/on-call` or `group/database`.
///
/// 1–128 characters: letters, digits, `-`, `_`, `.` and `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentName(Arc<str>);

/// A text that does not name a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` does not name a component (1 to 128 letters, digits, `-`, `_`, `.` and `/`)")]
pub struct InvalidComponent(pub String);

impl ComponentName {
    /// The most characters of a name.
    pub const MAX_LENGTH: usize = 128;

    /// Checks the form of `text`.
    ///
    /// # Errors
    /// [`InvalidComponent`] when the form is wrong.
    pub fn new(text: &str) -> Result<Self, InvalidComponent> {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
        if (1..=Self::MAX_LENGTH).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidComponent(text.chars().take(Self::MAX_LENGTH).collect()))
        }
    }

    /// The name of an agent's component.
    pub fn agent(agent: super::AgentId) -> Self {
        Self(format!("agent/{agent}").into())
    }

    /// The agent, if the component is one.
    pub fn as_agent(&self) -> Option<super::AgentId> {
        self.0.strip_prefix("agent/")?.parse().ok()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ComponentName({})", self.0)
    }
}

impl FromStr for ComponentName {
    type Err = InvalidComponent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::new(text)
    }
}

/// What a failure touches. What is not known is absent, never 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Impact {
    /// Services that are affected.
    pub services: Vec<String>,
    /// How many people.
    pub users: Option<u64>,
    /// How many tasks.
    pub tasks: Option<u64>,
}

/// What helps to find the cause.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Diagnostics {
    /// Readings by name.
    pub metrics: Vec<(String, f64)>,
    /// The last lines that it logged.
    pub log: Vec<String>,
    /// The trace that it happened in: 32 hexadecimal digits.
    pub trace: Option<String>,
}

/// One failure of a component.
#[derive(Debug, Clone, PartialEq)]
pub struct ComponentFailure {
    /// Which.
    pub component: ComponentName,
    /// What sort of failure.
    pub kind: FailureKind,
    /// What it says.
    pub error: String,
    /// When.
    pub at: Timestamp,
    /// What more is known, by name.
    pub context: BTreeMap<String, String>,
    /// How bad it is, where who tells of it knows better than its kind does.
    pub severity: Option<Severity>,
    /// What it touches.
    pub impact: Impact,
    /// What helps to find the cause.
    pub diagnostics: Diagnostics,
}

impl ComponentFailure {
    /// A failure of which nothing more is known.
    pub fn new(component: ComponentName, kind: FailureKind, error: impl Into<String>, at: Timestamp) -> Self {
        Self {
            component,
            kind,
            error: error.into(),
            at,
            context: BTreeMap::new(),
            severity: None,
            impact: Impact::default(),
            diagnostics: Diagnostics::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AgentId;

    #[test]
    fn names_of_components_have_one_form() {
        for good in ["store", "notifier/on-call", "group/db_1.eu"] {
            assert_eq!(ComponentName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "two words", "ünder", "a\nb", &"x".repeat(129)] {
            assert!(ComponentName::new(bad).is_err(), "{bad:?}");
        }
        let agent = AgentId::from_bytes([7; 16]);
        assert_eq!(ComponentName::agent(agent).as_agent(), Some(agent));
        assert_eq!(ComponentName::new("store").unwrap().as_agent(), None);
    }

    #[test]
    fn severities_are_ordered_by_how_bad_they_are() {
        assert!(Severity::ALL.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
