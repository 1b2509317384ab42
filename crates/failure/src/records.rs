//! Typed records kept as versioned documents, and the error of what is done to them.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{Json, TenantId, TenantScope, Timestamp};
use arbiter_core::ports::{
    Document, DocumentContent, DocumentError, DocumentKey, DocumentQuery, DocumentWrite, Documents,
    Precondition, StoreError,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Whose records about failures are: parts of the system belong to no tenant.
pub(crate) const OWNER: TenantId = TenantId::SYSTEM;

/// Why an operation on an incident, a policy or a silence was not done. The text is meant for the caller.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FailureError {
    /// There is no such thing.
    #[error("there is no such {what}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// A field breaks a rule.
    #[error("`{field}` {problem}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// It stands so that this cannot be done.
    #[error("an incident that is {state} cannot be {asked}")]
    Illegal {
        /// How it stands.
        state: &'static str,
        /// What was asked.
        asked: &'static str,
    },
    /// There are as many as there may be.
    #[error("there are {limit} {what} already, which is the limit; delete one first")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// Somebody else changed it since the caller read it.
    #[error("it has revision {current} now; read it again")]
    Changed {
        /// Its revision; 0 when it is gone.
        current: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FailureError {
    /// The stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "not_found",
            Self::Invalid { .. } => "invalid_value",
            Self::Illegal { .. } => "illegal_transition",
            Self::TooMany { .. } => "too_large",
            Self::Changed { .. } => "precondition_failed",
            Self::Store(_) => "unavailable",
        }
    }

    pub(crate) fn invalid(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            problem: problem.into(),
        }
    }
}

impl From<DocumentError> for FailureError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Precondition { found, .. } => Self::Changed { current: found },
            DocumentError::Store(error) => Self::Store(error),
            error => Self::Store(corrupt("document", error.to_string())),
        }
    }
}

/// Documents of one kind, read and written as one type.
#[derive(Clone)]
pub(crate) struct Shelf {
    pub(crate) documents: Arc<dyn Documents>,
    kind: &'static str,
}

/// A record with the revision of its document; 0 for one that is not stored.
#[derive(Debug, Clone)]
pub(crate) struct Kept<T> {
    pub(crate) id: String,
    pub(crate) body: T,
    pub(crate) revision: u64,
}

/// What every body begins with.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    body: T,
}

/// The version of every body that is written here.
const VERSION: u32 = 1;

/// How a record can be found, and when it goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placed {
    pub(crate) index: Vec<(&'static str, String)>,
    pub(crate) expires_at: Option<Timestamp>,
}

impl Shelf {
    pub(crate) fn new(documents: &Arc<dyn Documents>, kind: &'static str) -> Self {
        Self {
            documents: Arc::clone(documents),
            kind,
        }
    }

    pub(crate) fn key(&self, id: &str) -> DocumentKey {
        DocumentKey {
            kind: self.kind,
            tenant: OWNER,
            id: id.to_owned(),
        }
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, id: &str) -> Result<Option<Kept<T>>, StoreError> {
        let mut found = self.find(&[id]).await?;
        Ok(found.pop().flatten())
    }

    /// Records by id, in their order; absent ones are `None`.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        ids: &[&str],
    ) -> Result<Vec<Option<Kept<T>>>, StoreError> {
        let keys: Vec<DocumentKey> = ids.iter().map(|id| self.key(id)).collect();
        let found = self.documents.get(TenantScope::Tenant(OWNER), &keys).await?;
        let decoded = found.into_iter().map(|document| document.map(decode).transpose());
        decoded.collect()
    }

    /// A page in the order of ids.
    pub(crate) async fn list<T: DeserializeOwned>(
        &self,
        index: Option<(&'static str, String)>,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<Kept<T>>, StoreError> {
        let query = DocumentQuery {
            kind: self.kind,
            index,
            after: after.map(|id| (OWNER, id)),
            limit: limit.clamp(1, 1_000),
        };
        let found = self.documents.list(TenantScope::Tenant(OWNER), query).await?;
        found.into_iter().map(decode).collect()
    }

    pub(crate) fn put<T: Serialize>(
        &self,
        id: &str,
        precondition: Precondition,
        body: &T,
        placed: Placed,
    ) -> Result<DocumentWrite, StoreError> {
        let form = Versioned {
            version: VERSION,
            body,
        };
        let form = serde_json::to_value(form).map_err(|error| corrupt(self.kind, error))?;
        Ok(DocumentWrite {
            key: self.key(id),
            precondition,
            content: Some(DocumentContent {
                body: Json::of(&form),
                index: placed.index,
                expires_at: placed.expires_at,
            }),
        })
    }

    pub(crate) fn delete(&self, id: &str, precondition: Precondition) -> DocumentWrite {
        DocumentWrite {
            key: self.key(id),
            precondition,
            content: None,
        }
    }
}

impl<T> Kept<T> {
    /// What must hold so that a change is one of what was read.
    pub(crate) const fn unchanged(&self) -> Precondition {
        match self.revision {
            0 => Precondition::Absent,
            revision => Precondition::Revision(revision),
        }
    }
}

fn decode<T: DeserializeOwned>(document: Document) -> Result<Kept<T>, StoreError> {
    let (kind, text) = (document.key.kind, document.body.as_str());
    let Versioned { version, body } =
        serde_json::from_str::<Versioned<T>>(text).map_err(|error| corrupt(kind, error))?;
    if version != VERSION {
        let why = format!("version {version} is not one that this program reads");
        return Err(corrupt(kind, why));
    }
    Ok(Kept {
        id: document.key.id,
        body,
        revision: document.revision,
    })
}

/// How often a change is decided again because others wrote first.
pub(crate) const TRIES: usize = 16;

/// Whether a write was done: false when somebody else wrote first, so that it must be read and decided again.
///
/// # Errors
/// The store's.
pub(crate) fn written<T>(result: Result<T, DocumentError>) -> Result<bool, StoreError> {
    match result {
        Ok(_) => Ok(true),
        Err(DocumentError::Precondition { .. }) => Ok(false),
        Err(DocumentError::Store(error)) => Err(error),
        Err(error) => Err(corrupt("document", error.to_string())),
    }
}

/// Others wrote first each of [`TRIES`] times.
pub(crate) const fn contended() -> StoreError {
    StoreError::Busy {
        retry_after: Duration::from_secs(1),
    }
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
