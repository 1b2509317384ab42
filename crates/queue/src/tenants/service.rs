//! What may be done with tenants.

use std::sync::Arc;

use arbiter_core::model::{Json, Operation, Principal, RecordDraft, Resource, Target, TenantId};
use arbiter_core::ports::{DocumentError, Documents, Effects, Precondition, StoreError};
use serde_json::{Value, json};

use super::record::{self, Body, KIND, NewTenant, SuspendedBody, Tenant, TenantChange};
use crate::erasures::Erasures;
use crate::error::QueueError;
use crate::records::{Kept, RecordError, Shelf, expected};
use crate::repeats::{Call, Made, Once, Repeats, What};
use crate::service::SecureQueue;
use crate::traffic::TrafficBoard;
use crate::validate;

/// What a deployment can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantSettings {
    /// The tenant of a deployment that names no other. It is there although nothing was stored of it yet.
    pub home: TenantId,
    /// How many tenants there may be; 10 000.
    pub most: usize,
}

impl TenantSettings {
    /// The defaults of a deployment with this tenant.
    pub const fn of(home: TenantId) -> Self {
        Self { home, most: 10_000 }
    }
}

/// A page of tenants, by id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantPage {
    /// The tenants.
    pub tenants: Vec<Tenant>,
    /// Where to go on, if there may be more.
    pub next: Option<TenantId>,
}

/// Keeps tenants. Each operation: authorise, limit, act, audit. What is done is in force on this node when it is
/// answered, on others when they next look.
pub struct Tenants {
    pub(super) queue: Arc<SecureQueue>,
    pub(super) board: Arc<TrafficBoard>,
    pub(super) records: Shelf,
    repeats: Repeats,
    pub(super) erasures: Arc<Erasures>,
    pub(super) settings: TenantSettings,
}

impl std::fmt::Debug for Tenants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenants")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Tenants {
    /// Tenants kept in `documents`; `queue` says who may do what, `board` is told of what is set, `erasures` of what is
    /// deleted.
    pub fn new(
        queue: Arc<SecureQueue>,
        board: Arc<TrafficBoard>,
        documents: &Arc<dyn Documents>,
        erasures: Arc<Erasures>,
        settings: TenantSettings,
    ) -> Self {
        Self {
            queue,
            board,
            records: Shelf::new(documents, KIND),
            repeats: Repeats::new(documents),
            erasures,
            settings,
        }
    }

    /// Makes the record of the deployment's own tenant, unless there is one.
    ///
    /// # Errors
    /// The store's.
    ///
    /// # Cancel safety
    /// Safe: a repeat finishes what was begun.
    pub async fn establish(&self) -> Result<(), StoreError> {
        let home = self.settings.home;
        let id = home.to_string();
        if self.records.get::<Body>(home, &id).await?.is_some() {
            return Ok(());
        }
        let body = Body::new(named_default(), None, Some(self.queue.ports.clock.now()));
        let write = self.records.put(home, &id, Precondition::Absent, &body)?;
        let written = self
            .records
            .documents
            .write(vec![write], Effects::default())
            .await;
        match written {
            // Somebody else was quicker.
            Ok(_) | Err(DocumentError::Precondition { .. }) => self.board.refresh().await,
            Err(DocumentError::Store(error)) => Err(error),
            Err(error) => Err(crate::records::corrupt(KIND, error)),
        }
    }

    /// Makes a tenant. With an idempotency key a repeated call finds the tenant that the first one made.
    ///
    /// # Errors
    /// See [`RecordError`].
    ///
    /// # Cancel safety
    /// The tenant may be stored although the future is dropped; it is found in the list then, and by a repeat with the
    /// same idempotency key.
    pub async fn create(
        &self,
        principal: &Principal,
        new: NewTenant,
        key: Option<&str>,
    ) -> Result<Made<Tenant>, RecordError> {
        let operation = Operation::TenantCreate;
        // It belongs to no tenant yet: a matter of all of them.
        let nobodys = Target::default();
        self.queue.guard(principal, operation, &nobodys).await?;
        let made = self.made(principal, new, key).await;
        let resource = Resource::new(KIND, "");
        self.queue.told(principal, operation, resource, made).await
    }

    async fn made(
        &self,
        principal: &Principal,
        new: NewTenant,
        key: Option<&str>,
    ) -> Result<Made<Tenant>, RecordError> {
        let fields = TenantChange {
            name: Some(new.name.clone()),
            weight: Some(new.weight),
            limits: Some(new.limits.clone()),
        };
        fields.check()?;
        let once = key.map(|key| {
            let call = Call {
                what: What::Tenant,
                // It is made in none: the caller's own keeps its keys apart from those of others.
                tenant: principal.tenant,
                by: principal.id,
                key,
            };
            let made_of = self.queue.sealed(call.what, &record::asked(&new))?;
            self.repeats.once(call, made_of)
        });
        let once = once.transpose()?;
        if let Some(once) = &once
            && let Some(found) = self.repeated(once).await?
        {
            return Ok(found);
        }
        let limit = self.settings.most;
        if self.board.tenants() >= limit {
            return Err(RecordError::TooMany {
                what: "tenants",
                limit,
            });
        }
        let ports = &self.queue.ports;
        let tenant = match &once {
            Some(once) => TenantId::from_bytes(once.id()),
            None => ports.ids.tenant(),
        };
        let now = ports.clock.now();
        let mut body = Body::new(new, Some(principal.id), Some(now));
        body.made_of = once.as_ref().map(|once| once.made_of().to_owned());
        let mut writes = vec![
            self.records
                .put(tenant, &tenant.to_string(), Precondition::Absent, &body)?,
        ];
        if let Some(once) = &once {
            writes.push(once.write(now)?);
        }
        let effects = Effects::of(RecordDraft::by(principal.id, Operation::TenantCreate));
        let written = self.records.documents.write(writes, effects).await;
        match (written.map_err(RecordError::from), &once) {
            (Err(changed @ RecordError::Changed { .. }), Some(once)) => {
                // The same call, twice at once.
                return self.repeated(once).await?.ok_or(changed);
            }
            (written, _) => written?,
        };
        self.board.refresh().await?;
        let kept = Kept {
            tenant,
            id: tenant.to_string(),
            body,
            revision: 1,
        };
        Ok(Made::now(record::tenant(&kept)?))
    }

    /// What an earlier call with the same key made. It is in force then, though that call broke off before it was.
    async fn repeated(&self, once: &Once) -> Result<Option<Made<Tenant>>, RecordError> {
        let tenant = TenantId::from_bytes(once.id());
        let id = tenant.to_string();
        let Some(kept) = once.find::<Body>(&self.records, tenant, &id).await? else {
            return Ok(None);
        };
        if kept.body.deleted.is_some() {
            return Err(RecordError::Deleted);
        }
        self.board.refresh().await?;
        Ok(Some(Made::before(record::tenant(&kept)?)))
    }

    /// A page of the tenants that the principal may see, by id: its own, or all for an admin. Deleted ones are left out.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn list(
        &self,
        principal: &Principal,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<TenantPage, RecordError> {
        if !(1..=1_000).contains(&limit) {
            return Err(RecordError::invalid("limit", "must lie in 1..=1000"));
        }
        let operation = Operation::TenantList;
        self.queue
            .permit_in(principal, operation, principal.tenant)
            .await?;
        let scope = SecureQueue::scope(principal);
        let from = after.map(|tenant| (tenant, tenant.to_string()));
        let mut kept = self.records.list::<Body>(scope, None, from, limit).await?;
        let more = kept.len() == limit;
        let home = self.settings.home;
        let is_due = scope.covers(home)
            && after.is_none_or(|after| after < home)
            && kept.last().is_none_or(|last| !more || home < last.tenant);
        if is_due && kept.iter().all(|kept| kept.tenant != home) {
            kept.push(self.unstored());
            kept.sort_by_key(|kept| kept.tenant);
            kept.truncate(limit);
        }
        let next = kept.last().filter(|_| more).map(|last| last.tenant);
        let mut tenants = Vec::with_capacity(kept.len());
        for kept in &kept {
            let target = Target::of(kept.tenant);
            if kept.body.deleted.is_none() && self.queue.allows(principal, operation, &target)? {
                tenants.push(record::tenant(kept)?);
            }
        }
        Ok(TenantPage { tenants, next })
    }

    /// One tenant. Denied looks like absent.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn get(&self, principal: &Principal, id: TenantId) -> Result<Tenant, RecordError> {
        self.permit(principal, Operation::TenantList, id).await?;
        Ok(record::tenant(&self.load(id).await?)?)
    }

    /// Changes name, weight or limits of a tenant. `revision` is the one that the caller read, if it insists.
    ///
    /// # Errors
    /// See [`RecordError`]. When the store fails after the change it may be stored all the same.
    pub async fn update(
        &self,
        principal: &Principal,
        id: TenantId,
        revision: Option<u64>,
        change: TenantChange,
    ) -> Result<Tenant, RecordError> {
        let operation = Operation::TenantUpdate;
        self.permit(principal, operation, id).await?;
        let updated = async {
            change.check()?;
            let detail = json!({"schema": "tenant/1", "change": "updated", "fields": change.fields()});
            self.changed(principal, id, revision, detail, |body| body.change(change))
                .await
        };
        let updated = updated.await;
        self.queue.told(principal, operation, resource(id), updated).await
    }

    /// Stops a tenant: every call of its principals is refused, and none of its tasks is assigned. What its agents
    /// hold is lost when their leases end.
    ///
    /// # Errors
    /// As for [`Self::update`]; refused for the principal's own tenant, because nobody might be left to resume it.
    pub async fn suspend(
        &self,
        principal: &Principal,
        id: TenantId,
        revision: Option<u64>,
        why: String,
    ) -> Result<Tenant, RecordError> {
        let operation = Operation::TenantUpdate;
        self.permit(principal, operation, id).await?;
        let suspended = async {
            if id == principal.tenant {
                let problem = "is the caller's own: nobody might be left to resume it";
                return Err(RecordError::invalid("tenant", problem));
            }
            let why = self.reason(why)?;
            let detail = json!({"schema": "tenant/1", "change": "suspended", "reason": why});
            let suspended = SuspendedBody {
                reason: why,
                at: self.queue.ports.clock.now().as_micros(),
                by: principal.id.to_string(),
            };
            self.changed(principal, id, revision, detail, |body| {
                // A repeat tells another reason, not another time.
                let at = body.suspended.as_ref().map_or(suspended.at, |former| former.at);
                body.suspended = Some(SuspendedBody { at, ..suspended });
            })
            .await
        };
        let suspended = suspended.await;
        self.queue
            .told(principal, operation, resource(id), suspended)
            .await
    }

    /// Lets a suspended tenant go on. One that is not suspended is left as it is.
    ///
    /// # Errors
    /// As for [`Self::update`].
    pub async fn resume(
        &self,
        principal: &Principal,
        id: TenantId,
        revision: Option<u64>,
        why: String,
    ) -> Result<Tenant, RecordError> {
        let operation = Operation::TenantUpdate;
        self.permit(principal, operation, id).await?;
        let resumed = async {
            let why = self.reason(why)?;
            let kept = self.load(id).await?;
            if kept.body.suspended.is_none() && kept.body.deleted.is_none() {
                expected(revision, kept.revision)?;
                return Ok(record::tenant(&kept)?);
            }
            let detail = json!({"schema": "tenant/1", "change": "resumed", "reason": why});
            self.changed(principal, id, revision, detail, |body| body.suspended = None)
                .await
        };
        let resumed = resumed.await;
        self.queue.told(principal, operation, resource(id), resumed).await
    }

    /// Changes the record of a tenant, and puts the change into force.
    async fn changed(
        &self,
        principal: &Principal,
        id: TenantId,
        revision: Option<u64>,
        detail: Value,
        change: impl FnOnce(&mut Body),
    ) -> Result<Tenant, RecordError> {
        let mut kept = self.load(id).await?;
        if kept.body.deleted.is_some() {
            return Err(RecordError::invalid("tenant", "is deleted"));
        }
        let precondition = match expected(revision, kept.revision)? {
            Precondition::Revision(0) => Precondition::Absent,
            other => other,
        };
        change(&mut kept.body);
        let write = self.records.put(id, &kept.id, precondition, &kept.body)?;
        let draft = RecordDraft::by(principal.id, Operation::TenantUpdate).with_detail(Json::of(&detail));
        self.records
            .documents
            .write(vec![write], Effects::of(draft))
            .await?;
        kept.revision += 1;
        self.board.refresh().await?;
        Ok(record::tenant(&kept)?)
    }

    /// Authorises. Who may not read the tenant is told that it does not exist.
    pub(super) async fn permit(
        &self,
        principal: &Principal,
        operation: Operation,
        tenant: TenantId,
    ) -> Result<(), RecordError> {
        self.queue
            .permit_hidden(principal, operation, Operation::TenantList, tenant)
            .await
    }

    pub(super) async fn load(&self, id: TenantId) -> Result<Kept<Body>, RecordError> {
        match self.records.get(id, &id.to_string()).await? {
            Some(kept) => Ok(kept),
            None if id == self.settings.home => Ok(self.unstored()),
            None => Err(RecordError::NOT_FOUND),
        }
    }

    /// The deployment's own tenant while nothing is stored of it.
    fn unstored(&self) -> Kept<Body> {
        Kept {
            tenant: self.settings.home,
            id: self.settings.home.to_string(),
            body: Body::new(named_default(), None, None),
            revision: 0,
        }
    }

    pub(super) fn reason(&self, why: String) -> Result<String, QueueError> {
        validate::reason(&self.queue.settings.fields, &why)?;
        Ok(self.queue.content.reason(why))
    }
}

fn named_default() -> NewTenant {
    NewTenant {
        name: "default".to_owned(),
        weight: 1,
        limits: super::TenantLimits::default(),
    }
}

fn resource(id: TenantId) -> Resource {
    Resource::new(KIND, id.to_string())
}
