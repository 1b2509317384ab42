//! Silences and maintenance windows: incidents are opened all the same, but nobody is told meanwhile.

use arbiter_core::model::{ComponentName, FailureKind, PrincipalId, SilenceId, Timestamp};
use serde::{Deserialize, Serialize};

/// What a silence's kind is called in the store.
pub(crate) const KIND: &str = "silence";

/// Why nobody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SilenceKind {
    /// Somebody does not want to hear of it.
    Silence,
    /// Work on the component is planned: its failures are expected.
    Maintenance,
}

impl SilenceKind {
    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Maintenance => "maintenance",
        }
    }
}

/// A silence to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSilence {
    /// Why nobody is told.
    pub kind: SilenceKind,
    /// Of components whose names begin so; empty means all.
    pub component: String,
    /// Only of failures of this kind.
    pub failure: Option<FailureKind>,
    /// From when on; now, if it lies before.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// What for, 1–500 characters.
    pub why: String,
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// Its id.
    pub id: SilenceId,
    /// What it says.
    pub terms: NewSilence,
    /// Who made it.
    pub by: PrincipalId,
    /// When.
    pub made_at: Timestamp,
}

/// What is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SilenceRecord {
    pub(crate) kind: SilenceKind,
    pub(crate) component: String,
    pub(crate) failure: Option<String>,
    #[serde(with = "crate::word::as_micros")]
    pub(crate) from: Timestamp,
    #[serde(with = "crate::word::as_micros")]
    pub(crate) until: Timestamp,
    pub(crate) why: String,
    #[serde(with = "crate::word::as_text")]
    pub(crate) by: PrincipalId,
    #[serde(with = "crate::word::as_micros")]
    pub(crate) made_at: Timestamp,
}

impl Silence {
    /// Whether it holds for a component and kind at a moment.
    pub fn holds(&self, component: &ComponentName, kind: FailureKind, now: Timestamp) -> bool {
        self.terms.from <= now
            && now < self.terms.until
            && component.as_str().starts_with(self.terms.component.as_str())
            && self.terms.failure.is_none_or(|only| only == kind)
    }
}

#[cfg(test)]
mod tests {
    use arbiter_testkit::builders::{component, principal, silence};

    use super::*;

    #[test]
    fn it_holds_for_what_it_names_while_it_lasts() {
        let at = Timestamp::from_micros;
        let mut made = Silence {
            id: silence(1),
            terms: NewSilence {
                kind: SilenceKind::Maintenance,
                component: "group/".to_owned(),
                failure: None,
                from: at(10),
                until: at(20),
                why: "upgrade".to_owned(),
            },
            by: principal(1),
            made_at: at(1),
        };
        let holds =
            |silence: &Silence, name, now| silence.holds(&component(name), FailureKind::Timeout, at(now));
        assert!(holds(&made, "group/db", 10) && holds(&made, "group/db", 19));
        assert!(!holds(&made, "group/db", 9) && !holds(&made, "group/db", 20));
        assert!(!holds(&made, "store", 15));
        made.terms.failure = Some(FailureKind::Internal);
        assert!(!holds(&made, "group/db", 15));
    }
}
