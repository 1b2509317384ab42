//! What is kept of a key.

use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::{PrincipalId, TenantId, Timestamp};
use arbiter_core::ports::{Document, StoreError};
use serde::{Deserialize, Serialize};

use super::LIVE_KEYS;
use crate::repeats::{MadeOf, Once};

/// A key that was just made. The only time that its text can be seen.
#[derive(Debug)]
pub struct NewKey {
    /// Its public id.
    pub id: String,
    /// The whole key.
    pub text: SecretText,
}

/// A key that a call made, or had made before.
#[derive(Debug)]
pub struct MadeKey {
    /// The key; none when it was made before, by a call with the same idempotency key: only its hash was kept.
    pub key: Option<NewKey>,
    /// What is known of it now.
    pub info: KeyInfo,
}

/// How a key is to be made.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    /// Who makes it.
    pub(super) by: Option<PrincipalId>,
    /// The tenant of the principal whose it is to be.
    pub(super) tenant: TenantId,
    /// When it ends.
    pub(super) lifetime: Option<Duration>,
    /// The call that makes it, if its repeats are recognised.
    pub(super) once: Option<&'a Once>,
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
    /// When it was last accepted, to the minute; none while that was never noted.
    pub last_used_at: Option<Timestamp>,
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
    /// The key has ended, so there is nothing to replace.
    #[error("the key `{0}` was revoked or has expired; make a new one")]
    Ended(String),
    /// Somebody else changed the keys at the same time.
    #[error("the keys were changed at the same time; try again")]
    Conflict,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The stored form, version 1.
#[derive(Serialize, Deserialize)]
pub(super) struct Body {
    pub(super) version: u32,
    pub(super) principal: String,
    pub(super) tenant: String,
    pub(super) secret_sha256: String,
    pub(super) created_at: i64,
    pub(super) expires_at: Option<i64>,
    pub(super) revoked_at: Option<i64>,
    /// A digest of what it was made of, if the call that made it had an idempotency key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) made_of: Option<String>,
}

impl MadeOf for Body {
    fn made_of(&self) -> Option<&str> {
        self.made_of.as_deref()
    }
}

/// Reads what is kept; when the key was last used is kept elsewhere.
pub(super) fn decode(document: &Document) -> Result<(Body, KeyInfo), StoreError> {
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
        last_used_at: None,
    };
    Ok((body, info))
}
