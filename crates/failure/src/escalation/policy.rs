//! Escalation policies.

use std::collections::BTreeSet;

use arbiter_core::model::{ComponentName, Severity};
use serde::{Deserialize, Serialize};

use super::hours::Hours;
use crate::records::FailureError;

/// The most levels of a policy, targets of a level, and repeats of a level.
const MAX_LEVELS: usize = 10;
const MAX_TARGETS: usize = 20;
const MAX_REPEATS: u32 = 100;
/// The longest wait: 7 days.
const MAX_WAIT: u32 = 7 * 24 * 3_600;

/// Who is told of an incident, level by level, until somebody takes note of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Only of incidents that are at least this bad.
    #[serde(with = "crate::word::as_word")]
    pub at_least: Severity,
    /// Only of components whose names begin with one of these; none means all.
    #[serde(default)]
    pub components: Vec<String>,
    /// The levels, the first to be told first.
    pub levels: Vec<Level>,
}

/// Who is told together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// The targets, by name.
    pub targets: BTreeSet<String>,
    /// How long after the level before, or after the opening, in seconds.
    pub after_seconds: u32,
    /// Whether it is told again before the next level is.
    #[serde(default)]
    pub repeat: Option<Repeat>,
    /// Only in these hours; outside of them the level is passed over.
    #[serde(default)]
    pub hours: Option<Hours>,
}

/// How a level is told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// How long after the time before, in seconds.
    pub every_seconds: u32,
    /// How often, 1–100.
    pub times: u32,
}

impl Policy {
    /// A policy that tells these targets of everything at once.
    pub fn plain(targets: impl IntoIterator<Item = String>) -> Self {
        Self {
            at_least: Severity::Low,
            components: Vec::new(),
            levels: vec![Level {
                targets: targets.into_iter().collect(),
                after_seconds: 0,
                repeat: None,
                hours: None,
            }],
        }
    }

    /// Whether it is about an incident.
    pub fn is_about(&self, component: &ComponentName, severity: Severity) -> bool {
        let named = |prefix: &String| component.as_str().starts_with(prefix.as_str());
        severity >= self.at_least && (self.components.is_empty() || self.components.iter().any(named))
    }

    /// Finds what cannot be. `targets` are the names that there are.
    ///
    /// # Errors
    /// [`FailureError::Invalid`] names the field.
    pub fn check(&self, targets: &BTreeSet<String>) -> Result<(), FailureError> {
        let bad = |field, problem: &str| FailureError::invalid(field, problem);
        if self.levels.is_empty() || self.levels.len() > MAX_LEVELS {
            return Err(bad("levels", &format!("holds 1 to {MAX_LEVELS} levels")));
        }
        if self.components.len() > MAX_TARGETS || self.components.iter().any(|prefix| prefix.len() > 128) {
            return Err(bad(
                "components",
                &format!("holds up to {MAX_TARGETS} beginnings of names"),
            ));
        }
        for level in &self.levels {
            if level.targets.is_empty() || level.targets.len() > MAX_TARGETS {
                return Err(bad("targets", &format!("holds 1 to {MAX_TARGETS} targets")));
            }
            if let Some(unknown) = level.targets.iter().find(|target| !targets.contains(*target)) {
                let known: Vec<&str> = targets.iter().map(String::as_str).collect();
                let problem = format!(
                    "names `{unknown}`, which is no target; there are: {}",
                    known.join(", ")
                );
                return Err(bad("targets", &problem));
            }
            if level.after_seconds > MAX_WAIT {
                return Err(bad("after_seconds", "is more than 7 days"));
            }
            if let Some(repeat) = level.repeat
                && (repeat.every_seconds == 0 || repeat.every_seconds > MAX_WAIT)
            {
                return Err(bad("every_seconds", "is 1 second to 7 days"));
            }
            if let Some(repeat) = level.repeat
                && !(1..=MAX_REPEATS).contains(&repeat.times)
            {
                return Err(bad("times", &format!("is 1 to {MAX_REPEATS}")));
            }
            if let Some(hours) = &level.hours {
                hours.check().map_err(|error| bad("hours", &error.to_string()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arbiter_testkit::builders::component;

    use super::*;

    fn targets() -> BTreeSet<String> {
        ["pager".to_owned(), "mail".to_owned()].into()
    }

    #[test]
    fn it_is_about_what_its_filter_says() {
        let policy = Policy {
            at_least: Severity::High,
            components: vec!["agent/".to_owned()],
            ..Policy::plain(targets())
        };
        assert!(policy.is_about(&component("agent/1"), Severity::Critical));
        assert!(!policy.is_about(&component("agent/1"), Severity::Medium));
        assert!(!policy.is_about(&component("store"), Severity::Critical));
        assert!(Policy::plain(targets()).is_about(&component("store"), Severity::Low));
    }

    #[test]
    fn what_cannot_be_is_named() {
        let good = Policy::plain(targets());
        good.check(&targets()).unwrap();
        let changed = |change: fn(&mut Policy)| {
            let mut policy = good.clone();
            change(&mut policy);
            policy.check(&targets()).unwrap_err().to_string()
        };
        for (change, said) in [
            ((|policy| policy.levels.clear()) as fn(&mut Policy), "`levels`"),
            (|policy| policy.levels[0].targets.clear(), "`targets` holds"),
            (
                |policy| policy.levels[0].targets = ["fax".to_owned()].into(),
                "`targets` names `fax`, which is no target; there are: mail, pager",
            ),
            (
                |policy| policy.levels[0].after_seconds = u32::MAX,
                "`after_seconds`",
            ),
            (
                |policy| {
                    policy.levels[0].repeat = Some(Repeat {
                        every_seconds: 0,
                        times: 1,
                    });
                },
                "`every_seconds`",
            ),
            (
                |policy| {
                    policy.levels[0].repeat = Some(Repeat {
                        every_seconds: 1,
                        times: 0,
                    });
                },
                "`times`",
            ),
            (
                |policy| policy.components = vec![String::new(); 21],
                "`components`",
            ),
        ] {
            let text = changed(change);
            assert!(text.starts_with(said), "{text}");
        }
    }
}
