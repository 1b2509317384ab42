//! Incidents as callers see them.

use arbiter_core::model::{
    ComponentName, FailureKind, Impact, IncidentId, IncidentState, Severity, Timestamp,
};

use super::record::{IncidentRecord, TimelineEntry, deduplication_key};

/// An incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Incident {
    /// Its id.
    pub id: IncidentId,
    /// Names what it is about: of incidents with one key, one is open at most.
    pub key: String,
    /// One line that says what is wrong.
    pub title: String,
    /// What failed.
    pub component: ComponentName,
    /// How.
    pub kind: FailureKind,
    /// How bad it is.
    pub severity: Severity,
    /// How it stands.
    pub state: IncidentState,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// When its latest failure was seen.
    pub last_failure_at: Timestamp,
    /// When it was resolved or closed.
    pub ended_at: Option<Timestamp>,
    /// How many failures it sums up.
    pub failures: u64,
    /// What it touches.
    pub impact: Impact,
    /// What more is known, by name, in order.
    pub details: Vec<(String, String)>,
    /// What happened, in order.
    pub timeline: Vec<TimelineEntry>,
    /// How many entries of the middle of the time line were dropped.
    pub timeline_dropped: u64,
    /// The policy that says who is told.
    pub policy: Option<String>,
    /// When the next level is told, if one is.
    pub next_escalation_at: Option<Timestamp>,
    /// Who was told.
    pub told: Vec<String>,
    /// Counts its changes; the `ETag`.
    pub revision: u64,
}

/// Which incidents to list.
#[derive(Debug, Clone, Default)]
pub struct IncidentFilter {
    /// Only those that stand so.
    pub state: Option<IncidentState>,
    /// Only those that are open, acknowledged or investigated.
    pub open: bool,
    /// Only those of a component.
    pub component: Option<ComponentName>,
    /// Only those after this one.
    pub after: Option<IncidentId>,
    /// At most so many, 1–200.
    pub limit: usize,
}

/// A page of incidents, the oldest first.
#[derive(Debug, Clone, Default)]
pub struct IncidentPage {
    /// The incidents.
    pub incidents: Vec<Incident>,
    /// Where to go on, if there may be more.
    pub next: Option<IncidentId>,
}

impl Incident {
    pub(super) fn of(id: IncidentId, record: IncidentRecord, revision: u64) -> Self {
        Self {
            id,
            key: deduplication_key(&record.component, record.kind),
            title: record.title,
            component: record.component,
            kind: record.kind,
            severity: record.severity,
            state: record.state,
            opened_at: record.opened_at,
            last_failure_at: record.last_failure_at,
            ended_at: record.ended_at,
            failures: record.failures,
            impact: Impact {
                services: record.services,
                users: record.users,
                tasks: record.tasks,
            },
            details: record.details,
            timeline: record.timeline,
            timeline_dropped: record.timeline_dropped,
            policy: record.escalation.policy,
            next_escalation_at: record.escalation.next_at,
            told: record.escalation.told,
            revision,
        }
    }
}
