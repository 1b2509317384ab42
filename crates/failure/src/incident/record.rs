//! What is stored of an incident. Pure.

use arbiter_core::model::{
    ComponentName, Digest, FailureKind, Impact, IncidentId, IncidentState, IncidentSummary, PrincipalId,
    Severity, Timestamp,
};
use arbiter_core::ports::NoticeStep;
use serde::{Deserialize, Serialize};

use crate::records::Placed;

/// The kinds of documents.
pub(crate) const KIND: &str = "incident";
pub(crate) const KEY_KIND: &str = "incident_key";
/// Incidents that are open are found by this index.
pub(crate) const OPEN: (&str, &str) = ("open", "yes");

/// How long an incident is kept after its end: 90 days.
const KEPT: std::time::Duration = std::time::Duration::from_hours(24 * 90);
/// How long the time line may be; what is in its middle goes first.
const TIMELINE: usize = 200;
/// The first entries of a time line always stay.
const TIMELINE_HEAD: usize = 20;
/// How many details are kept, and how long each may be.
const DETAILS: usize = 16;
const DETAIL_BYTES: usize = 1_024;
const TITLE_BYTES: usize = 300;

/// What is stored of an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct IncidentRecord {
    pub(crate) title: String,
    #[serde(with = "crate::word::as_text")]
    pub(crate) component: ComponentName,
    #[serde(with = "crate::word::as_word")]
    pub(crate) kind: FailureKind,
    #[serde(with = "crate::word::as_word")]
    pub(crate) severity: Severity,
    #[serde(with = "crate::word::as_word")]
    pub(crate) state: IncidentState,
    #[serde(with = "crate::word::as_micros")]
    pub(crate) opened_at: Timestamp,
    #[serde(with = "crate::word::as_micros")]
    pub(crate) last_failure_at: Timestamp,
    #[serde(default, with = "crate::word::as_micros_if_any")]
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) failures: u64,
    pub(crate) details: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) services: Vec<String>,
    #[serde(default)]
    pub(crate) users: Option<u64>,
    #[serde(default)]
    pub(crate) tasks: Option<u64>,
    pub(crate) timeline: Vec<TimelineEntry>,
    #[serde(default)]
    pub(crate) timeline_dropped: u64,
    pub(crate) escalation: Progress,
    /// How many notices were made of it.
    pub(crate) notices: u32,
}

/// How far its escalation has come.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The policy, by name; none when no policy is about it.
    pub(crate) policy: Option<String>,
    /// The level that is told next.
    pub(crate) level: u32,
    /// How often that level was told again.
    pub(crate) repeats: u32,
    /// When that is due; none when nobody further is told.
    #[serde(default, with = "crate::word::as_micros_if_any")]
    pub(crate) next_at: Option<Timestamp>,
    /// Targets that were told, in order.
    pub(crate) told: Vec<String>,
}

/// One entry of a time line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimelineEntry {
    /// When.
    #[serde(with = "crate::word::as_micros")]
    pub at: Timestamp,
    /// What happened.
    pub event: TimelineEvent,
    /// Who did it; none for the program itself.
    #[serde(default, with = "as_principal")]
    pub by: Option<PrincipalId>,
    /// A line for people.
    pub text: String,
}

/// What happened to an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimelineEvent {
    /// It was opened.
    Opened,
    /// Failures went on.
    Failed,
    /// It got worse.
    Worsened,
    /// A level of its policy is told.
    Escalated,
    /// Nobody is told now: a silence, or the hours of a level.
    Held,
    /// Somebody took note of it.
    Acknowledged,
    /// Somebody works on it.
    Investigating,
    /// What failed works again.
    Resolved,
    /// It was looked back on.
    Closed,
    /// A target refused a notice for good, or was away for too long.
    Undelivered,
    /// Somebody wrote something down.
    Note,
}

impl TimelineEvent {
    /// The stable word of interfaces.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Failed => "failed",
            Self::Worsened => "worsened",
            Self::Escalated => "escalated",
            Self::Held => "held",
            Self::Acknowledged => "acknowledged",
            Self::Investigating => "investigating",
            Self::Resolved => "resolved",
            Self::Closed => "closed",
            Self::Undelivered => "undelivered",
            Self::Note => "note",
        }
    }
}

/// Names an incident to targets, and finds the open one of a component and kind.
pub(crate) fn deduplication_key(component: &ComponentName, kind: FailureKind) -> String {
    format!("arbiter/{component}/{}", kind.word())
}

/// The id of the document that says which incident is the open one of a key.
pub(crate) fn key_id(key: &str) -> String {
    Digest::of(key.as_bytes()).to_string()
}

/// The key that targets are told: with the incident's id, so that a new incident of the same component is a new alert.
pub(crate) fn notice_key(record: &IncidentRecord, id: IncidentId) -> String {
    format!("{}/{id}", deduplication_key(&record.component, record.kind))
}

impl IncidentRecord {
    pub(crate) fn opened(
        component: ComponentName,
        kind: FailureKind,
        severity: Severity,
        title: &str,
        now: Timestamp,
    ) -> Self {
        Self {
            title: cut(title, TITLE_BYTES),
            component,
            kind,
            severity,
            state: IncidentState::Open,
            opened_at: now,
            last_failure_at: now,
            ended_at: None,
            failures: 0,
            details: Vec::new(),
            services: Vec::new(),
            users: None,
            tasks: None,
            timeline: Vec::new(),
            timeline_dropped: 0,
            escalation: Progress::default(),
            notices: 0,
        }
    }

    /// Adds to the time line.
    pub(crate) fn tell(&mut self, at: Timestamp, event: TimelineEvent, by: Option<PrincipalId>, text: &str) {
        if self.timeline.len() >= TIMELINE {
            self.timeline.remove(TIMELINE_HEAD);
            self.timeline_dropped += 1;
        }
        self.timeline.push(TimelineEntry {
            at,
            event,
            by,
            text: cut(text, DETAIL_BYTES),
        });
    }

    /// What more is known; a name that is known already gets the new value.
    pub(crate) fn know(&mut self, name: &str, value: &str) {
        let value = cut(value, DETAIL_BYTES);
        let place = self.details.iter().position(|(known, _)| known == name);
        match place {
            Some(place) => self.details[place].1 = value,
            None if self.details.len() < DETAILS => self.details.push((cut(name, 64), value)),
            None => {}
        }
    }

    /// What it touches: the most that was ever told.
    pub(crate) fn touches(&mut self, impact: &Impact) {
        for service in &impact.services {
            if !self.services.contains(service) && self.services.len() < DETAILS {
                self.services.push(cut(service, 128));
            }
        }
        self.users = self.users.max(impact.users);
        self.tasks = self.tasks.max(impact.tasks);
    }

    /// As people outside are told.
    pub(crate) fn summary(&self, id: IncidentId, links: Vec<(String, String)>) -> IncidentSummary {
        let mut details = self.details.clone();
        let count = |number: u64| number.to_string();
        details.extend(
            self.users
                .map(|users| ("affected users".to_owned(), count(users))),
        );
        details.extend(
            self.tasks
                .map(|tasks| ("affected tasks".to_owned(), count(tasks))),
        );
        if !self.services.is_empty() {
            details.push(("affected services".to_owned(), self.services.join(", ")));
        }
        IncidentSummary {
            id,
            title: self.title.clone(),
            component: self.component.clone(),
            kind: self.kind,
            severity: self.severity,
            state: self.state,
            opened_at: self.opened_at,
            last_failure_at: self.last_failure_at,
            failures: self.failures,
            details,
            links,
        }
    }

    /// What a target is told first when it was never told before.
    pub(crate) fn step_for(&self, target: &str) -> NoticeStep {
        if self.escalation.told.iter().any(|told| told == target) {
            NoticeStep::Update
        } else {
            NoticeStep::Open
        }
    }

    /// Where it can be found, and when it goes.
    pub(crate) fn placed(&self) -> Placed {
        let mut index = vec![
            ("component", self.component.to_string()),
            ("state", self.state.word().to_owned()),
        ];
        if self.state.is_open() {
            index.push((OPEN.0, OPEN.1.to_owned()));
        }
        Placed {
            index,
            expires_at: self.ended_at.map(|ended| ended.plus(KEPT)),
        }
    }
}

/// The beginning of a text, up to so many bytes, without control characters but line breaks.
pub(crate) fn cut(text: &str, bytes: usize) -> String {
    let shown = text.chars().filter(|c| !c.is_control() || *c == '\n');
    let mut kept = String::new();
    for c in shown {
        if kept.len() + c.len_utf8() > bytes {
            break;
        }
        kept.push(c);
    }
    kept
}

mod as_principal {
    use arbiter_core::model::PrincipalId;
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

    #[expect(clippy::ref_option, reason = "the form that serde calls")]
    pub(super) fn serialize<S: Serializer>(by: &Option<PrincipalId>, to: S) -> Result<S::Ok, S::Error> {
        by.map(|by| by.to_string()).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PrincipalId>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let parsed = text.map(|text| text.parse().map_err(serde::de::Error::custom));
        parsed.transpose()
    }
}

#[cfg(test)]
mod tests {
    use arbiter_testkit::builders::component;

    use super::*;

    fn record() -> IncidentRecord {
        let now = Timestamp::from_micros(1);
        IncidentRecord::opened(
            component("store"),
            FailureKind::Internal,
            Severity::High,
            "it fails",
            now,
        )
    }

    #[test]
    fn a_long_time_line_keeps_its_beginning_and_its_end() {
        let mut record = record();
        for number in 0..1_000 {
            let at = Timestamp::from_micros(number);
            record.tell(at, TimelineEvent::Failed, None, &number.to_string());
        }
        assert_eq!(record.timeline.len(), TIMELINE);
        assert_eq!(record.timeline_dropped, 800);
        assert_eq!(record.timeline[TIMELINE_HEAD - 1].text, "19");
        assert_eq!(record.timeline[TIMELINE - 1].text, "999");
    }

    #[test]
    fn details_are_bounded_and_replaced_by_name() {
        let mut record = record();
        record.know("error", "first");
        record.know("error", &"ü".repeat(2_000));
        for number in 0..100 {
            record.know(&format!("name {number}"), "value");
        }
        assert_eq!(record.details.len(), DETAILS);
        assert_eq!(record.details[0].1.len(), DETAIL_BYTES);
        assert_eq!(cut("a\u{0}\u{1b}b\nc", 10), "ab\nc");
        assert_eq!(cut("üü", 3), "ü");
    }

    #[test]
    fn what_is_open_is_found_and_what_has_ended_goes() {
        let mut record = record();
        assert!(record.placed().index.contains(&(OPEN.0, OPEN.1.to_owned())));
        assert_eq!(record.placed().expires_at, None);
        record.state = IncidentState::Resolved;
        record.ended_at = Some(Timestamp::from_micros(5));
        let placed = record.placed();
        assert!(!placed.index.iter().any(|(name, _)| *name == OPEN.0));
        assert_eq!(placed.expires_at, Some(Timestamp::from_micros(5).plus(KEPT)));
    }

    #[test]
    fn what_it_touches_is_the_most_that_was_told_and_absent_stays_absent() {
        let mut record = record();
        record.touches(&Impact::default());
        assert_eq!((record.users, record.tasks), (None, None));
        for tasks in [Some(3), None, Some(2)] {
            record.touches(&Impact {
                services: vec!["queue".to_owned()],
                users: None,
                tasks,
            });
        }
        assert_eq!((record.users, record.tasks), (None, Some(3)));
        assert_eq!(record.services, ["queue"]);
    }
}
