//! How targets stand, as far as this process has seen: for health.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use arbiter_core::model::Timestamp;

/// How the tries of a target went lately.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TargetStanding {
    /// When it last took a notice.
    pub delivered_at: Option<Timestamp>,
    /// Since when no try has succeeded, and what the latest one came to.
    pub failing: Option<(Timestamp, String)>,
    /// How many tries in a row failed.
    pub failures: u32,
}

/// How every target stands.
#[derive(Debug, Default)]
pub struct Targets(Mutex<BTreeMap<String, TargetStanding>>);

impl Targets {
    /// Nothing is known of these targets yet.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        let standings = names.into_iter().map(|name| (name, TargetStanding::default()));
        Self(Mutex::new(standings.collect()))
    }

    /// How they stand, by name.
    pub fn all(&self) -> BTreeMap<String, TargetStanding> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn delivered(&self, target: &str, now: Timestamp) {
        self.change(target, |standing| {
            *standing = TargetStanding {
                delivered_at: Some(now),
                ..TargetStanding::default()
            };
        });
    }

    pub(crate) fn failed(&self, target: &str, now: Timestamp, why: &str) {
        self.change(target, |standing| {
            let since = standing.failing.take().map_or(now, |(since, _)| since);
            standing.failing = Some((since, why.to_owned()));
            standing.failures = standing.failures.saturating_add(1);
        });
    }

    fn change(&self, target: &str, change: impl FnOnce(&mut TargetStanding)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(standing) = all.get_mut(target) {
            change(standing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_fails_since_its_first_failure_until_it_takes_one() {
        let at = Timestamp::from_micros;
        let targets = Targets::new(["pager".to_owned()]);
        targets.failed("pager", at(1), "away");
        targets.failed("pager", at(2), "still away");
        targets.failed("unknown", at(2), "no");
        let standing = targets.all()["pager"].clone();
        assert_eq!(standing.failing, Some((at(1), "still away".to_owned())));
        assert_eq!((standing.failures, standing.delivered_at), (2, None));
        targets.delivered("pager", at(3));
        let standing = targets.all()["pager"].clone();
        assert_eq!((standing.failing, standing.failures), (None, 0));
        assert_eq!(targets.all().len(), 1);
    }
}
