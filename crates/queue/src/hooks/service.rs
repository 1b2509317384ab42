//! What tenants do with their hooks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{
    HookId, Operation, OutboxId, Principal, RecordDraft, Resource, TaskKind, TenantId, TenantScope,
};
use arbiter_core::ports::{Documents, Effects, Entropy, NewOutboxEntry, Precondition};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::log::{self, DeliveryRecord, Entry, Logs};
use super::record::{self, Body, Hook, HookChange, HookEvent, NewHook, NewSecret};
use super::{TOPIC, events, url};
use crate::records::{Kept, RecordError, Shelf, corrupt, expected};
use crate::repeats::{Call, Made, Once, Repeats, What};
use crate::service::SecureQueue;

/// What a deployment can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HookSettings {
    /// Whether hooks may use plain http to this machine; no.
    pub loopback_http: bool,
    /// How many hooks a tenant may have, up to 1000; 100.
    pub per_tenant: usize,
    /// The longest time that a former secret may be used beside a new one; 7 days.
    pub longest_overlap: Duration,
}

impl Default for HookSettings {
    fn default() -> Self {
        Self {
            loopback_http: false,
            per_tenant: 100,
            longest_overlap: Duration::from_hours(24 * 7),
        }
    }
}

/// Keeps hooks. Each operation: authorise, limit, act, audit.
pub struct Hooks {
    queue: Arc<SecureQueue>,
    records: Shelf,
    repeats: Repeats,
    logs: Logs,
    entropy: Arc<dyn Entropy>,
    settings: HookSettings,
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hooks")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Hooks {
    /// Hooks kept in `documents`; `queue` says who may do what.
    pub fn new(
        queue: Arc<SecureQueue>,
        documents: &Arc<dyn Documents>,
        entropy: Arc<dyn Entropy>,
        settings: HookSettings,
    ) -> Self {
        Self {
            queue,
            records: Shelf::new(documents, record::KIND),
            repeats: Repeats::new(documents),
            logs: Logs::new(documents),
            entropy,
            settings,
        }
    }

    /// Makes a hook with a new secret. With an idempotency key a repeated call finds the hook that the first one made, and
    /// gives its present secret; else the secret is shown this once.
    ///
    /// # Errors
    /// See [`RecordError`].
    ///
    /// # Cancel safety
    /// The hook may be stored although the future is dropped; with an idempotency key a repeat finds it, else nobody knows
    /// its secret and it can be deleted.
    pub async fn create(
        &self,
        principal: &Principal,
        tenant: TenantId,
        new: NewHook,
        key: Option<&str>,
    ) -> Result<Made<NewSecret>, RecordError> {
        let operation = Operation::HookCreate;
        self.queue.permit_in(principal, operation, tenant).await?;
        let made = self.made(principal, tenant, new, key).await;
        self.queue
            .told(principal, operation, Resource::new(record::KIND, ""), made)
            .await
    }

    async fn made(
        &self,
        principal: &Principal,
        tenant: TenantId,
        new: NewHook,
        key: Option<&str>,
    ) -> Result<Made<NewSecret>, RecordError> {
        self.check(Some(&new.url), Some(&new.events), new.kinds.as_ref())?;
        let once = key.map(|key| {
            let call = Call {
                what: What::Hook,
                tenant,
                by: principal.id,
                key,
            };
            let made_of = self.queue.sealed(call.what, &record::asked(&new))?;
            self.repeats.once(call, made_of)
        });
        let once = once.transpose()?;
        if let Some(once) = &once
            && let Some(found) = self.repeated(tenant, once).await?
        {
            return Ok(found);
        }
        let limit = self.settings.per_tenant.min(1_000);
        let there = self
            .records
            .list::<Body>(TenantScope::Tenant(tenant), None, None, limit)
            .await?;
        if there.len() >= limit {
            return Err(RecordError::TooMany { what: "hooks", limit });
        }
        let id = match &once {
            Some(once) => HookId::from_bytes(once.id()),
            None => self.queue.ports.ids.hook(),
        };
        let (secret, now) = (self.secret(), self.queue.ports.clock.now());
        let mut body = Body::new(new, &secret, principal.id, now);
        body.made_of = once.as_ref().map(|once| once.made_of().to_owned());
        let mut writes = vec![
            self.records
                .put(tenant, &id.to_string(), Precondition::Absent, &body)?,
        ];
        if let Some(once) = &once {
            writes.push(once.write(now)?);
        }
        let effects = Effects::of(RecordDraft::by(principal.id, Operation::HookCreate));
        let written = self.records.documents.write(writes, effects).await;
        match (written.map_err(RecordError::from), &once) {
            (Err(changed @ RecordError::Changed { .. }), Some(once)) => {
                // The same call, twice at once.
                return self.repeated(tenant, once).await?.ok_or(changed);
            }
            (written, _) => written?,
        };
        let kept = Kept {
            tenant,
            id: id.to_string(),
            body,
            revision: 1,
        };
        Ok(Made::now(NewSecret {
            hook: record::hook(&kept)?,
            secret,
        }))
    }

    /// What an earlier call with the same key made.
    async fn repeated(&self, tenant: TenantId, once: &Once) -> Result<Option<Made<NewSecret>>, RecordError> {
        let id = HookId::from_bytes(once.id()).to_string();
        let Some(kept) = once.find::<Body>(&self.records, tenant, &id).await? else {
            return Ok(None);
        };
        let secret = (kept.body.secrets.first()).ok_or_else(|| corrupt(record::KIND, "it has no secret"))?;
        Ok(Some(Made::before(NewSecret {
            hook: record::hook(&kept)?,
            secret: SecretText::new(secret.text.clone()),
        })))
    }

    /// The hooks of a tenant, by id.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn list(&self, principal: &Principal, tenant: TenantId) -> Result<Vec<Hook>, RecordError> {
        self.queue
            .permit_in(principal, Operation::HookList, tenant)
            .await?;
        let kept = self
            .records
            .list::<Body>(TenantScope::Tenant(tenant), None, None, 1_000)
            .await?;
        Ok(kept.iter().map(record::hook).collect::<Result<_, _>>()?)
    }

    /// One hook.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn get(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: HookId,
    ) -> Result<Hook, RecordError> {
        self.queue
            .permit_in(principal, Operation::HookList, tenant)
            .await?;
        Ok(record::hook(&self.load(tenant, id).await?)?)
    }

    /// Changes, pauses or resumes a hook. `revision` is the one that the caller read, if it insists.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn update(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: HookId,
        revision: Option<u64>,
        change: HookChange,
    ) -> Result<Hook, RecordError> {
        let operation = Operation::HookUpdate;
        self.queue.permit_in(principal, operation, tenant).await?;
        let updated = self.updated(principal, tenant, id, revision, change).await;
        self.queue.told(principal, operation, resource(id), updated).await
    }

    async fn updated(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: HookId,
        revision: Option<u64>,
        change: HookChange,
    ) -> Result<Hook, RecordError> {
        let kinds = change.kinds.as_ref().and_then(Option::as_ref);
        self.check(change.url.as_ref(), change.events.as_ref(), kinds)?;
        let mut kept = self.load(tenant, id).await?;
        let precondition = expected(revision, kept.revision)?;
        let enabled = kept.body.disabled.is_some() && change.paused == Some(false);
        kept.body.change(change);
        let mut writes = vec![self.records.put(tenant, &kept.id, precondition, &kept.body)?];
        if enabled {
            let (mut log, precondition) = self.logs.get(tenant, id).await?;
            log.forgive();
            writes.push(self.logs.shelf.put(tenant, &kept.id, precondition, &log)?);
        }
        let effects = Effects::of(RecordDraft::by(principal.id, Operation::HookUpdate));
        self.records.documents.write(writes, effects).await?;
        kept.revision += 1;
        Ok(record::hook(&kept)?)
    }

    /// Gives a hook a new secret, shown this once. The former one is used beside it for `overlap`; one before that
    /// ends now.
    ///
    /// # Errors
    /// See [`RecordError`].
    ///
    /// # Cancel safety
    /// The secret may be replaced although the future is dropped; rotate again then.
    pub async fn rotate(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: HookId,
        revision: Option<u64>,
        overlap: Duration,
    ) -> Result<NewSecret, RecordError> {
        let operation = Operation::HookUpdate;
        self.queue.permit_in(principal, operation, tenant).await?;
        let rotated = self.rotated(principal, tenant, id, revision, overlap).await;
        self.queue.told(principal, operation, resource(id), rotated).await
    }

    async fn rotated(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: HookId,
        revision: Option<u64>,
        overlap: Duration,
    ) -> Result<NewSecret, RecordError> {
        let longest = self.settings.longest_overlap;
        if overlap > longest {
            let problem = format!("is longer than {} s", longest.as_secs());
            return Err(RecordError::invalid("overlap", problem));
        }
        let mut kept = self.load(tenant, id).await?;
        let precondition = expected(revision, kept.revision)?;
        let secret = self.secret();
        kept.body
            .rotate(&secret, self.queue.ports.clock.now().plus(overlap));
        let write = self.records.put(tenant, &kept.id, precondition, &kept.body)?;
        let effects = Effects::of(RecordDraft::by(principal.id, Operation::HookUpdate));
        self.records.documents.write(vec![write], effects).await?;
        kept.revision += 1;
        Ok(NewSecret {
            hook: record::hook(&kept)?,
            secret,
        })
    }

    /// Deletes a hook with its log. Messages that wait for it are dropped.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn delete(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: HookId,
        revision: Option<u64>,
    ) -> Result<(), RecordError> {
        let operation = Operation::HookDelete;
        self.queue.permit_in(principal, operation, tenant).await?;
        let deleted = self.deleted(principal, tenant, id, revision).await;
        self.queue.told(principal, operation, resource(id), deleted).await
    }

    async fn deleted(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: HookId,
        revision: Option<u64>,
    ) -> Result<(), RecordError> {
        let kept = self.load(tenant, id).await?;
        let precondition = expected(revision, kept.revision)?;
        let writes = vec![
            self.records.delete(tenant, &kept.id, precondition),
            self.logs.shelf.delete(tenant, &kept.id, Precondition::Any),
        ];
        let effects = Effects::of(RecordDraft::by(principal.id, Operation::HookDelete));
        self.records.documents.write(writes, effects).await?;
        Ok(())
    }

    /// The last 100 deliveries of a hook, the latest change first.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn deliveries(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: HookId,
    ) -> Result<Vec<DeliveryRecord>, RecordError> {
        self.queue
            .permit_in(principal, Operation::HookList, tenant)
            .await?;
        self.load(tenant, id).await?;
        let kept = self.logs.shelf.get(tenant, &id.to_string()).await?;
        Ok(log::newest_first(kept)?)
    }

    /// Sends a delivery of the log again, under the same message id.
    ///
    /// # Errors
    /// See [`RecordError`]; not found when the log or the store no longer has the delivery or its task; refused while
    /// the hook is paused or switched off, or while the delivery is still being tried.
    pub async fn replay(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: HookId,
        delivery: OutboxId,
    ) -> Result<DeliveryRecord, RecordError> {
        let operation = Operation::HookReplay;
        self.queue.permit_in(principal, operation, tenant).await?;
        let replayed = self.replayed(principal, tenant, id, delivery).await;
        self.queue
            .told(principal, operation, resource(id), replayed)
            .await
    }

    async fn replayed(
        &self,
        principal: &Principal,
        tenant: TenantId,
        id: HookId,
        delivery: OutboxId,
    ) -> Result<DeliveryRecord, RecordError> {
        let kept = self.load(tenant, id).await?;
        if !record::hook(&kept)?.is_active() {
            return Err(RecordError::invalid(
                "hook",
                "is paused or switched off: resume it first",
            ));
        }
        let (mut log, precondition) = self.logs.get(tenant, id).await?;
        let delivery = delivery.to_string();
        let found = log
            .deliveries
            .iter()
            .find(|entry| entry.about.delivery == delivery);
        let about = found.ok_or(RecordError::NOT_FOUND)?;
        let shown = log::shown(about)?;
        if shown.status == super::DeliveryStatus::Waiting {
            return Err(RecordError::invalid("delivery", "is being tried already"));
        }
        let about = about.about.clone();
        let tasks = self
            .queue
            .ports
            .reader
            .get(TenantScope::Tenant(tenant), &[shown.task])
            .await?;
        let task = tasks.into_iter().flatten().next().ok_or(RecordError::NOT_FOUND)?;
        let now = self.queue.ports.clock.now();
        let body = events::parcel(id, tenant, about.clone(), Some(&task), now);
        let entry = Entry::waiting(about);
        let shown = log::shown(&entry)?;
        log.put(entry);
        let effects = Effects {
            record: RecordDraft::by(principal.id, Operation::HookReplay),
            outbox: vec![NewOutboxEntry {
                id: self.queue.ports.ids.outbox(),
                topic: TOPIC.to_owned(),
                about: Some((tenant, Some(task.task.id))),
                body,
            }],
        };
        let write = self.logs.shelf.put(tenant, &kept.id, precondition, &log)?;
        self.records.documents.write(vec![write], effects).await?;
        Ok(shown)
    }

    async fn load(&self, tenant: TenantId, id: HookId) -> Result<Kept<Body>, RecordError> {
        let kept = self.records.get(tenant, &id.to_string()).await?;
        kept.ok_or(RecordError::NOT_FOUND)
    }

    /// 32 random bytes in the text form of Standard Webhooks.
    fn secret(&self) -> SecretText {
        let mut bytes = [0; 32];
        self.entropy.fill(&mut bytes);
        SecretText::new(format!("whsec_{}", STANDARD.encode(bytes)))
    }

    fn check(
        &self,
        url: Option<&SecretText>,
        events: Option<&BTreeSet<HookEvent>>,
        kinds: Option<&BTreeSet<TaskKind>>,
    ) -> Result<(), RecordError> {
        if let Some(url) = url {
            url::check(url.expose(), self.settings.loopback_http)
                .map_err(|problem| RecordError::invalid("url", problem))?;
        }
        if events.is_some_and(BTreeSet::is_empty) {
            return Err(RecordError::invalid("events", "must name at least one event"));
        }
        if kinds.is_some_and(|kinds| kinds.is_empty() || kinds.len() > 64) {
            return Err(RecordError::invalid(
                "kinds",
                "must name 1 to 64 kinds, or be absent for all",
            ));
        }
        Ok(())
    }
}

fn resource(id: HookId) -> Resource {
    Resource::new(record::KIND, id.to_string())
}
