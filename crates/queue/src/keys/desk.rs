//! What operators do about keys.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{Operation, Principal, PrincipalId, Resource, TenantId};

use super::record::{KeyError, KeyInfo, NewKey};
use super::store::ApiKeys;
use super::{KIND, LIVE_KEYS};
use crate::error::QueueError;
use crate::principals::covers;
use crate::records::RecordError;
use crate::service::SecureQueue;

/// The longest life of a key that ends: ten years.
const LONGEST_LIFE: Duration = Duration::from_hours(24 * 3_653);
/// The longest time that a key is accepted beside the one that replaces it.
const LONGEST_OVERLAP: Duration = Duration::from_hours(24 * 30);

/// Makes, lists, replaces and revokes keys. Each operation: authorise, limit, act, audit. Nobody touches the keys of a
/// principal that may do more than it may give itself: with a new one it could do what that principal may do.
#[derive(Debug)]
pub struct KeyDesk {
    queue: Arc<SecureQueue>,
    keys: Arc<ApiKeys>,
}

/// How long a new key lives, and the one that it replaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotation {
    /// After what time the new one ends, 1 s to ten years; never, when it is absent.
    pub lifetime: Option<Duration>,
    /// For how long the old one is accepted yet, up to 30 days.
    pub overlap: Duration,
}

impl KeyDesk {
    /// A desk for `keys`; `queue` says who may do what.
    pub const fn new(queue: Arc<SecureQueue>, keys: Arc<ApiKeys>) -> Self {
        Self { queue, keys }
    }

    /// The keys of a principal, live or not, by id.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn list(
        &self,
        by: &Principal,
        tenant: TenantId,
        of: PrincipalId,
    ) -> Result<Vec<KeyInfo>, RecordError> {
        self.queue.permit_in(by, Operation::KeyList, tenant).await?;
        self.owner(tenant, of).await?;
        let mut keys = self.keys.list(of).await?;
        keys.retain(|key| key.tenant == tenant);
        Ok(keys)
    }

    /// Makes a key, which is shown this once.
    ///
    /// # Errors
    /// See [`RecordError`]; refused when two are live already.
    ///
    /// # Cancel safety
    /// As for [`ApiKeys::create`].
    pub async fn create(
        &self,
        by: &Principal,
        tenant: TenantId,
        of: PrincipalId,
        lifetime: Option<Duration>,
    ) -> Result<(NewKey, KeyInfo), RecordError> {
        let operation = Operation::KeyCreate;
        self.queue.permit_in(by, operation, tenant).await?;
        let made = self.made(by, tenant, of, lifetime).await;
        self.queue
            .told(by, operation, Resource::new(KIND, ""), made)
            .await
    }

    async fn made(
        &self,
        by: &Principal,
        tenant: TenantId,
        of: PrincipalId,
        lifetime: Option<Duration>,
    ) -> Result<(NewKey, KeyInfo), RecordError> {
        check(lifetime)?;
        self.covered(by, tenant, of).await?;
        let key = self.keys.create(Some(by.id), tenant, of, lifetime).await?;
        let info = self.keys.get(tenant, &key.id).await?;
        Ok((key, info))
    }

    /// Makes a key in the place of another one, which is accepted for the overlap yet.
    ///
    /// # Errors
    /// See [`RecordError`]; refused when the other one has ended, or a third would be live.
    ///
    /// # Cancel safety
    /// As for [`ApiKeys::create`].
    pub async fn rotate(
        &self,
        by: &Principal,
        tenant: TenantId,
        of: PrincipalId,
        key: &str,
        rotation: Rotation,
    ) -> Result<(NewKey, KeyInfo), RecordError> {
        let operation = Operation::KeyCreate;
        self.queue.permit_in(by, operation, tenant).await?;
        self.queue.permit_in(by, Operation::KeyRevoke, tenant).await?;
        let rotated = self.rotated(by, tenant, of, key, rotation).await;
        self.queue.told(by, operation, resource(key), rotated).await
    }

    async fn rotated(
        &self,
        by: &Principal,
        tenant: TenantId,
        of: PrincipalId,
        key: &str,
        rotation: Rotation,
    ) -> Result<(NewKey, KeyInfo), RecordError> {
        check(rotation.lifetime)?;
        if rotation.overlap > LONGEST_OVERLAP {
            let problem = format!("is longer than {} s", LONGEST_OVERLAP.as_secs());
            return Err(RecordError::invalid("overlap_seconds", problem));
        }
        self.covered(by, tenant, of).await?;
        self.belongs(tenant, of, key).await?;
        let Rotation { lifetime, overlap } = rotation;
        let (new, _) = self
            .keys
            .rotate(Some(by.id), tenant, key, lifetime, overlap)
            .await?;
        let info = self.keys.get(tenant, &new.id).await?;
        Ok((new, info))
    }

    /// Revokes a key; it is refused from now on. Revoking it again changes nothing.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub async fn revoke(
        &self,
        by: &Principal,
        tenant: TenantId,
        of: PrincipalId,
        key: &str,
    ) -> Result<KeyInfo, RecordError> {
        let operation = Operation::KeyRevoke;
        self.queue.permit_in(by, operation, tenant).await?;
        let revoked = self.revoked(by, tenant, of, key).await;
        self.queue.told(by, operation, resource(key), revoked).await
    }

    async fn revoked(
        &self,
        by: &Principal,
        tenant: TenantId,
        of: PrincipalId,
        key: &str,
    ) -> Result<KeyInfo, RecordError> {
        self.covered(by, tenant, of).await?;
        self.belongs(tenant, of, key).await?;
        self.keys.revoke(Some(by.id), tenant, key).await?;
        Ok(self.keys.get(tenant, key).await?)
    }

    async fn owner(&self, tenant: TenantId, of: PrincipalId) -> Result<Principal, RecordError> {
        let found = self.keys.principals().find(tenant, of).await?;
        found.map(|known| known.principal).ok_or(RecordError::NOT_FOUND)
    }

    /// Refuses what would give `by` more than it may give.
    async fn covered(&self, by: &Principal, tenant: TenantId, of: PrincipalId) -> Result<(), RecordError> {
        let owner = self.owner(tenant, of).await?;
        if covers(by, &owner) {
            Ok(())
        } else {
            Err(QueueError::Forbidden.into())
        }
    }

    async fn belongs(&self, tenant: TenantId, of: PrincipalId, key: &str) -> Result<(), RecordError> {
        let info = self.keys.get(tenant, key).await?;
        if info.principal == of {
            Ok(())
        } else {
            Err(RecordError::NOT_FOUND)
        }
    }
}

impl From<KeyError> for RecordError {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::UnknownPrincipal(_) | KeyError::UnknownKey(_) => Self::NOT_FOUND,
            KeyError::TooMany => Self::TooMany {
                what: "live keys",
                limit: LIVE_KEYS,
            },
            KeyError::Ended(_) => Self::invalid("key", "was revoked or has expired; make a new one"),
            KeyError::Conflict => Self::Queue(QueueError::Unavailable {
                retry_after: Duration::from_millis(100),
                source: Box::new(error),
            }),
            KeyError::Store(error) => error.into(),
        }
    }
}

fn check(lifetime: Option<Duration>) -> Result<(), RecordError> {
    match lifetime {
        Some(lifetime) if lifetime.is_zero() || lifetime > LONGEST_LIFE => {
            let problem = format!("must lie in 1..={}", LONGEST_LIFE.as_secs());
            Err(RecordError::invalid("expires_in_seconds", problem))
        }
        _ => Ok(()),
    }
}

/// A key as a resource of the audit log: what a caller sends in its place is cut.
fn resource(key: &str) -> Resource {
    Resource::new(KIND, key.chars().take(16).collect::<String>())
}
