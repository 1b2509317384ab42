//! What operators do about principals.

use std::collections::BTreeSet;
use std::sync::Arc;

use arbiter_core::model::{
    AgentId, Operation, Principal, PrincipalId, PrincipalKind, RecordDraft, Resource, Role, TaskKind,
    TenantId,
};

use super::record::{KIND, KnownPrincipal, NewPrincipal, PrincipalChange};
use super::rights::{covers, roles_count_in};
use super::store::{PER_TENANT, Principals};
use crate::error::QueueError;
use crate::records::{RecordError, expected};
use crate::repeats::{Call, Made, What};
use crate::service::SecureQueue;

const NAME_CHARS: usize = 100;
const KINDS: usize = 64;

/// Makes, reads and changes principals. Each operation: authorise, limit, act, audit. Nobody makes a principal, or keeps
/// changing one, that may do more than it may give itself.
#[derive(Debug)]
pub struct Directory {
    queue: Arc<SecureQueue>,
    principals: Principals,
}

impl Directory {
    /// A directory of `principals`; `queue` says who may do what.
    pub const fn new(queue: Arc<SecureQueue>, principals: Principals) -> Self {
        Self { queue, principals }
    }

    /// A page of the principals of a tenant, by id, after `after`. It is the last page when it has less than `limit`.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn list(
        &self,
        by: &Principal,
        tenant: TenantId,
        after: Option<PrincipalId>,
        limit: usize,
    ) -> Result<Vec<KnownPrincipal>, RecordError> {
        self.queue.permit_in(by, Operation::PrincipalList, tenant).await?;
        if !(1..=1_000).contains(&limit) {
            return Err(RecordError::invalid("limit", "must lie in 1..=1000"));
        }
        let after = after.map(|id| (tenant, id.to_string()));
        Ok(self.principals.page(tenant, after, limit).await?)
    }

    /// One principal.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn get(
        &self,
        by: &Principal,
        tenant: TenantId,
        id: PrincipalId,
    ) -> Result<KnownPrincipal, RecordError> {
        self.queue.permit_in(by, Operation::PrincipalList, tenant).await?;
        self.load(tenant, id).await
    }

    /// Makes a principal. It has no key yet. With an idempotency key a repeated call finds the principal that the first
    /// one made.
    ///
    /// # Errors
    /// See [`RecordError`]; forbidden when it would be able to do more than `by` may give.
    ///
    /// # Cancel safety
    /// The principal may be stored although the future is dropped; it is found in the list then, and by a repeat with the
    /// same idempotency key.
    pub async fn create(
        &self,
        by: &Principal,
        tenant: TenantId,
        new: NewPrincipal,
        key: Option<&str>,
    ) -> Result<Made<KnownPrincipal>, RecordError> {
        let operation = Operation::PrincipalCreate;
        self.queue.permit_in(by, operation, tenant).await?;
        let made = self.made(by, tenant, new, key).await;
        self.queue
            .told(by, operation, Resource::new(KIND, ""), made)
            .await
    }

    async fn made(
        &self,
        by: &Principal,
        tenant: TenantId,
        new: NewPrincipal,
        key: Option<&str>,
    ) -> Result<Made<KnownPrincipal>, RecordError> {
        check(Some(&new.name), Some(&new.roles), new.kinds.as_ref())?;
        let is_agent = new.kind == PrincipalKind::Agent || new.roles.contains(&Role::Agent);
        if new.agent.is_some() && !is_agent {
            let problem = "belongs to principals of the kind or with the role `agent`";
            return Err(RecordError::invalid("agent", problem));
        }
        let once = key.map(|key| {
            let call = Call {
                what: What::Principal,
                tenant,
                by: by.id,
                key,
            };
            let made_of = self.queue.sealed(call.what, &new.asked())?;
            self.principals.repeats().once(call, made_of)
        });
        let once = once.transpose()?;
        let now = self.queue.ports.clock.now();
        let mut known = KnownPrincipal {
            principal: Principal {
                id: match &once {
                    Some(once) => PrincipalId::from_bytes(once.id()),
                    None => self.queue.ports.ids.principal(),
                },
                tenant,
                kind: new.kind,
                roles: new.roles,
                agent: new.agent,
                kinds: new.kinds,
                highest_band: new.highest_band,
            },
            name: new.name,
            disabled_at: None,
            created_at: Some(now),
            created_by: Some(by.id),
            revision: 0,
            made_of: once.as_ref().map(|once| once.made_of().to_owned()),
        };
        if !covers(by, &known.principal) {
            return Err(QueueError::Forbidden.into());
        }
        roles_count_in(tenant, &known.principal.roles)
            .map_err(|problem| RecordError::invalid("roles", problem))?;
        if !self.is_known(by, tenant) {
            return Err(RecordError::NOT_FOUND);
        }
        if let Some(once) = &once
            && let Some(found) = self.principals.made_by(once, tenant).await?
        {
            return Ok(Made::before(found));
        }
        if let Some(agent) = known.principal.agent
            && self.principals.is_foreign(tenant, agent).await?
        {
            let problem = "is taken; leave it out for a new one";
            return Err(RecordError::invalid("agent", problem));
        }
        if self.principals.is_full(tenant).await? {
            return Err(RecordError::TooMany {
                what: "principals",
                limit: PER_TENANT,
            });
        }
        self.complete(&mut known);
        let remembered = once.as_ref().map(|once| once.write(now)).transpose()?;
        let draft = RecordDraft::by(by.id, Operation::PrincipalCreate);
        let put = self.principals.put(&known, remembered, draft).await;
        known.revision = match (put.map_err(RecordError::from), &once) {
            (Err(changed @ RecordError::Changed { .. }), Some(once)) => {
                // The same call, twice at once.
                let found = self.principals.made_by(once, tenant).await?;
                return found.map(Made::before).ok_or(changed);
            }
            (put, _) => put?,
        };
        Ok(Made::now(known))
    }

    /// Changes, disables or enables a principal. `revision` is the one that the caller read, if it insists. The keys of
    /// a disabled principal are refused from then on.
    ///
    /// # Errors
    /// See [`RecordError`]; forbidden when the principal may do more than `by` may give, before the change or after it.
    pub async fn update(
        &self,
        by: &Principal,
        tenant: TenantId,
        id: PrincipalId,
        revision: Option<u64>,
        change: PrincipalChange,
    ) -> Result<KnownPrincipal, RecordError> {
        let operation = Operation::PrincipalUpdate;
        self.queue.permit_in(by, operation, tenant).await?;
        let updated = self.updated(by, tenant, id, revision, change).await;
        let resource = Resource::new(KIND, id.to_string());
        self.queue.told(by, operation, resource, updated).await
    }

    async fn updated(
        &self,
        by: &Principal,
        tenant: TenantId,
        id: PrincipalId,
        revision: Option<u64>,
        change: PrincipalChange,
    ) -> Result<KnownPrincipal, RecordError> {
        let kinds = change.kinds.as_ref().and_then(Option::as_ref);
        check(change.name.as_ref(), change.roles.as_ref(), kinds)?;
        let mut known = self.load(tenant, id).await?;
        expected(revision, known.revision)?;
        if by.id == id && change.disabled == Some(true) {
            return Err(RecordError::invalid("disabled", "is not for the caller itself"));
        }
        let may_change = covers(by, &known.principal);
        let new_roles = change.roles.is_some();
        self.apply(&mut known, change);
        if !may_change || !covers(by, &known.principal) {
            return Err(QueueError::Forbidden.into());
        }
        if new_roles {
            roles_count_in(tenant, &known.principal.roles)
                .map_err(|problem| RecordError::invalid("roles", problem))?;
        }
        let draft = RecordDraft::by(by.id, Operation::PrincipalUpdate);
        known.revision = self.principals.put(&known, None, draft).await?;
        Ok(known)
    }

    fn apply(&self, known: &mut KnownPrincipal, change: PrincipalChange) {
        if let Some(name) = change.name {
            known.name = name;
        }
        if let Some(roles) = change.roles {
            known.principal.roles = roles;
        }
        if let Some(kinds) = change.kinds {
            known.principal.kinds = kinds;
        }
        if let Some(band) = change.highest_band {
            known.principal.highest_band = band;
        }
        match change.disabled {
            Some(true) => {
                let now = self.queue.ports.clock.now();
                known.disabled_at = known.disabled_at.or(Some(now));
            }
            Some(false) => known.disabled_at = None,
            None => {}
        }
        self.complete(known);
    }

    /// Gives an agent that has no id one.
    fn complete(&self, known: &mut KnownPrincipal) {
        let principal = &mut known.principal;
        let is_agent = principal.kind == PrincipalKind::Agent || principal.roles.contains(&Role::Agent);
        if is_agent && principal.agent.is_none() {
            principal.agent = Some(self.agent());
        }
    }

    fn agent(&self) -> AgentId {
        self.queue.ports.ids.agent()
    }

    async fn load(&self, tenant: TenantId, id: PrincipalId) -> Result<KnownPrincipal, RecordError> {
        let found = self.principals.find(tenant, id).await?;
        found.ok_or(RecordError::NOT_FOUND)
    }

    /// Whether there is such a tenant. The system's own is for agents that serve all.
    fn is_known(&self, by: &Principal, tenant: TenantId) -> bool {
        tenant == by.tenant
            || tenant == TenantId::SYSTEM
            || (self.queue.board.as_ref())
                .is_none_or(|board| board.terms(tenant).is_some_and(|terms| !terms.deleted))
    }
}

fn check(
    name: Option<&String>,
    roles: Option<&BTreeSet<Role>>,
    kinds: Option<&BTreeSet<TaskKind>>,
) -> Result<(), RecordError> {
    if let Some(name) = name {
        let is_name = !name.trim().is_empty()
            && name.chars().count() <= NAME_CHARS
            && !name.chars().any(char::is_control);
        if !is_name {
            let problem = format!("must have 1–{NAME_CHARS} characters, none of them a control character");
            return Err(RecordError::invalid("name", problem));
        }
    }
    if roles.is_some_and(BTreeSet::is_empty) {
        return Err(RecordError::invalid("roles", "must name at least one role"));
    }
    if kinds.is_some_and(|kinds| kinds.is_empty() || kinds.len() > KINDS) {
        let problem = format!("must name 1 to {KINDS} kinds, or be absent for those of the tenant");
        return Err(RecordError::invalid("kinds", problem));
    }
    Ok(())
}
