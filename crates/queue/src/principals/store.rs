//! Principals as documents.

use std::sync::Arc;

use arbiter_core::model::{AgentId, PrincipalId, RecordDraft, TenantId, TenantScope};
use arbiter_core::ports::{
    DocumentError, DocumentKey, DocumentWrite, Documents, Effects, Precondition, StoreError,
};

use super::record::{Body, Cursor, KIND, KnownPrincipal, PrincipalRecord, known};
use crate::keys::known::Known;
use crate::records::{RecordError, Shelf};
use crate::repeats::{Once, Repeats};

/// How many principals a tenant may have.
pub(crate) const PER_TENANT: usize = 10_000;

/// Keeps principals.
#[derive(Clone)]
pub struct Principals {
    shelf: Shelf,
    /// Who was authenticated lately. It is forgotten when a principal is changed through this or a clone of it.
    known: Arc<Known>,
}

impl std::fmt::Debug for Principals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Principals").finish_non_exhaustive()
    }
}

impl Principals {
    /// Principals kept in `documents`.
    pub fn new(documents: Arc<dyn Documents>) -> Self {
        Self {
            shelf: Shelf {
                documents,
                kind: KIND,
            },
            known: Arc::default(),
        }
    }

    /// Who was authenticated lately.
    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// A principal by id, disabled or not; `None` when it is absent.
    ///
    /// # Errors
    /// The store's, and [`StoreError::Corrupt`] when what is stored cannot be read.
    pub async fn get(
        &self,
        tenant: TenantId,
        id: PrincipalId,
    ) -> Result<Option<PrincipalRecord>, StoreError> {
        Ok(self.find(tenant, id).await?.map(PrincipalRecord::from))
    }

    /// A principal by id with all that is known of it; `None` when it is absent.
    ///
    /// # Errors
    /// As for [`Self::get`].
    pub async fn find(
        &self,
        tenant: TenantId,
        id: PrincipalId,
    ) -> Result<Option<KnownPrincipal>, StoreError> {
        let kept = self.shelf.get::<Body>(tenant, &id.to_string()).await?;
        kept.as_ref().map(known).transpose()
    }

    /// Stores a principal that must not exist yet.
    ///
    /// # Errors
    /// The store's; [`DocumentError::Precondition`] when the id is taken.
    pub async fn create(&self, record: &PrincipalRecord, draft: RecordDraft) -> Result<(), DocumentError> {
        let new = KnownPrincipal {
            principal: record.principal.clone(),
            name: record.name.clone(),
            disabled_at: None,
            created_at: None,
            created_by: None,
            revision: 0,
            made_of: None,
        };
        self.put(&new, None, draft).await.map(|_| ())
    }

    /// What is remembered of calls that make principals.
    pub(crate) fn repeats(&self) -> Repeats {
        Repeats::new(&self.shelf.documents)
    }

    /// The principal that an earlier call with the same idempotency key made.
    pub(crate) async fn made_by(
        &self,
        once: &Once,
        tenant: TenantId,
    ) -> Result<Option<KnownPrincipal>, RecordError> {
        let id = PrincipalId::from_bytes(once.id()).to_string();
        let kept = once.find::<Body>(&self.shelf, tenant, &id).await?;
        Ok(kept.as_ref().map(known).transpose()?)
    }

    /// Stores what a principal has become since it had its revision; 0 means that it did not exist, and with it what is
    /// remembered of the call that made it. Gives the new revision.
    pub(crate) async fn put(
        &self,
        known: &KnownPrincipal,
        remembered: Option<DocumentWrite>,
        draft: RecordDraft,
    ) -> Result<u64, DocumentError> {
        let mut writes = vec![self.write_of(known)?];
        writes.extend(remembered);
        let _forgotten = self.known.forgetting();
        let revisions = self.shelf.documents.write(writes, Effects::of(draft)).await?;
        Ok(revisions.first().copied().unwrap_or(known.revision + 1))
    }

    /// The write that stores a principal if it still has its revision.
    pub(crate) fn write_of(&self, known: &KnownPrincipal) -> Result<DocumentWrite, StoreError> {
        let precondition = match known.revision {
            0 => Precondition::Absent,
            revision => Precondition::Revision(revision),
        };
        let body = Body::of(known);
        let id = known.principal.id.to_string();
        let mut write = self.shelf.put(known.principal.tenant, &id, precondition, &body)?;
        if let (Some(content), Some(agent)) = (&mut write.content, body.agent()) {
            content.index.push(("agent", agent.to_owned()));
        }
        Ok(write)
    }

    /// The name of a principal's document.
    pub(crate) fn key(&self, tenant: TenantId, id: PrincipalId) -> DocumentKey {
        self.shelf.key(tenant, &id.to_string())
    }

    /// A page of a tenant's principals, by id.
    pub(crate) async fn page(
        &self,
        tenant: TenantId,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Vec<KnownPrincipal>, StoreError> {
        let kept = self
            .shelf
            .list::<Body>(TenantScope::Tenant(tenant), None, after, limit)
            .await?;
        kept.iter().map(known).collect()
    }

    /// Whether a tenant has as many principals as it may have.
    pub(crate) async fn is_full(&self, tenant: TenantId) -> Result<bool, StoreError> {
        let mut count = 0;
        let mut after = None;
        loop {
            let page = self.page(tenant, after, 1_000).await?;
            count += page.len();
            match page.last() {
                _ if count >= PER_TENANT => return Ok(true),
                Some(last) if page.len() == 1_000 => after = Some((tenant, last.principal.id.to_string())),
                _ => return Ok(false),
            }
        }
    }

    /// Whether an agent is a principal of another tenant.
    pub(crate) async fn is_foreign(&self, tenant: TenantId, agent: AgentId) -> Result<bool, StoreError> {
        let index = Some(("agent", agent.to_string()));
        let kept = self
            .shelf
            .list::<Body>(TenantScope::All, index, None, 1_000)
            .await?;
        Ok(kept.iter().any(|kept| kept.tenant != tenant))
    }
}
