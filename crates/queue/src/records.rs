//! What hooks, policies, principals and schedules share: typed records kept as versioned documents, and their error.

use std::sync::Arc;

use arbiter_core::model::{AuditAction, Json, Operation, Principal, Resource, Target, TenantId, TenantScope};
use arbiter_core::ports::{
    Document, DocumentContent, DocumentError, DocumentKey, DocumentQuery, DocumentWrite, Documents,
    Precondition, StoreError,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::QueueError;
use crate::service::SecureQueue;

/// Why an operation on a hook, a key, a policy set, a principal or a schedule was refused or failed. The text is meant for the caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// As for every operation of the queue: forbidden, rate limited, not found, unavailable.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// A field breaks a rule.
    #[error("`{field}` {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// There are as many as there may be.
    #[error("there are {limit} {what} already, which is the limit; delete one first")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The idempotency key was used for something else.
    #[error("the idempotency key was used for other content")]
    KeyReused,
    /// What the first call with the idempotency key made is no more.
    #[error(
        "what the first call with this idempotency key made was deleted since; use another key to make it anew"
    )]
    Deleted,
    /// Somebody else changed it since the caller read it.
    #[error("it has revision {current} now; read it again")]
    Changed {
        /// Its revision; 0 when it is gone.
        current: u64,
    },
}

impl RecordError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Queue(error) => error.code(),
            Self::Invalid { .. } => "invalid_value",
            Self::TooMany { .. } => "too_large",
            Self::KeyReused | Self::Deleted => "idempotency_conflict",
            Self::Changed { .. } => "precondition_failed",
        }
    }

    pub(crate) const NOT_FOUND: Self = Self::Queue(QueueError::NotFound);

    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            problem: problem.into(),
        }
    }
}

impl From<StoreError> for RecordError {
    fn from(error: StoreError) -> Self {
        Self::Queue(error.into())
    }
}

impl From<DocumentError> for RecordError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Precondition { found, .. } => Self::Changed { current: found },
            DocumentError::Store(error) => error.into(),
            error => Self::Queue(QueueError::Internal {
                operation: "writing a record",
                source: Box::new(error),
            }),
        }
    }
}

impl SecureQueue {
    /// Authorises and limits an operation on what belongs to a tenant. It is asked before anything is read, so that
    /// a refusal tells nothing of what exists.
    pub(crate) async fn permit_in(
        &self,
        principal: &Principal,
        operation: Operation,
        tenant: TenantId,
    ) -> Result<(), RecordError> {
        Ok(self.guard(principal, operation, &Target::of(tenant)).await?)
    }

    /// As [`Self::permit_in`], but who may not even `read` there is told that there is nothing.
    pub(crate) async fn permit_hidden(
        &self,
        principal: &Principal,
        operation: Operation,
        read: Operation,
        tenant: TenantId,
    ) -> Result<(), RecordError> {
        match self.permit_in(principal, operation, tenant).await {
            Err(RecordError::Queue(QueueError::Forbidden))
                if !self.allows(principal, read, &Target::of(tenant))? =>
            {
                Err(RecordError::NOT_FOUND)
            }
            other => other,
        }
    }

    /// Passes on what became of an operation that was permitted; a refusal is audited.
    pub(crate) async fn told<T: Send>(
        &self,
        principal: &Principal,
        operation: Operation,
        resource: Resource,
        result: Result<T, RecordError>,
    ) -> Result<T, RecordError> {
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let is_refusal = !matches!(
            error,
            RecordError::Queue(QueueError::Unavailable { .. } | QueueError::Internal { .. })
        );
        if is_refusal {
            let mut record = self.refusal(principal, operation, AuditAction::Rejected, error.code());
            record.resource = resource;
            self.append(record).await?;
        }
        Err(error)
    }
}

/// Documents of one kind, read and written as one type.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub(crate) documents: Arc<dyn Documents>,
    pub(crate) kind: &'static str,
}

/// A record with the revision of its document.
#[derive(Debug)]
pub(crate) struct Kept<T> {
    pub(crate) tenant: TenantId,
    pub(crate) id: String,
    pub(crate) body: T,
    pub(crate) revision: u64,
}

/// What every body begins with.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

/// The version of every body that is written here.
pub(crate) const VERSION: u32 = 1;

impl Shelf {
    pub(crate) fn new(documents: &Arc<dyn Documents>, kind: &'static str) -> Self {
        Self {
            documents: Arc::clone(documents),
            kind,
        }
    }

    pub(crate) fn key(&self, tenant: TenantId, id: &str) -> DocumentKey {
        DocumentKey {
            kind: self.kind,
            tenant,
            id: id.to_owned(),
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        tenant: TenantId,
        id: &str,
    ) -> Result<Option<Kept<T>>, StoreError> {
        let found = self
            .documents
            .get(TenantScope::Tenant(tenant), &[self.key(tenant, id)])
            .await?;
        found.into_iter().flatten().next().map(decode).transpose()
    }

    /// Records by key, in their order; absent ones are `None`.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        scope: TenantScope,
        keys: &[DocumentKey],
    ) -> Result<Vec<Option<Kept<T>>>, StoreError> {
        let found = self.documents.get(scope, keys).await?;
        found
            .into_iter()
            .map(|document| document.map(decode).transpose())
            .collect()
    }

    /// A page in the order of tenants and ids.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        scope: TenantScope,
        index: Option<(&'static str, String)>,
        after: Option<(TenantId, String)>,
        limit: usize,
    ) -> Result<Vec<Kept<T>>, StoreError> {
        let query = DocumentQuery {
            kind: self.kind,
            index,
            after,
            limit: limit.clamp(1, 1_000),
        };
        let found = self.documents.list(scope, query).await?;
        found.into_iter().map(decode).collect()
    }

    /// Every record, page by page, in the order of tenants and ids.
    pub(crate) async fn all<T: DeserializeOwned>(
        &self,
        scope: TenantScope,
    ) -> Result<Vec<Kept<T>>, StoreError> {
        const PAGE: usize = 1_000;
        let (mut all, mut after): (Vec<Kept<T>>, _) = (Vec::new(), None);
        loop {
            let page = self.list(scope, None, after, PAGE).await?;
            let more = page.len() == PAGE;
            all.extend(page);
            after = all.last().map(|last| (last.tenant, last.id.clone()));
            if !more {
                return Ok(all);
            }
        }
    }

    /// A write of a body without declared values.
    pub(crate) fn put(
        &self,
        tenant: TenantId,
        id: &str,
        precondition: Precondition,
        body: &impl Serialize,
    ) -> Result<DocumentWrite, StoreError> {
        let body = serde_json::to_value(body).map_err(|error| corrupt(self.kind, error))?;
        Ok(DocumentWrite {
            key: self.key(tenant, id),
            precondition,
            content: Some(DocumentContent {
                body: Json::of(&body),
                index: Vec::new(),
                expires_at: None,
            }),
        })
    }

    pub(crate) fn delete(&self, tenant: TenantId, id: &str, precondition: Precondition) -> DocumentWrite {
        DocumentWrite {
            key: self.key(tenant, id),
            precondition,
            content: None,
        }
    }
}

fn decode<T: DeserializeOwned>(document: Document) -> Result<Kept<T>, StoreError> {
    let (kind, text) = (document.key.kind, document.body.as_str());
    let Versioned { version } = serde_json::from_str(text).map_err(|error| corrupt(kind, error))?;
    if version != VERSION {
        return Err(corrupt(
            kind,
            format!("version {version} is not one that this program reads"),
        ));
    }
    Ok(Kept {
        tenant: document.key.tenant,
        body: serde_json::from_str(text).map_err(|error| corrupt(kind, error))?,
        id: document.key.id,
        revision: document.revision,
    })
}

/// A stored record that cannot be read.
pub(crate) fn corrupt(
    what: &'static str,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::Corrupt {
        operation: "reading a record",
        what,
        source: source.into(),
    }
}

/// The precondition of a change: what the caller read, or what was just read.
pub(crate) fn expected(given: Option<u64>, read: u64) -> Result<Precondition, RecordError> {
    match given {
        Some(given) if given != read => Err(RecordError::Changed { current: read }),
        _ => Ok(Precondition::Revision(read)),
    }
}
