//! What operators do about keys.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::{Operation, Principal, PrincipalId, Resource, TenantId};
use serde_json::{Value, json};

use super::record::{KeyError, KeyInfo, MadeKey, NewKey, Order};
use super::store::ApiKeys;
use super::{KIND, LIVE_KEYS};
use crate::error::QueueError;
use crate::principals::covers;
use crate::records::RecordError;
use crate::repeats::{Call, Once, What};
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
pub struct Rotation<'a> {
    /// After what time the new one ends, 1 s to ten years; never, when it is absent.
    pub lifetime: Option<Duration>,
    /// For how long the old one is accepted yet, up to 30 days.
    pub overlap: Duration,
    /// The idempotency key of the call, if it has one.
    pub idempotency_key: Option<&'a str>,
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

    /// Makes a key, which is shown this once. With an idempotency key a repeated call finds the key that the first one made,
    /// without its secret: when that answer was lost, revoke it and make another.
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
        idempotency_key: Option<&str>,
    ) -> Result<MadeKey, RecordError> {
        let operation = Operation::KeyCreate;
        self.queue.permit_in(by, operation, tenant).await?;
        let call = idempotency_key.map(|key| Call {
            what: What::Key,
            tenant,
            by: by.id,
            key,
        });
        let made = self.made(by, tenant, of, lifetime, call).await;
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
        call: Option<Call<'_>>,
    ) -> Result<MadeKey, RecordError> {
        check(lifetime)?;
        self.covered(by, tenant, of).await?;
        let asked = json!({"principal": of.to_string(), "lifetime_ms": millis(lifetime)});
        let once = self.once(call, &asked)?;
        if let Some(found) = self.repeated(tenant, once.as_ref()).await? {
            return Ok(found);
        }
        let order = Order {
            by: Some(by.id),
            tenant,
            lifetime,
            once: once.as_ref(),
        };
        let issued = self.keys.issue(of, order).await;
        self.settled(order, issued).await
    }

    /// Makes a key in the place of another one, which is accepted for the overlap yet. With an idempotency key a repeated
    /// call finds the key that the first one made, as with [`Self::create`].
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
        rotation: Rotation<'_>,
    ) -> Result<MadeKey, RecordError> {
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
        rotation: Rotation<'_>,
    ) -> Result<MadeKey, RecordError> {
        check(rotation.lifetime)?;
        if rotation.overlap > LONGEST_OVERLAP {
            let problem = format!("is longer than {} s", LONGEST_OVERLAP.as_secs());
            return Err(RecordError::invalid("overlap_seconds", problem));
        }
        self.covered(by, tenant, of).await?;
        self.belongs(tenant, of, key).await?;
        let Rotation {
            lifetime,
            overlap,
            idempotency_key,
        } = rotation;
        let asked = json!({
            "principal": of.to_string(),
            "replaces": key,
            "lifetime_ms": millis(lifetime),
            "overlap_ms": millis(Some(overlap)),
        });
        let call = idempotency_key.map(|word| Call {
            what: What::Rotation,
            tenant,
            by: by.id,
            key: word,
        });
        let once = self.once(call, &asked)?;
        if let Some(found) = self.repeated(tenant, once.as_ref()).await? {
            return Ok(found);
        }
        let order = Order {
            by: Some(by.id),
            tenant,
            lifetime,
            once: once.as_ref(),
        };
        let replaced = self.keys.replace(key, overlap, order).await;
        self.settled(order, replaced.map(|(new, _)| new)).await
    }

    fn once(&self, call: Option<Call<'_>>, asked: &Value) -> Result<Option<Once>, RecordError> {
        let once = call.map(|call| {
            let made_of = self.queue.sealed(call.what, asked)?;
            self.keys.repeats().once(call, made_of)
        });
        once.transpose()
    }

    /// What an earlier call with the same idempotency key made.
    async fn repeated(&self, tenant: TenantId, once: Option<&Once>) -> Result<Option<MadeKey>, RecordError> {
        let Some(once) = once else { return Ok(None) };
        let found = self.keys.made_by(once, tenant).await?;
        Ok(found.map(|info| MadeKey { key: None, info }))
    }

    /// What became of an order.
    async fn settled(
        &self,
        order: Order<'_>,
        issued: Result<NewKey, KeyError>,
    ) -> Result<MadeKey, RecordError> {
        let error = match issued {
            Ok(key) => {
                let info = self.keys.get(order.tenant, &key.id).await?;
                return Ok(MadeKey { key: Some(key), info });
            }
            Err(error) => error,
        };
        match error {
            // The same call, twice at once: what the other one made may be what is in the way.
            KeyError::Conflict | KeyError::TooMany | KeyError::Ended(_) => {
                let found = self.repeated(order.tenant, order.once).await?;
                found.ok_or_else(|| error.into())
            }
            error => Err(error.into()),
        }
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

fn millis(time: Option<Duration>) -> Option<String> {
    time.map(|time| time.as_millis().to_string())
}

/// A key as a resource of the audit log: what a caller sends in its place is cut.
fn resource(key: &str) -> Resource {
    Resource::new(KIND, key.chars().take(16).collect::<String>())
}
