//! Pausing and resuming.

use std::sync::Arc;

use arbiter_core::model::{
    AgentId, Json, Operation, Principal, RecordDraft, Resource, Target, TenantId, TenantScope,
};
use arbiter_core::ports::{AgentRegistry, Documents, Effects, Precondition, Revision, Tally};
use serde_json::json;

use super::TrafficBoard;
use super::pause::{self, Body, KIND, Pause, PauseTarget};
use crate::agents;
use crate::error::QueueError;
use crate::records::{Kept, RecordError, Shelf};
use crate::service::SecureQueue;
use crate::tenants;
use crate::validate;

/// How many pauses of kinds and agents a tenant may have, and so many those that concern all.
const MOST: usize = 1_000;
/// How many agents are read from the registry at once.
const PAGE: usize = 1_000;

/// How the queue stands for a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueStatus {
    /// For which tenant.
    pub tenant: TenantId,
    /// Whether it is suspended.
    pub suspended: bool,
    /// What is paused of it or of all; for an admin that names no tenant, of every tenant.
    pub pauses: Vec<Pause>,
    /// How many of its tasks stand where.
    pub tally: Tally,
}

/// Pauses and resumes the queue, tenants, kinds and agents. What is paused is not assigned; what runs goes on. A pause
/// survives restarts, and ends only when somebody resumes.
pub struct Pauses {
    queue: Arc<SecureQueue>,
    board: Arc<TrafficBoard>,
    records: Shelf,
    tenants: Shelf,
    registry: Arc<dyn AgentRegistry>,
}

impl std::fmt::Debug for Pauses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pauses").finish_non_exhaustive()
    }
}

impl Pauses {
    /// Pauses kept in `documents`; `queue` says who may do what, `board` is told of what is set, and `registry` knows
    /// whose an agent is.
    pub fn new(
        queue: Arc<SecureQueue>,
        board: Arc<TrafficBoard>,
        documents: &Arc<dyn Documents>,
        registry: Arc<dyn AgentRegistry>,
    ) -> Self {
        Self {
            queue,
            board,
            records: Shelf::new(documents, KIND),
            tenants: Shelf::new(documents, tenants::KIND),
            registry,
        }
    }

    /// Pauses something. What is paused already goes on so, for this reason from now on.
    ///
    /// # Errors
    /// See [`RecordError`]. What concerns every tenant is an admin's to pause. When the store fails after the change
    /// it may be stored all the same.
    pub async fn pause(
        &self,
        principal: &Principal,
        target: PauseTarget,
        why: String,
    ) -> Result<Pause, RecordError> {
        let operation = Operation::QueuePause;
        self.permit(principal, operation, &target).await?;
        let resource = resource(&target);
        let paused = self.paused(principal, target, why).await;
        self.queue.told(principal, operation, resource, paused).await
    }

    async fn paused(
        &self,
        principal: &Principal,
        target: PauseTarget,
        why: String,
    ) -> Result<Pause, RecordError> {
        let why = self.reason(why)?;
        let place = self.place(principal, &target).await?;
        let id = target.id();
        let ports = &self.queue.ports;
        let body = Body::new(why, principal.id, ports.clock.now());
        let (body, precondition) = match self.records.get::<Body>(place, &id).await? {
            Some(former) => (body.since(&former.body), Precondition::Revision(former.revision)),
            None => {
                let there = self
                    .records
                    .list::<Body>(TenantScope::Tenant(place), None, None, MOST);
                if there.await?.len() >= MOST {
                    return Err(RecordError::TooMany {
                        what: "pauses",
                        limit: MOST,
                    });
                }
                (body, Precondition::Absent)
            }
        };
        let write = self.records.put(place, &id, precondition, &body)?;
        let effects = effects(principal, Operation::QueuePause, &target, &body.reason);
        self.records.documents.write(vec![write], effects).await?;
        self.board.refresh().await?;
        let kept = Kept {
            tenant: place,
            id,
            body,
            revision: 0,
        };
        Ok(pause::pause(&kept)?)
    }

    /// Resumes what was paused.
    ///
    /// # Errors
    /// As for [`Self::pause`]; not found when it is not paused.
    pub async fn resume(
        &self,
        principal: &Principal,
        target: PauseTarget,
        why: String,
    ) -> Result<(), RecordError> {
        let operation = Operation::QueueResume;
        self.permit(principal, operation, &target).await?;
        let resource = resource(&target);
        let resumed = self.resumed(principal, &target, why).await;
        self.queue.told(principal, operation, resource, resumed).await
    }

    async fn resumed(
        &self,
        principal: &Principal,
        target: &PauseTarget,
        why: String,
    ) -> Result<(), RecordError> {
        let why = self.reason(why)?;
        let kept = self
            .find(principal, target)
            .await?
            .ok_or(RecordError::NOT_FOUND)?;
        if let PauseTarget::Agent(agent) = target {
            self.may(principal, Operation::QueueResume, *agent, kept.tenant)?;
        }
        let precondition = Precondition::Revision(kept.revision);
        let write = self.records.delete(kept.tenant, &kept.id, precondition);
        let effects = effects(principal, Operation::QueueResume, target, &why);
        self.records.documents.write(vec![write], effects).await?;
        Ok(self.board.refresh().await?)
    }

    /// What is paused, and how many tasks stand where: of a tenant, or of the principal's own.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn status(
        &self,
        principal: &Principal,
        tenant: Option<TenantId>,
    ) -> Result<QueueStatus, RecordError> {
        let (operation, of) = (Operation::QueueStatus, tenant.unwrap_or(principal.tenant));
        self.queue
            .permit_hidden(principal, operation, operation, of)
            .await?;
        let scope = match tenant {
            Some(tenant) => TenantScope::Tenant(tenant),
            None => SecureQueue::scope(principal),
        };
        let mut kept = self.records.all::<Body>(scope).await?;
        if !scope.covers(TenantId::SYSTEM) {
            let of_all = TenantScope::Tenant(TenantId::SYSTEM);
            kept.extend(self.records.all::<Body>(of_all).await?);
        }
        // Why all are paused may tell of another tenant.
        let knows_all = self.queue.allows(principal, operation, &Target::default())?;
        let mut pauses = Vec::with_capacity(kept.len());
        for kept in &kept {
            let mut pause = pause::pause(kept)?;
            if kept.tenant == TenantId::SYSTEM && !knows_all {
                (pause.reason, pause.by) = (None, None);
            }
            pauses.push(pause);
        }
        let record = self.tenants.get::<tenants::Body>(of, &of.to_string()).await?;
        let record = record.as_ref().map(tenants::tenant).transpose()?;
        Ok(QueueStatus {
            tenant: of,
            suspended: record.is_some_and(|tenant| tenant.suspended.is_some()),
            pauses,
            tally: self.queue.ports.reader.tally(of).await?,
        })
    }

    /// Authorises, before anything is looked at.
    async fn permit(
        &self,
        principal: &Principal,
        operation: Operation,
        target: &PauseTarget,
    ) -> Result<(), RecordError> {
        let target = match *target {
            PauseTarget::Queue | PauseTarget::Kind { tenant: None, .. } => Target::default(),
            PauseTarget::Tenant(tenant)
            | PauseTarget::Kind {
                tenant: Some(tenant), ..
            } => {
                let read = Operation::QueueStatus;
                return self.queue.permit_hidden(principal, operation, read, tenant).await;
            }
            PauseTarget::Agent(agent) => Target {
                agent: Some(agent),
                ..Target::of(principal.tenant)
            },
        };
        Ok(self.queue.guard(principal, operation, &target).await?)
    }

    /// The tenant that a pause is kept in: whose it is to resume.
    async fn place(&self, principal: &Principal, target: &PauseTarget) -> Result<TenantId, RecordError> {
        match *target {
            PauseTarget::Queue | PauseTarget::Kind { tenant: None, .. } => Ok(TenantId::SYSTEM),
            PauseTarget::Tenant(tenant)
            | PauseTarget::Kind {
                tenant: Some(tenant), ..
            } => {
                let id = tenant.to_string();
                let is_known = tenant == principal.tenant
                    || self.tenants.get::<tenants::Body>(tenant, &id).await?.is_some();
                is_known.then_some(tenant).ok_or(RecordError::NOT_FOUND)
            }
            PauseTarget::Agent(agent) => {
                let owner = self.owner(agent).await?.ok_or(RecordError::NOT_FOUND)?;
                // Agents of other tenants look absent; one that serves all is known to all.
                let is_visible = owner == TenantId::SYSTEM || SecureQueue::scope(principal).covers(owner);
                if !is_visible {
                    return Err(RecordError::NOT_FOUND);
                }
                self.may(principal, Operation::QueuePause, agent, owner)?;
                Ok(owner)
            }
        }
    }

    /// Whether the principal may do it to an agent of this owner.
    fn may(
        &self,
        principal: &Principal,
        operation: Operation,
        agent: AgentId,
        owner: TenantId,
    ) -> Result<(), RecordError> {
        let target = Target {
            agent: Some(agent),
            tenant: Some(owner).filter(|owner| *owner != TenantId::SYSTEM),
            ..Target::default()
        };
        if self.queue.allows(principal, operation, &target)? {
            Ok(())
        } else {
            Err(QueueError::Forbidden.into())
        }
    }

    /// Whose an agent is: the system's when it serves every tenant.
    async fn owner(&self, agent: AgentId) -> Result<Option<TenantId>, RecordError> {
        let mut after = Revision::default();
        loop {
            let page = self.registry.changes(after, PAGE).await;
            let page = page.map_err(agents::unavailable)?;
            let found = page.agents.iter().find(|found| found.profile.id == agent);
            if let Some(found) = found {
                return Ok(Some(found.profile.tenant.unwrap_or(TenantId::SYSTEM)));
            }
            if !page.more {
                return Ok(None);
            }
            after = page.revision;
        }
    }

    /// The pause of a target, as far as the principal may know of it. The agent may be gone meanwhile.
    async fn find(
        &self,
        principal: &Principal,
        target: &PauseTarget,
    ) -> Result<Option<Kept<Body>>, RecordError> {
        let id = target.id();
        let place = match *target {
            PauseTarget::Queue | PauseTarget::Kind { tenant: None, .. } => TenantId::SYSTEM,
            PauseTarget::Tenant(tenant)
            | PauseTarget::Kind {
                tenant: Some(tenant), ..
            } => tenant,
            PauseTarget::Agent(_) => {
                for place in [principal.tenant, TenantId::SYSTEM] {
                    if let Some(kept) = self.records.get(place, &id).await? {
                        return Ok(Some(kept));
                    }
                }
                let everywhere = match SecureQueue::scope(principal) {
                    TenantScope::All => self.records.all::<Body>(TenantScope::All).await?,
                    TenantScope::Tenant(_) => Vec::new(),
                };
                return Ok(everywhere.into_iter().find(|kept| kept.id == id));
            }
        };
        Ok(self.records.get(place, &id).await?)
    }

    fn reason(&self, why: String) -> Result<String, QueueError> {
        validate::reason(&self.queue.settings.fields, &why)?;
        Ok(self.queue.content.reason(why))
    }
}

fn effects(principal: &Principal, operation: Operation, target: &PauseTarget, why: &str) -> Effects {
    let detail = json!({"schema": "pause/1", "what": target.word(), "reason": why});
    Effects::of(RecordDraft::by(principal.id, operation).with_detail(Json::of(&detail)))
}

fn resource(target: &PauseTarget) -> Resource {
    Resource::new(KIND, target.id())
}
