//! Principals as documents.

use std::sync::Arc;

use arbiter_core::model::{
    AgentId, Band, Json, Principal, PrincipalId, PrincipalKind, RecordDraft, Role, TaskKind, TenantId,
    TenantScope,
};
use arbiter_core::ports::{
    DocumentContent, DocumentError, DocumentKey, DocumentWrite, Documents, Effects, Precondition, StoreError,
};
use serde::{Deserialize, Serialize};

const KIND: &str = "principal";

/// A principal with the name that people know it by. The name never enters the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalRecord {
    /// The principal.
    pub principal: Principal,
    /// A name for people.
    pub name: String,
}

/// Keeps principals.
#[derive(Clone)]
pub struct Principals {
    documents: Arc<dyn Documents>,
}

impl std::fmt::Debug for Principals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Principals").finish_non_exhaustive()
    }
}

/// The stored form, version 1.
#[derive(Serialize, Deserialize)]
struct Body {
    version: u32,
    name: String,
    kind: String,
    roles: Vec<String>,
    agent: Option<String>,
    kinds: Option<Vec<String>>,
    highest_band: u8,
}

impl Principals {
    /// Principals kept in `documents`.
    pub fn new(documents: Arc<dyn Documents>) -> Self {
        Self { documents }
    }

    /// A principal by id; `None` when it is absent.
    ///
    /// # Errors
    /// The store's, and [`StoreError::Corrupt`] when what is stored cannot be read.
    pub async fn get(
        &self,
        tenant: TenantId,
        id: PrincipalId,
    ) -> Result<Option<PrincipalRecord>, StoreError> {
        let found = self
            .documents
            .get(TenantScope::Tenant(tenant), &[key(tenant, id)])
            .await?;
        found
            .into_iter()
            .flatten()
            .next()
            .map(|document| decode(tenant, id, &document.body))
            .transpose()
    }

    /// Stores a principal that must not exist yet.
    ///
    /// # Errors
    /// The store's; [`DocumentError::Precondition`] when the id is taken.
    pub async fn create(&self, record: &PrincipalRecord, draft: RecordDraft) -> Result<(), DocumentError> {
        let write = DocumentWrite {
            key: key(record.principal.tenant, record.principal.id),
            precondition: Precondition::Absent,
            content: Some(DocumentContent {
                body: encode(record),
                index: Vec::new(),
                expires_at: None,
            }),
        };
        self.documents
            .write(vec![write], Effects::of(draft))
            .await
            .map(|_| ())
    }
}

fn key(tenant: TenantId, id: PrincipalId) -> DocumentKey {
    DocumentKey {
        kind: KIND,
        tenant,
        id: id.to_string(),
    }
}

fn encode(record: &PrincipalRecord) -> Json {
    let PrincipalRecord { principal, name } = record;
    let body = Body {
        version: 1,
        name: name.clone(),
        kind: principal.kind.word().to_owned(),
        roles: principal
            .roles
            .iter()
            .map(|role| role.word().to_owned())
            .collect(),
        agent: principal.agent.map(|agent| agent.to_string()),
        kinds: principal
            .kinds
            .as_ref()
            .map(|kinds| kinds.iter().map(ToString::to_string).collect()),
        highest_band: principal.highest_band.get(),
    };
    Json::of(&serde_json::json!(body))
}

fn decode(tenant: TenantId, id: PrincipalId, body: &Json) -> Result<PrincipalRecord, StoreError> {
    let corrupt = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Corrupt {
        operation: "reading a principal",
        what: "document of kind `principal`",
        source,
    };
    let body: Body = serde_json::from_str(body.as_str()).map_err(|error| corrupt(Box::new(error)))?;
    if body.version != 1 {
        return Err(corrupt(
            format!("version {} is newer than this program", body.version).into(),
        ));
    }
    let unknown = |what: &str, word: &str| corrupt(format!("unknown {what} `{word}`").into());
    let mut roles = std::collections::BTreeSet::new();
    for word in &body.roles {
        roles.insert(Role::from_word(word).ok_or_else(|| unknown("role", word))?);
    }
    let agent = match &body.agent {
        Some(text) => Some(
            text.parse::<AgentId>()
                .map_err(|error| corrupt(Box::new(error)))?,
        ),
        None => None,
    };
    let kinds = match &body.kinds {
        Some(words) => {
            let kinds: Result<_, _> = words.iter().map(|word| TaskKind::new(word)).collect();
            Some(kinds.map_err(|error| corrupt(Box::new(error)))?)
        }
        None => None,
    };
    Ok(PrincipalRecord {
        name: body.name,
        principal: Principal {
            id,
            tenant,
            kind: PrincipalKind::from_word(&body.kind).ok_or_else(|| unknown("kind", &body.kind))?,
            roles,
            agent,
            kinds,
            highest_band: Band::new(body.highest_band).map_err(|error| corrupt(Box::new(error)))?,
        },
    })
}
