//! API keys: 256-bit random secrets, stored hashed, shown once.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{
    AuditAction, Digest, Json, Operation, Principal, PrincipalId, RecordDraft, TenantId, TenantScope,
    Timestamp,
};
use arbiter_core::ports::{
    AuthenticationError, Authenticator, Clock, Credential, Document, DocumentContent, DocumentError,
    DocumentKey, DocumentQuery, DocumentWrite, Documents, Effects, Entropy, Precondition, StoreError,
};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use crate::principals::Principals;

const KIND: &str = "api_key";
const PREFIX: &str = "arb_";
/// How many keys of one principal may be live, so that a rotation has an overlap.
const LIVE_KEYS: usize = 2;

/// Makes, checks and revokes API keys.
///
/// A key is `arb_<16 hexadecimal digits of its id>_<43 base64url characters>`: 64 bits that name it and 256 random
/// bits. Only the SHA-256 of the secret part is stored; a random secret of that length needs no slow hash.
pub struct ApiKeys {
    documents: Arc<dyn Documents>,
    principals: Principals,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeys").finish_non_exhaustive()
    }
}

/// A key that was just made. The only time that its text can be seen.
#[derive(Debug)]
pub struct NewKey {
    /// Its public id.
    pub id: String,
    /// The whole key.
    pub text: SecretText,
}

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its public id.
    pub id: String,
    /// Whose it is.
    pub principal: PrincipalId,
    /// The tenant of the principal.
    pub tenant: TenantId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

impl KeyInfo {
    /// Whether the key is accepted at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// Why a key was not made or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The principal does not exist.
    #[error("the principal `{0}` does not exist")]
    UnknownPrincipal(PrincipalId),
    /// The principal has as many live keys as it may have.
    #[error("the principal has {LIVE_KEYS} live keys already; revoke one first")]
    TooMany,
    /// There is no such key.
    #[error("the key `{0}` does not exist")]
    UnknownKey(String),
    /// Somebody else changed the key at the same time.
    #[error("the key was changed at the same time; try again")]
    Conflict,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The stored form, version 1.
#[derive(Serialize, Deserialize)]
struct Body {
    version: u32,
    principal: String,
    tenant: String,
    secret_sha256: String,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
}

impl ApiKeys {
    /// Keys kept in `documents`.
    pub fn new(documents: Arc<dyn Documents>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            principals: Principals::new(Arc::clone(&documents)),
            documents,
            clock,
            entropy,
        }
    }

    /// The principals whose keys these are.
    pub const fn principals(&self) -> &Principals {
        &self.principals
    }

    /// Makes a key for a principal. `by` is who makes it.
    ///
    /// # Errors
    /// See [`KeyError`].
    ///
    /// # Cancel safety
    /// The key may be stored although the future is dropped; nobody knows its secret then, and it can be revoked.
    pub async fn create(
        &self,
        by: Option<PrincipalId>,
        tenant: TenantId,
        principal: PrincipalId,
        lifetime: Option<Duration>,
    ) -> Result<NewKey, KeyError> {
        if self.principals.get(tenant, principal).await?.is_none() {
            return Err(KeyError::UnknownPrincipal(principal));
        }
        let now = self.clock.now();
        let live = self
            .list(principal)
            .await?
            .into_iter()
            .filter(|key| key.is_live(now))
            .count();
        if live >= LIVE_KEYS {
            return Err(KeyError::TooMany);
        }
        let mut random = [0; 40];
        self.entropy.fill(&mut random);
        let (name, secret) = random.split_at(8);
        let (id, secret) = (hex::encode(name), URL_SAFE_NO_PAD.encode(secret));
        let body = Body {
            version: 1,
            principal: principal.to_string(),
            tenant: tenant.to_string(),
            secret_sha256: Digest::of(secret.as_bytes()).to_string(),
            created_at: now.as_micros(),
            expires_at: lifetime.map(|lifetime| now.plus(lifetime).as_micros()),
            revoked_at: None,
        };
        let draft = RecordDraft {
            principal: by,
            operation: Some(Operation::KeyCreate),
            actions: vec![AuditAction::KeyCreated],
            detail: None,
        };
        self.write(&id, Precondition::Absent, &body, draft).await?;
        Ok(NewKey {
            text: SecretText::new(format!("{PREFIX}{id}_{secret}")),
            id,
        })
    }

    /// The keys of a principal, live or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, principal: PrincipalId) -> Result<Vec<KeyInfo>, StoreError> {
        let query = DocumentQuery {
            kind: KIND,
            index: Some(("principal", principal.to_string())),
            after: None,
            limit: 1_000,
        };
        let documents = self.documents.list(TenantScope::All, query).await?;
        documents
            .iter()
            .map(|document| decode(document).map(|(_, info)| info))
            .collect()
    }

    /// Revokes a key of a tenant; it is refused from now on.
    ///
    /// # Errors
    /// See [`KeyError`]; a key of another tenant is unknown.
    pub async fn revoke(
        &self,
        by: Option<PrincipalId>,
        tenant: TenantId,
        id: &str,
    ) -> Result<KeyInfo, KeyError> {
        let unknown = || KeyError::UnknownKey(id.chars().take(40).collect());
        let document = self.load(id).await?.ok_or_else(unknown)?;
        let (mut body, mut info) = decode(&document)?;
        if info.tenant != tenant {
            return Err(unknown());
        }
        if info.revoked_at.is_some() {
            return Ok(info);
        }
        let now = self.clock.now();
        body.revoked_at = Some(now.as_micros());
        info.revoked_at = Some(now);
        let draft = RecordDraft {
            principal: by,
            operation: Some(Operation::KeyRevoke),
            actions: vec![AuditAction::KeyRevoked],
            detail: None,
        };
        self.write(id, Precondition::Revision(document.revision), &body, draft)
            .await?;
        Ok(info)
    }

    async fn write(
        &self,
        id: &str,
        precondition: Precondition,
        body: &Body,
        draft: RecordDraft,
    ) -> Result<(), KeyError> {
        let write = DocumentWrite {
            key: key(id),
            precondition,
            content: Some(DocumentContent {
                body: Json::of(&serde_json::json!(body)),
                index: vec![("principal", body.principal.clone())],
                expires_at: None,
            }),
        };
        match self.documents.write(vec![write], Effects::of(draft)).await {
            Ok(_) => Ok(()),
            Err(DocumentError::Store(error)) => Err(error.into()),
            Err(_) => Err(KeyError::Conflict),
        }
    }

    async fn load(&self, id: &str) -> Result<Option<Document>, StoreError> {
        if id.len() != 16 {
            return Ok(None);
        }
        Ok(self
            .documents
            .get(TenantScope::All, &[key(id)])
            .await?
            .into_iter()
            .flatten()
            .next())
    }
}

#[async_trait]
impl Authenticator for ApiKeys {
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthenticationError> {
        let Credential::ApiKey(text) = credential else {
            return Err(AuthenticationError::Unsupported);
        };
        let (id, secret) = split(text.expose()).ok_or(AuthenticationError::Malformed)?;
        let backend = |error: StoreError| AuthenticationError::Backend(Box::new(error));
        let document = self
            .load(id)
            .await
            .map_err(backend)?
            .ok_or(AuthenticationError::Unknown)?;
        let (body, info) = decode(&document).map_err(backend)?;
        let given = Digest::of(secret.as_bytes()).to_string();
        if !bool::from(given.as_bytes().ct_eq(body.secret_sha256.as_bytes())) {
            return Err(AuthenticationError::Unknown);
        }
        if info.revoked_at.is_some() {
            return Err(AuthenticationError::Revoked);
        }
        if !info.is_live(self.clock.now()) {
            return Err(AuthenticationError::Expired);
        }
        let record = self
            .principals
            .get(info.tenant, info.principal)
            .await
            .map_err(backend)?;
        record
            .map(|record| record.principal)
            .ok_or(AuthenticationError::Unknown)
    }
}

/// The id and secret of a well-formed key.
fn split(text: &str) -> Option<(&str, &str)> {
    let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
    let is_id = id.len() == 16 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let is_secret = secret.len() == 43
        && secret
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    (is_id && is_secret).then_some((id, secret))
}

fn key(id: &str) -> DocumentKey {
    DocumentKey {
        kind: KIND,
        tenant: TenantId::SYSTEM,
        id: id.to_owned(),
    }
}

fn decode(document: &Document) -> Result<(Body, KeyInfo), StoreError> {
    let corrupt = |source: Box<dyn std::error::Error + Send + Sync>| StoreError::Corrupt {
        operation: "reading an API key",
        what: "document of kind `api_key`",
        source,
    };
    let body: Body =
        serde_json::from_str(document.body.as_str()).map_err(|error| corrupt(Box::new(error)))?;
    if body.version != 1 {
        return Err(corrupt(
            format!("version {} is newer than this program", body.version).into(),
        ));
    }
    let info = KeyInfo {
        id: document.key.id.clone(),
        principal: body.principal.parse().map_err(|error| corrupt(Box::new(error)))?,
        tenant: body.tenant.parse().map_err(|error| corrupt(Box::new(error)))?,
        created_at: Timestamp::from_micros(body.created_at),
        expires_at: body.expires_at.map(Timestamp::from_micros),
        revoked_at: body.revoked_at.map(Timestamp::from_micros),
    };
    Ok((body, info))
}
