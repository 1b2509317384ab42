//! What tenants do with their schedules.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{
    Operation, Principal, RecordDraft, Resource, ScheduleId, TenantId, TenantScope, Timestamp,
};
use arbiter_core::ports::{
    DocumentError, DocumentWrite, Documents, Effects, Precondition, SpecCodec, StoreError,
};
use tokio::sync::Notify;

use super::plan::Upcoming;
use super::record::{self, Body, NewSchedule, Paused, Schedule, ScheduleChange};
use super::state::{self, State};
use super::terms::calendar;
use crate::error::QueueError;
use crate::records::{Kept, RecordError, Shelf, VERSION, expected};
use crate::repeats::{Call, Once, Repeats, What, digest};
use crate::service::SecureQueue;
use crate::submission::Submission;

/// How many instants a preview shows at most.
const MAX_PREVIEW: usize = 100;

/// What a deployment can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScheduleSettings {
    /// How many schedules a tenant may have, up to 1000; 1000.
    pub per_tenant: usize,
    /// How late an instant may be found and still count as met in time; 60 s.
    pub grace: Duration,
}

impl Default for ScheduleSettings {
    fn default() -> Self {
        Self {
            per_tenant: 1_000,
            grace: Duration::from_mins(1),
        }
    }
}

/// Keeps schedules. Each operation: authorise, limit, act, audit.
pub struct Schedules {
    pub(super) queue: Arc<SecureQueue>,
    pub(super) records: Shelf,
    pub(super) states: Shelf,
    repeats: Repeats,
    pub(super) codec: Arc<dyn SpecCodec>,
    pub(super) settings: ScheduleSettings,
    pub(super) changed: Notify,
}

impl std::fmt::Debug for Schedules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Schedules")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A schedule that a call made, or had made before.
#[derive(Debug, Clone)]
pub struct MadeSchedule {
    /// The schedule as it is now.
    pub schedule: Schedule,
    /// Whether it was made before, by a call with the same idempotency key.
    pub repeated: bool,
}

impl Schedules {
    /// Schedules kept in `documents`; `queue` says who may do what, and takes the tasks.
    pub fn new(
        queue: Arc<SecureQueue>,
        documents: &Arc<dyn Documents>,
        codec: Arc<dyn SpecCodec>,
        settings: ScheduleSettings,
    ) -> Self {
        Self {
            queue,
            records: Shelf::new(documents, record::KIND),
            states: Shelf::new(documents, state::KIND),
            repeats: Repeats::new(documents),
            codec,
            settings,
            changed: Notify::new(),
        }
    }

    /// Makes a schedule. With an idempotency key a repeated call finds the schedule that the first one made.
    ///
    /// # Errors
    /// See [`RecordError`]. The task is checked as if it were submitted now.
    ///
    /// # Cancel safety
    /// The schedule may be stored although the future is dropped; with an idempotency key a repeat finds it.
    pub async fn create(
        &self,
        principal: &Principal,
        tenant: TenantId,
        new: NewSchedule,
        key: Option<&str>,
    ) -> Result<MadeSchedule, RecordError> {
        let operation = Operation::ScheduleCreate;
        self.queue.permit_in(principal, operation, tenant).await?;
        let made = self.made(principal, tenant, new, key).await;
        self.queue.told(principal, operation, resource(""), made).await
    }

    async fn made(
        &self,
        principal: &Principal,
        tenant: TenantId,
        new: NewSchedule,
        key: Option<&str>,
    ) -> Result<MadeSchedule, RecordError> {
        let terms = self.terms(principal, tenant, new).await?;
        let made_of = digest(&terms)?;
        let call = |key| Call {
            what: What::Schedule,
            tenant,
            by: principal.id,
            key,
        };
        let once = key.map(|key| self.repeats.once(call(key), made_of.clone()));
        let once = once.transpose()?;
        if let Some(once) = &once
            && let Some(found) = self.repeated(tenant, once).await?
        {
            return Ok(found);
        }
        let id = match &once {
            Some(once) => ScheduleId::from_bytes(once.id()),
            None => self.queue.ports.ids.schedule(),
        };
        let limit = self.settings.per_tenant.clamp(1, 1_000);
        let there = self
            .records
            .list::<Body>(TenantScope::Tenant(tenant), None, None, limit)
            .await?;
        if there.len() >= limit {
            return Err(RecordError::TooMany {
                what: "schedules",
                limit,
            });
        }
        let now = self.queue.ports.clock.now();
        let state = State::new(self.timing(id, &terms)?.after(now).next());
        let body = Body {
            version: VERSION,
            terms,
            paused: None,
            created_by: principal.id.to_string(),
            created_at: now.as_micros(),
            acts_as: principal.id.to_string(),
            made_of,
        };
        let mut writes = vec![
            self.records
                .put(tenant, &id.to_string(), Precondition::Absent, &body)?,
            state.write(&self.states, tenant, id, Precondition::Any)?,
        ];
        if let Some(once) = &once {
            writes.push(once.write(now)?);
        }
        let draft = RecordDraft::by(principal.id, Operation::ScheduleCreate);
        match (self.write(writes, draft).await, &once) {
            (Err(changed @ RecordError::Changed { .. }), Some(once)) => {
                // The same call, twice at once.
                return self.repeated(tenant, once).await?.ok_or(changed);
            }
            (written, _) => written?,
        }
        let kept = Kept {
            tenant,
            id: id.to_string(),
            body,
            revision: 1,
        };
        Ok(MadeSchedule {
            schedule: record::schedule(&kept, state.progress()?, self.codec.as_ref())?,
            repeated: false,
        })
    }

    /// What an earlier call with the same key made.
    async fn repeated(&self, tenant: TenantId, once: &Once) -> Result<Option<MadeSchedule>, RecordError> {
        let id = ScheduleId::from_bytes(once.id()).to_string();
        let Some(kept) = once.find::<Body>(&self.records, tenant, &id).await? else {
            return Ok(None);
        };
        Ok(Some(MadeSchedule {
            schedule: self.whole(&kept).await?,
            repeated: true,
        }))
    }

    /// A page of the schedules of a tenant, by id.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn list(
        &self,
        principal: &Principal,
        tenant: TenantId,
        after: Option<ScheduleId>,
        limit: usize,
    ) -> Result<Vec<Schedule>, RecordError> {
        self.queue
            .permit_in(principal, Operation::ScheduleList, tenant)
            .await?;
        let scope = TenantScope::Tenant(tenant);
        let after = after.map(|id| (tenant, id.to_string()));
        let kept = self.records.list::<Body>(scope, None, after, limit).await?;
        let keys: Vec<_> = kept
            .iter()
            .map(|kept| self.states.key(tenant, &kept.id))
            .collect();
        let states = self.states.find::<State>(scope, &keys).await?;
        let whole = kept.iter().zip(states).map(|(kept, state)| {
            let progress = state.map(|state| state.body.progress()).transpose()?;
            record::schedule(kept, progress.unwrap_or_default(), self.codec.as_ref())
        });
        Ok(whole.collect::<Result<_, StoreError>>()?)
    }

    /// One schedule.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn get(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: ScheduleId,
    ) -> Result<Schedule, RecordError> {
        self.queue
            .permit_in(principal, Operation::ScheduleList, tenant)
            .await?;
        let kept = self.load(tenant, id).await?;
        self.whole(&kept).await
    }

    /// What a schedule comes to next, 1–100 instants, whether it is paused or not.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn next(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: ScheduleId,
        count: usize,
    ) -> Result<Vec<Upcoming>, RecordError> {
        self.queue
            .permit_in(principal, Operation::ScheduleList, tenant)
            .await?;
        let kept = self.load(tenant, id).await?;
        let timing = self.timing(id, &kept.body.terms)?;
        let now = self.queue.ports.clock.now();
        Ok(timing.after(now).take(count.clamp(1, MAX_PREVIEW)).collect())
    }

    /// What an expression comes to next, 1–100 instants, before a schedule is made of it.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn preview(
        &self,
        principal: &Principal,
        tenant: TenantId,
        cron: &str,
        zone: &str,
        count: usize,
    ) -> Result<Vec<Timestamp>, RecordError> {
        let operation = Operation::ScheduleList;
        self.queue.permit_in(principal, operation, tenant).await?;
        let now = self.queue.ports.clock.now();
        let shown = calendar(cron, zone)
            .map(|calendar| calendar.after(now).take(count.clamp(1, MAX_PREVIEW)).collect());
        self.queue.told(principal, operation, resource(""), shown).await
    }

    /// Changes, pauses or resumes a schedule. With `revision` it is refused unless that is the present one. Instants
    /// that come while it is paused are passed over.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn update(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: ScheduleId,
        revision: Option<u64>,
        change: ScheduleChange,
    ) -> Result<Schedule, RecordError> {
        let operation = Operation::ScheduleUpdate;
        self.queue.permit_in(principal, operation, tenant).await?;
        let updated = self.updated(principal, tenant, id, revision, change).await;
        let resource = resource(id.to_string());
        self.queue.told(principal, operation, resource, updated).await
    }

    async fn updated(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: ScheduleId,
        revision: Option<u64>,
        change: ScheduleChange,
    ) -> Result<Schedule, RecordError> {
        let mut kept = self.load(tenant, id).await?;
        let precondition = expected(revision, kept.revision)?;
        let found = self.states.get::<State>(tenant, &kept.id).await?;
        let (mut state, state_as_read) = match found {
            Some(found) => (found.body, Precondition::Revision(found.revision)),
            None => (State::new(None), Precondition::Absent),
        };
        let now = self.queue.ports.clock.now();
        let (moved, paused) = (change.cron.is_some() || change.zone.is_some(), change.paused);
        let was_paused = kept.body.paused.is_some();
        let resumes_orphan = change.paused == Some(false)
            && matches!(&kept.body.paused, Some(paused) if paused.reason != Paused::REQUESTED);
        let own = principal.id.to_string();
        if (change.is_substantial() || resumes_orphan) && kept.body.acts_as != own {
            if change.task.is_none() {
                // Who takes it over must be somebody who may submit its task.
                let spec = kept.body.terms.task(self.codec.as_ref())?;
                self.task(principal, tenant, Submission::new(spec)).await?;
            }
            state.hand_over(&own);
            kept.body.acts_as = own;
        }
        self.pause(principal, &mut kept.body, &change, now)?;
        self.amend(principal, tenant, &mut kept.body.terms, change)
            .await?;
        let timing = self.timing(id, &kept.body.terms)?;
        match paused {
            Some(true) => state.halt(),
            _ if kept.body.paused.is_some() => {}
            Some(false) if was_paused => state.come_to(timing.after(now).next()),
            _ if moved => state.come_to(timing.after(now).next()),
            _ => {
                // A change of the jitter moves what comes next, but passes nothing over.
                let next = state.next().map(|next| next.at.minus(Duration::from_micros(1)));
                state.come_to(next.and_then(|before| timing.after(before).next()));
            }
        }
        let writes = vec![
            self.records.put(tenant, &kept.id, precondition, &kept.body)?,
            state.write(&self.states, tenant, id, state_as_read)?,
        ];
        self.write(writes, RecordDraft::by(principal.id, Operation::ScheduleUpdate))
            .await?;
        kept.revision += 1;
        Ok(record::schedule(&kept, state.progress()?, self.codec.as_ref())?)
    }

    /// Deletes a schedule. Tasks that it made stay.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn delete(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: ScheduleId,
        revision: Option<u64>,
    ) -> Result<(), RecordError> {
        let operation = Operation::ScheduleDelete;
        self.queue.permit_in(principal, operation, tenant).await?;
        let deleted = self.deleted(principal, tenant, id, revision).await;
        let resource = resource(id.to_string());
        self.queue.told(principal, operation, resource, deleted).await
    }

    async fn deleted(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: ScheduleId,
        revision: Option<u64>,
    ) -> Result<(), RecordError> {
        let kept = self.load(tenant, id).await?;
        let precondition = expected(revision, kept.revision)?;
        let writes = vec![
            self.records.delete(tenant, &kept.id, precondition),
            self.states.delete(tenant, &kept.id, Precondition::Any),
        ];
        self.write(writes, RecordDraft::by(principal.id, Operation::ScheduleDelete))
            .await
    }

    async fn write(&self, writes: Vec<DocumentWrite>, draft: RecordDraft) -> Result<(), RecordError> {
        let written = self.records.documents.write(writes, Effects::of(draft)).await;
        written.map_err(|error| match error {
            // A run came between reading and writing.
            DocumentError::Precondition { key, found } if key.kind == state::KIND => {
                tracing::debug!(event = "schedule_moved", schedule.id = %key.id, revision = found, "a run came between");
                RecordError::Queue(QueueError::Unavailable {
                    retry_after: Duration::from_millis(100),
                    source: "the schedule was at work in this moment".into(),
                })
            }
            error => error.into(),
        })?;
        self.changed.notify_one();
        Ok(())
    }

    async fn load(&self, tenant: TenantId, id: ScheduleId) -> Result<Kept<Body>, RecordError> {
        let kept = self.records.get(tenant, &id.to_string()).await?;
        kept.ok_or(RecordError::NOT_FOUND)
    }

    async fn whole(&self, kept: &Kept<Body>) -> Result<Schedule, RecordError> {
        let state = self.states.get::<State>(kept.tenant, &kept.id).await?;
        let progress = state.map(|state| state.body.progress()).transpose()?;
        Ok(record::schedule(
            kept,
            progress.unwrap_or_default(),
            self.codec.as_ref(),
        )?)
    }
}

fn resource(id: impl Into<String>) -> Resource {
    Resource::new(record::KIND, id)
}
