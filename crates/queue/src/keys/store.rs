//! Making, checking and revoking keys.

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
use serde_json::json;
use subtle::ConstantTimeEq as _;

use super::record::{Body, KeyError, KeyInfo, NewKey, Order, decode};
use super::used::Uses;
use super::{KIND, LIVE_KEYS};
use crate::principals::{KnownPrincipal, Principals};
use crate::records::{RecordError, Shelf};
use crate::repeats::{Once, Repeats};

const PREFIX: &str = "arb_";
/// How often a change of a principal's keys is tried when others change them at the same time.
const TRIES: usize = 5;

/// Makes, checks and revokes API keys.
///
/// A key is `arb_<16 hexadecimal digits of its id>_<43 base64url characters>`: 64 bits that name it and 256 random
/// bits. Only the SHA-256 of the secret part is stored; a random secret of that length needs no slow hash.
pub struct ApiKeys {
    documents: Arc<dyn Documents>,
    principals: Principals,
    uses: Uses,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl std::fmt::Debug for ApiKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiKeys").finish_non_exhaustive()
    }
}

impl ApiKeys {
    /// Keys kept in `documents`.
    pub fn new(documents: Arc<dyn Documents>, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            principals: Principals::new(Arc::clone(&documents)),
            uses: Uses::new(&documents),
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
        let order = Order {
            by,
            tenant,
            lifetime,
            once: None,
        };
        self.issue(principal, order).await
    }

    /// The same as an order; [`KeyError::Conflict`] when the order's call made its key before.
    pub(super) async fn issue(&self, principal: PrincipalId, order: Order<'_>) -> Result<NewKey, KeyError> {
        for _ in 0..TRIES {
            let owner = self.owner(order.tenant, principal).await?;
            let now = self.clock.now();
            if self.live(principal, now).await?.len() >= LIVE_KEYS {
                return Err(KeyError::TooMany);
            }
            let (key, writes) = self.made(&owner, now, order)?;
            let draft = RecordDraft {
                principal: order.by,
                operation: Some(Operation::KeyCreate),
                actions: vec![AuditAction::KeyCreated],
                detail: None,
            };
            match self.write(&owner, writes, draft).await {
                Err(KeyError::Conflict) if !self.is_done(order).await? => {}
                done => return done.map(|()| key),
            }
        }
        Err(KeyError::Conflict)
    }

    /// Makes a key in the place of another one, which is accepted for `overlap` longer: at once revoked when that is
    /// zero, else expired by then at the latest.
    ///
    /// # Errors
    /// See [`KeyError`]; [`KeyError::Ended`] when the other one is not live, [`KeyError::TooMany`] when a third would be
    /// live.
    ///
    /// # Cancel safety
    /// As for [`Self::create`].
    pub async fn rotate(
        &self,
        by: Option<PrincipalId>,
        tenant: TenantId,
        id: &str,
        lifetime: Option<Duration>,
        overlap: Duration,
    ) -> Result<(NewKey, KeyInfo), KeyError> {
        let order = Order {
            by,
            tenant,
            lifetime,
            once: None,
        };
        self.replace(id, overlap, order).await
    }

    /// The same as an order; [`KeyError::Conflict`] when the order's call made its key before.
    pub(super) async fn replace(
        &self,
        id: &str,
        overlap: Duration,
        order: Order<'_>,
    ) -> Result<(NewKey, KeyInfo), KeyError> {
        for _ in 0..TRIES {
            let (document, mut body, mut old) = self.find(order.tenant, id).await?;
            let owner = self.owner(order.tenant, old.principal).await?;
            let now = self.clock.now();
            let live = self.live(old.principal, now).await?;
            if !old.is_live(now) {
                return Err(KeyError::Ended(old.id));
            }
            let ends_now = overlap.is_zero();
            if live.len().saturating_sub(usize::from(ends_now)) >= LIVE_KEYS {
                return Err(KeyError::TooMany);
            }
            if ends_now {
                old.revoked_at = Some(now);
            } else {
                let end = now.plus(overlap);
                old.expires_at = Some(old.expires_at.map_or(end, |at| at.min(end)));
            }
            body.revoked_at = old.revoked_at.map(Timestamp::as_micros);
            body.expires_at = old.expires_at.map(Timestamp::as_micros);
            let (key, mut writes) = self.made(&owner, now, order)?;
            writes.push(write_of(id, Precondition::Revision(document.revision), &body));
            let until = if ends_now { Some(now) } else { old.expires_at };
            let detail = json!({
                "schema": "key_rotation/1",
                "replaces": old.id,
                "until": until.map(|at| at.to_string()),
            });
            let draft = RecordDraft {
                principal: order.by,
                operation: Some(Operation::KeyCreate),
                actions: vec![AuditAction::KeyCreated, AuditAction::KeyRevoked],
                detail: Some(Json::of(&detail)),
            };
            match self.write(&owner, writes, draft).await {
                Err(KeyError::Conflict) if !self.is_done(order).await? => {}
                done => return done.map(|()| (key, old)),
            }
        }
        Err(KeyError::Conflict)
    }

    /// What is remembered of calls that make keys.
    pub(super) fn repeats(&self) -> Repeats {
        Repeats::new(&self.documents)
    }

    /// The key that an earlier call with the same idempotency key made.
    pub(super) async fn made_by(
        &self,
        once: &Once,
        tenant: TenantId,
    ) -> Result<Option<KeyInfo>, RecordError> {
        let (id, keys) = (derived(once), Shelf::new(&self.documents, KIND));
        match once.find::<Body>(&keys, TenantId::SYSTEM, &id).await? {
            Some(_) => Ok(Some(self.get(tenant, &id).await?)),
            None => Ok(None),
        }
    }

    /// Whether the call of an order made its key before.
    async fn is_done(&self, order: Order<'_>) -> Result<bool, StoreError> {
        match order.once {
            Some(once) => Ok(self.load(&derived(once)).await?.is_some()),
            None => Ok(false),
        }
    }

    /// The keys of a principal, live or not, with the time of their last use.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self, principal: PrincipalId) -> Result<Vec<KeyInfo>, StoreError> {
        let mut keys = self.all(principal).await?;
        let ids: Vec<&str> = keys.iter().map(|key| key.id.as_str()).collect();
        let used = self.uses.last(&ids).await?;
        for (key, used) in keys.iter_mut().zip(used) {
            key.last_used_at = used;
        }
        Ok(keys)
    }

    /// A key of a tenant; a key of another tenant is unknown.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub async fn get(&self, tenant: TenantId, id: &str) -> Result<KeyInfo, KeyError> {
        let (_, _, mut info) = self.find(tenant, id).await?;
        info.last_used_at = self.uses.last(&[id]).await?.pop().flatten();
        Ok(info)
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
        let (document, mut body, mut info) = self.find(tenant, id).await?;
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
        let write = write_of(id, Precondition::Revision(document.revision), &body);
        self.commit(vec![write], draft).await?;
        Ok(info)
    }

    /// Writes when keys were last used, each at most once a minute. The owner of the keys calls it on a timer and at
    /// shutdown. Gives how many were written.
    ///
    /// # Errors
    /// The store's; what was not written is kept for the next call.
    pub async fn flush_uses(&self) -> Result<usize, StoreError> {
        self.uses.flush().await
    }

    async fn owner(&self, tenant: TenantId, principal: PrincipalId) -> Result<KnownPrincipal, KeyError> {
        let found = self.principals.find(tenant, principal).await?;
        found.ok_or(KeyError::UnknownPrincipal(principal))
    }

    /// A new key of a principal, and the writes that store it. Its secret is chance alone, whatever its id is made of.
    fn made(
        &self,
        owner: &KnownPrincipal,
        now: Timestamp,
        order: Order<'_>,
    ) -> Result<(NewKey, Vec<DocumentWrite>), StoreError> {
        let mut random = [0; 40];
        self.entropy.fill(&mut random);
        let (name, secret) = random.split_at(8);
        let (id, secret) = (
            order.once.map_or_else(|| hex::encode(name), derived),
            URL_SAFE_NO_PAD.encode(secret),
        );
        let body = Body {
            version: 1,
            principal: owner.principal.id.to_string(),
            tenant: owner.principal.tenant.to_string(),
            secret_sha256: Digest::of(secret.as_bytes()).to_string(),
            created_at: now.as_micros(),
            expires_at: order.lifetime.map(|lifetime| now.plus(lifetime).as_micros()),
            revoked_at: None,
            made_of: order.once.map(|once| once.made_of().to_owned()),
        };
        let mut writes = vec![write_of(&id, Precondition::Absent, &body)];
        writes.extend(order.once.map(|once| once.write(now)).transpose()?);
        let text = SecretText::new(format!("{PREFIX}{id}_{secret}"));
        Ok((NewKey { id, text }, writes))
    }

    /// Commits what makes a key. The principal is written with it, as it was read: of two calls that counted the same
    /// live keys, one fails.
    async fn write(
        &self,
        owner: &KnownPrincipal,
        mut writes: Vec<DocumentWrite>,
        draft: RecordDraft,
    ) -> Result<(), KeyError> {
        writes.push(self.principals.write_of(owner)?);
        self.commit(writes, draft).await
    }

    async fn commit(&self, writes: Vec<DocumentWrite>, draft: RecordDraft) -> Result<(), KeyError> {
        let _forgotten = self.principals.known().forgetting();
        match self.documents.write(writes, Effects::of(draft)).await {
            Ok(_) => Ok(()),
            Err(DocumentError::Store(error)) => Err(error.into()),
            Err(_) => Err(KeyError::Conflict),
        }
    }

    async fn live(&self, principal: PrincipalId, now: Timestamp) -> Result<Vec<KeyInfo>, StoreError> {
        let mut keys = self.all(principal).await?;
        keys.retain(|key| key.is_live(now));
        Ok(keys)
    }

    /// The names of every document about the keys of a principal. When they were last used is not noted any more.
    pub(crate) async fn documents_of(&self, principal: PrincipalId) -> Result<Vec<DocumentKey>, StoreError> {
        let mut documents = Vec::new();
        for found in self.all(principal).await? {
            documents.push(self.uses.forget(&found.id));
            documents.push(key(&found.id));
        }
        Ok(documents)
    }

    async fn all(&self, principal: PrincipalId) -> Result<Vec<KeyInfo>, StoreError> {
        let mut keys = Vec::new();
        let mut after = None;
        loop {
            let query = DocumentQuery {
                kind: KIND,
                index: Some(("principal", principal.to_string())),
                after,
                limit: 1_000,
            };
            let documents = self.documents.list(TenantScope::All, query).await?;
            for document in &documents {
                keys.push(decode(document)?.1);
            }
            match documents.last() {
                Some(last) if documents.len() == 1_000 => {
                    after = Some((last.key.tenant, last.key.id.clone()));
                }
                _ => return Ok(keys),
            }
        }
    }

    async fn find(&self, tenant: TenantId, id: &str) -> Result<(Document, Body, KeyInfo), KeyError> {
        let unknown = || KeyError::UnknownKey(id.chars().take(40).collect());
        let document = self.load(id).await?.ok_or_else(unknown)?;
        let (body, info) = decode(&document)?;
        if info.tenant != tenant {
            return Err(unknown());
        }
        Ok((document, body, info))
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
        let given = Digest::of(secret.as_bytes());
        let known = self.principals.known();
        let (now, monotonic) = (self.clock.now(), self.clock.monotonic());
        if let Some(principal) = known.find(id, &given, now, monotonic) {
            self.uses.note(id, now);
            return Ok(principal);
        }
        let before = known.before();
        let backend = |error: StoreError| AuthenticationError::Backend(Box::new(error));
        let document = self
            .load(id)
            .await
            .map_err(backend)?
            .ok_or(AuthenticationError::Unknown)?;
        let (body, info) = decode(&document).map_err(backend)?;
        if !bool::from(given.to_string().as_bytes().ct_eq(body.secret_sha256.as_bytes())) {
            return Err(AuthenticationError::Unknown);
        }
        if info.revoked_at.is_some() {
            return Err(AuthenticationError::Revoked);
        }
        if !info.is_live(now) {
            return Err(AuthenticationError::Expired);
        }
        let owner = self
            .principals
            .find(info.tenant, info.principal)
            .await
            .map_err(backend)?
            .ok_or(AuthenticationError::Unknown)?;
        if owner.disabled_at.is_some() {
            return Err(AuthenticationError::Disabled);
        }
        known.remember(before, id, given, (&owner.principal, info.expires_at), monotonic);
        self.uses.note(id, now);
        Ok(owner.principal)
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

/// The public id that a call gives to the key that it makes.
fn derived(once: &Once) -> String {
    hex::encode(&once.id()[..8])
}

fn key(id: &str) -> DocumentKey {
    DocumentKey {
        kind: KIND,
        tenant: TenantId::SYSTEM,
        id: id.to_owned(),
    }
}

fn write_of(id: &str, precondition: Precondition, body: &Body) -> DocumentWrite {
    DocumentWrite {
        key: key(id),
        precondition,
        content: Some(DocumentContent {
            body: Json::of(&json!(body)),
            index: vec![("principal", body.principal.clone())],
            expires_at: None,
        }),
    }
}
