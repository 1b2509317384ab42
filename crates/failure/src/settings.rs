//! What a deployment can set.

use std::collections::BTreeMap;
use std::time::Duration;

use arbiter_core::model::{ComponentName, FailureKind};

use crate::actions::{Action, Actions};
use crate::classify::Tier;

/// When failures lead to something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How many failures of a component in the window lead to a recovery; 3.
    pub threshold: u32,
    /// The sliding window; 5 min.
    pub window: Duration,
    /// The longest that a recovery may take, all its actions together; 300 s. What runs then is cancelled.
    pub recovery_limit: Duration,
    /// How long a component has to become healthy after an action; 30 s.
    pub check_for: Duration,
    /// When recoveries follow each other too often.
    pub flapping: Flapping,
    /// What is tried, by kind.
    pub actions: Actions,
    /// What is known of single components.
    pub components: BTreeMap<ComponentName, ComponentSettings>,
    /// How many pairs of component and kind are taken note of at once; 1024. More are counted and dropped.
    pub waiting: usize,
    /// Dead letters within `window` that are a storm; 20.
    pub dead_letters: u32,
}

/// Recoveries that follow each other too often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flapping {
    /// So many; 3 …
    pub recoveries: u32,
    /// … within this; 15 min.
    pub within: Duration,
}

/// What is known of a component.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ComponentSettings {
    /// How much depends on it.
    pub tier: Tier,
    /// Another threshold than the common one.
    pub threshold: Option<u32>,
    /// Other actions than the common ones.
    pub actions: BTreeMap<FailureKind, Vec<Action>>,
    /// How many of it there may be, where it can be scaled.
    pub max_instances: Option<u32>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threshold: 3,
            window: Duration::from_mins(5),
            recovery_limit: Duration::from_secs(300),
            check_for: Duration::from_secs(30),
            flapping: Flapping {
                recoveries: 3,
                within: Duration::from_mins(15),
            },
            actions: Actions::default(),
            components: BTreeMap::new(),
            waiting: 1_024,
            dead_letters: 20,
        }
    }
}

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSettings {
    /// A count is zero.
    #[error("`{0}` must be at least 1")]
    Zero(&'static str),
    /// A time is too short or too long.
    #[error("`{0}` must be between 1 second and 1 day")]
    Time(&'static str),
}

impl Settings {
    /// Finds what cannot work.
    ///
    /// # Errors
    /// Every problem, in the order of the fields.
    pub fn check(&self) -> Result<(), Vec<InvalidSettings>> {
        let mut problems = Vec::new();
        for (name, count) in [
            ("threshold", self.threshold),
            ("flapping.recoveries", self.flapping.recoveries),
            ("dead_letters", self.dead_letters),
            ("waiting", u32::try_from(self.waiting).unwrap_or(u32::MAX)),
        ] {
            if count == 0 {
                problems.push(InvalidSettings::Zero(name));
            }
        }
        if self
            .components
            .values()
            .any(|component| component.threshold == Some(0))
        {
            problems.push(InvalidSettings::Zero("threshold of a component"));
        }
        for (name, time) in [
            ("window", self.window),
            ("recovery_limit", self.recovery_limit),
            ("check_for", self.check_for),
            ("flapping.within", self.flapping.within),
        ] {
            if time < Duration::from_secs(1) || time > Duration::from_hours(24) {
                problems.push(InvalidSettings::Time(name));
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(problems)
        }
    }

    /// How much depends on a component: of an agent that nothing is said of, little.
    pub fn tier(&self, component: &ComponentName) -> Tier {
        match self.components.get(component) {
            Some(settings) => settings.tier,
            None if component.as_agent().is_some() => Tier::Minor,
            None => Tier::default(),
        }
    }

    pub(crate) fn threshold_of(&self, component: &ComponentName) -> u32 {
        let own = self
            .components
            .get(component)
            .and_then(|settings| settings.threshold);
        own.unwrap_or(self.threshold)
    }

    pub(crate) fn actions_of(&self, component: &ComponentName, kind: FailureKind) -> Vec<Action> {
        let own = self
            .components
            .get(component)
            .and_then(|settings| settings.actions.get(&kind));
        own.map_or_else(|| self.actions.of(kind).to_vec(), Clone::clone)
    }

    pub(crate) fn max_instances(&self, component: &ComponentName) -> Option<u32> {
        self.components.get(component)?.max_instances
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_told_at_once() {
        assert_eq!(Settings::default().check(), Ok(()));
        let bad = Settings {
            threshold: 0,
            window: Duration::ZERO,
            check_for: Duration::from_hours(25),
            waiting: 0,
            ..Settings::default()
        };
        let problems = bad.check().unwrap_err();
        assert_eq!(
            problems,
            [
                InvalidSettings::Zero("threshold"),
                InvalidSettings::Zero("waiting"),
                InvalidSettings::Time("window"),
                InvalidSettings::Time("check_for"),
            ]
        );
    }
}
