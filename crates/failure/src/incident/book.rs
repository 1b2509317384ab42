//! Opens, updates and resolves incidents, together with what their targets are told: as writes that commit with those of
//! whoever caused them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arbiter_core::model::{
    AuditAction, ComponentName, FailureKind, Impact, IncidentId, IncidentState, Json, PrincipalId,
    RecordDraft, Severity, Timestamp,
};
use arbiter_core::ports::{
    DocumentError, DocumentWrite, Documents, Effects, IdSource, Metrics, NewOutboxEntry, NoticeStep,
    Precondition, StoreError,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::record::{IncidentRecord, KEY_KIND, KIND, TimelineEvent, deduplication_key, key_id};
use crate::escalation::{Policies, advance, begin, end_of_silences};
use crate::notify::{Parcel, TOPIC};
use crate::records::{Kept, Placed, Shelf, corrupt, written};

/// What the book needs.
#[derive(Clone)]
pub(crate) struct BookPorts {
    pub(crate) documents: Arc<dyn Documents>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) metrics: Arc<dyn Metrics>,
    pub(crate) policies: Arc<Policies>,
}

/// Keeps incidents.
#[derive(Clone)]
pub(crate) struct Book {
    pub(crate) incidents: Shelf,
    keys: Shelf,
    ports: BookPorts,
}

/// Why an incident is opened or goes on.
#[derive(Debug, Clone)]
pub(crate) struct Cause {
    pub(crate) component: ComponentName,
    pub(crate) kind: FailureKind,
    pub(crate) severity: Severity,
    /// The title, where it is opened.
    pub(crate) title: String,
    /// How many failures are added.
    pub(crate) failures: u64,
    /// When the latest of them was seen.
    pub(crate) at: Timestamp,
    pub(crate) details: Vec<(String, String)>,
    pub(crate) impact: Impact,
    /// A line for the time line.
    pub(crate) why: String,
}

/// Changes that commit together, and what is told of them when they have.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub(crate) documents: Vec<DocumentWrite>,
    pub(crate) outbox: Vec<NewOutboxEntry>,
    pub(crate) actions: Vec<AuditAction>,
    pub(crate) detail: Option<Json>,
    /// Escalations to log and count: incident, severity, target, why.
    pub(crate) escalated: Vec<(IncidentId, Severity, String)>,
}

/// What was found of a component and kind.
#[derive(Debug, Default)]
pub(crate) struct Found {
    key: Option<Kept<OpenKey>>,
    /// The open incident, if there is one.
    pub(crate) open: Option<(IncidentId, Kept<IncidentRecord>)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct OpenKey {
    #[serde(with = "crate::word::as_text")]
    incident: IncidentId,
}

impl Book {
    pub(crate) fn new(ports: BookPorts) -> Self {
        Self {
            incidents: Shelf::new(&ports.documents, KIND),
            keys: Shelf::new(&ports.documents, KEY_KIND),
            ports,
        }
    }

    /// An incident by id.
    pub(crate) async fn get(&self, id: IncidentId) -> Result<Option<Kept<IncidentRecord>>, StoreError> {
        self.incidents.get(&id.to_string()).await
    }

    /// What there is of a component and kind.
    pub(crate) async fn look(
        &self,
        component: &ComponentName,
        kind: FailureKind,
    ) -> Result<Found, StoreError> {
        let key = key_id(&deduplication_key(component, kind));
        let Some(kept) = self.keys.get::<OpenKey>(&key).await? else {
            return Ok(Found::default());
        };
        let id = kept.body.incident;
        let incident = self.get(id).await?.filter(|kept| kept.body.state.is_open());
        Ok(Found {
            key: Some(kept),
            open: incident.map(|incident| (id, incident)),
        })
    }

    /// The writes that open the incident of a cause, or add to the open one. A repeat after another's write finds that.
    pub(crate) async fn raise(&self, cause: &Cause, now: Timestamp) -> Result<Writes, StoreError> {
        let found = self.look(&cause.component, cause.kind).await?;
        self.raise_found(found, cause, now).await
    }

    /// As [`Self::raise`], with what was found for the cause already.
    pub(crate) async fn raise_found(
        &self,
        found: Found,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Writes, StoreError> {
        match found.open {
            Some((id, kept)) => self.go_on(id, kept, cause, now).await,
            None => self.open(found.key.as_ref(), cause, now).await,
        }
    }

    /// A key that there is already is left over from an incident that has ended; it is replaced.
    async fn open(
        &self,
        old: Option<&Kept<OpenKey>>,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Writes, StoreError> {
        let id = self.ports.ids.incident();
        let mut record = IncidentRecord::opened(
            cause.component.clone(),
            cause.kind,
            cause.severity,
            &cause.title,
            now,
        );
        add(&mut record, cause);
        record.tell(now, TimelineEvent::Opened, None, &cause.why);
        let policy = self
            .ports
            .policies
            .about(&cause.component, cause.severity)
            .await?;
        let policy = policy.as_ref().map(|found| (found.name.as_str(), &found.policy));
        begin(&mut record, policy, now);
        let mut writes = Writes {
            actions: vec![AuditAction::IncidentOpened],
            ..Writes::default()
        };
        if let Some((_, policy)) = policy {
            let silences = self.ports.policies.silences().await?;
            let targets = advance(&mut record, policy, &silences, now);
            self.tell(&mut record, id, targets, None, &cause.why, now, &mut writes)?;
        }
        let key = key_id(&deduplication_key(&cause.component, cause.kind));
        let unchanged = old.map_or(Precondition::Absent, Kept::unchanged);
        writes.detail = Some(detail(id, &record));
        writes.documents = vec![
            self.incidents
                .put(&id.to_string(), Precondition::Absent, &record, record.placed())?,
            self.keys
                .put(&key, unchanged, &OpenKey { incident: id }, Placed::default())?,
        ];
        Ok(writes)
    }

    async fn go_on(
        &self,
        id: IncidentId,
        mut kept: Kept<IncidentRecord>,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<Writes, StoreError> {
        let record = &mut kept.body;
        let worse = cause.severity > record.severity;
        record.severity = record.severity.max(cause.severity);
        add(record, cause);
        let mut writes = Writes {
            actions: vec![AuditAction::IncidentUpdated],
            ..Writes::default()
        };
        if worse {
            record.tell(now, TimelineEvent::Worsened, None, &cause.why);
            let silences = self.ports.policies.silences().await?;
            if end_of_silences(record, &silences, now).is_none() {
                let told = record.escalation.told.iter().cloned().collect();
                self.tell(
                    record,
                    id,
                    told,
                    Some(NoticeStep::Update),
                    &cause.why,
                    now,
                    &mut writes,
                )?;
            }
        } else if record
            .timeline
            .last()
            .is_none_or(|last| last.event != TimelineEvent::Failed)
        {
            record.tell(now, TimelineEvent::Failed, None, &cause.why);
        }
        writes.detail = Some(detail(id, record));
        writes.documents = vec![self.changed(&kept)?];
        Ok(writes)
    }

    /// The writes that end the open incident of a component and kind, if there is one.
    pub(crate) async fn settle(
        &self,
        component: &ComponentName,
        kind: FailureKind,
        why: &str,
        now: Timestamp,
    ) -> Result<Option<Writes>, StoreError> {
        let Some((id, mut kept)) = self.look(component, kind).await?.open else {
            return Ok(None);
        };
        self.end(id, &mut kept, IncidentState::Resolved, None, why, now)
            .await
            .map(Some)
    }

    /// The writes that end an incident.
    pub(crate) async fn end(
        &self,
        id: IncidentId,
        kept: &mut Kept<IncidentRecord>,
        state: IncidentState,
        by: Option<PrincipalId>,
        why: &str,
        now: Timestamp,
    ) -> Result<Writes, StoreError> {
        let was_open = kept.body.state.is_open();
        let (event, action) = match state {
            IncidentState::Closed => (TimelineEvent::Closed, AuditAction::IncidentClosed),
            _ => (TimelineEvent::Resolved, AuditAction::IncidentResolved),
        };
        let record = &mut kept.body;
        record.state = state;
        record.ended_at = record.ended_at.or(Some(now));
        record.escalation.next_at = None;
        record.tell(now, event, by, why);
        let mut writes = Writes {
            actions: vec![action],
            ..Writes::default()
        };
        if was_open {
            let told = record.escalation.told.iter().cloned().collect();
            self.tell(record, id, told, Some(NoticeStep::Resolve), why, now, &mut writes)?;
        }
        writes.detail = Some(detail(id, record));
        writes.documents = vec![self.changed(kept)?];
        let key = key_id(&deduplication_key(&kept.body.component, kept.body.kind));
        let open = self.keys.get::<OpenKey>(&key).await?;
        if let Some(open) = open.filter(|open| open.body.incident == id) {
            writes.documents.push(self.keys.delete(&key, open.unchanged()));
        }
        Ok(writes)
    }

    /// Writes something down on the time line of an incident; an incident that is gone needs no line.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn note(
        &self,
        id: IncidentId,
        event: TimelineEvent,
        text: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        // others may write at the same time; a line that does not get its turn is not worth more tries
        for _ in 0..8 {
            let Some(mut kept) = self.get(id).await? else {
                return Ok(());
            };
            kept.body.tell(now, event, None, text);
            let writes = Writes {
                documents: vec![self.changed(&kept)?],
                actions: vec![AuditAction::IncidentUpdated],
                ..Writes::default()
            };
            if written(self.commit(writes, None).await)? {
                return Ok(());
            }
        }
        tracing::warn!(event = "timeline_not_written", incident.id = %id, text, "a line of a time line was not written");
        Ok(())
    }

    /// The write of a changed incident.
    pub(crate) fn changed(&self, kept: &Kept<IncidentRecord>) -> Result<DocumentWrite, StoreError> {
        self.incidents
            .put(&kept.id, kept.unchanged(), &kept.body, kept.body.placed())
    }

    /// Makes notices for targets, each counted within its incident. `step` is what they are told; without one it is that of
    /// an escalation, which is counted and logged when it is committed.
    #[expect(clippy::too_many_arguments, reason = "private; each is another thing")]
    pub(crate) fn tell(
        &self,
        record: &mut IncidentRecord,
        id: IncidentId,
        targets: BTreeSet<String>,
        step: Option<NoticeStep>,
        why: &str,
        now: Timestamp,
        writes: &mut Writes,
    ) -> Result<(), StoreError> {
        for target in targets {
            record.notices = record.notices.saturating_add(1);
            let parcel = Parcel {
                version: Parcel::VERSION,
                incident: id,
                target: target.clone(),
                step: step.unwrap_or_else(|| record.step_for(&target)),
                number: record.notices,
                at: now,
                why: super::record::cut(why, 500),
            };
            let body = serde_json::to_value(&parcel).map_err(|error| corrupt(TOPIC, error))?;
            writes.outbox.push(NewOutboxEntry {
                id: self.ports.ids.outbox(),
                topic: TOPIC.to_owned(),
                about: None,
                body: Json::of(&body),
            });
            if step.is_none() {
                writes.escalated.push((id, record.severity, target.clone()));
            }
            if !record.escalation.told.contains(&target) {
                record.escalation.told.push(target);
            }
        }
        Ok(())
    }

    /// Commits changes, all or none, and tells of them when they are.
    ///
    /// # Errors
    /// [`DocumentError::Precondition`] when something changed meanwhile: read and decide again.
    pub(crate) async fn commit(&self, writes: Writes, by: Option<PrincipalId>) -> Result<(), DocumentError> {
        let draft = RecordDraft {
            principal: by,
            actions: writes.actions,
            detail: writes.detail,
            ..RecordDraft::default()
        };
        self.commit_as(writes.documents, writes.outbox, draft).await?;
        for (incident, severity, target) in writes.escalated {
            let labels = [("severity", severity.word()), ("target", target.as_str())];
            self.ports
                .metrics
                .count("failure_manager.escalations_total", &labels, 1);
            tracing::warn!(
                event = "incident_escalated",
                incident.id = %incident,
                severity = severity.word(),
                target,
                "somebody is told of an incident"
            );
        }
        Ok(())
    }

    async fn commit_as(
        &self,
        documents: Vec<DocumentWrite>,
        outbox: Vec<NewOutboxEntry>,
        record: RecordDraft,
    ) -> Result<(), DocumentError> {
        let effects = Effects { record, outbox };
        self.incidents
            .documents
            .write(documents, effects)
            .await
            .map(|_| ())
    }
}

impl Writes {
    /// Adds other changes to these.
    pub(crate) fn and(mut self, more: Self) -> Self {
        self.documents.extend(more.documents);
        self.outbox.extend(more.outbox);
        self.actions.extend(more.actions);
        self.escalated.extend(more.escalated);
        self.detail = self.detail.or(more.detail);
        self
    }
}

fn add(record: &mut IncidentRecord, cause: &Cause) {
    record.failures = record.failures.saturating_add(cause.failures);
    record.last_failure_at = record.last_failure_at.max(cause.at);
    record.touches(&cause.impact);
    for (name, value) in &cause.details {
        record.know(name, value);
    }
}

fn detail(id: IncidentId, record: &IncidentRecord) -> Json {
    Json::of(&json!({
        "incident": id.to_string(),
        "component": record.component.as_str(),
        "kind": record.kind.word(),
        "severity": record.severity.word(),
        "state": record.state.word(),
        "level": record.escalation.level,
    }))
}
