//! Credentials of every form: our own keys, and those of callers for whom another party vouches.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arbiter_core::model::{Digest, Operation, Principal, PrincipalId, RecordDraft};
use arbiter_core::ports::{
    AuthenticationError, Authenticator, BoxError, Clock, Credential, DocumentError, Identity,
    IdentityProvider,
};
use async_trait::async_trait;

use crate::keys::ApiKeys;
use crate::principals::{KnownPrincipal, PER_TENANT};
use crate::traffic::TrafficBoard;

/// How soon again the record of a principal follows what another party says of it: two tokens of one subject that differ
/// must not make every call a write.
const FOLLOWS_EVERY: Duration = Duration::from_secs(60);
/// Beyond so many principals whose records have just followed, all are taken for not having done so.
const MOST: usize = 4_096;
/// How often a record is read again because somebody else has changed it.
const TRIES: usize = 5;

/// Checks credentials: API keys itself, tokens and certificates by those who read them.
///
/// Whoever is vouched for becomes a principal at its first call, in the tenant that the rules give it, and is found, disabled
/// and erased like every other one. What it may do is what the rules say now, whatever its record says; the record follows
/// within a minute of calls, so that what runs in its name later has no rights that it has lost.
pub struct Identities {
    keys: Arc<ApiKeys>,
    tokens: Option<Arc<dyn IdentityProvider>>,
    certificates: Option<Arc<dyn IdentityProvider>>,
    board: Arc<TrafficBoard>,
    clock: Arc<dyn Clock>,
    /// When records have last followed, on the monotonic clock.
    followed: Mutex<BTreeMap<PrincipalId, Duration>>,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities").finish_non_exhaustive()
    }
}

/// A tenant has no place for another principal.
#[derive(Debug, thiserror::Error)]
#[error("the tenant has {PER_TENANT} principals and may not have more")]
struct Full;

/// A record kept changing.
#[derive(Debug, thiserror::Error)]
#[error("the record of the principal is changed too often")]
struct Contended;

impl Identities {
    /// API keys, and nothing else. `board` knows the tenants.
    pub fn new(keys: Arc<ApiKeys>, board: Arc<TrafficBoard>, clock: Arc<dyn Clock>) -> Self {
        Self {
            keys,
            tokens: None,
            certificates: None,
            board,
            clock,
            followed: Mutex::default(),
        }
    }

    /// And tokens that `provider` reads.
    #[must_use]
    pub fn with_tokens(mut self, provider: Arc<dyn IdentityProvider>) -> Self {
        self.tokens = Some(provider);
        self
    }

    /// And certificates that `provider` reads.
    #[must_use]
    pub fn with_certificates(mut self, provider: Arc<dyn IdentityProvider>) -> Self {
        self.certificates = Some(provider);
        self
    }

    /// The principal that somebody is for whom another party vouches.
    async fn admitted(&self, identity: Identity) -> Result<Principal, AuthenticationError> {
        let principal = identity.principal.clone();
        let terms = self.board.terms(principal.tenant);
        if terms.is_none_or(|terms| terms.deleted) {
            return Err(AuthenticationError::Unknown);
        }
        let known = self.keys.principals().known();
        // No key has such an id.
        let (id, mark) = (
            format!("external/{}", principal.id),
            Digest::of(principal.id.as_bytes()),
        );
        let monotonic = self.clock.monotonic();
        if known.find(&id, &mark, self.clock.now(), monotonic).as_ref() == Some(&principal) {
            return Ok(principal);
        }
        let before = known.before();
        if self.recorded(identity).await? {
            known.remember(before, &id, mark, (&principal, None), monotonic);
        }
        Ok(principal)
    }

    /// Makes the record of a principal, or lets it follow. Gives whether nothing was written.
    async fn recorded(&self, identity: Identity) -> Result<bool, AuthenticationError> {
        let principals = self.keys.principals();
        let Identity { principal, name } = identity;
        for _ in 0..TRIES {
            let found = principals.find(principal.tenant, principal.id).await;
            let found = found.map_err(backend)?;
            let (record, operation) = match found {
                Some(found) if found.disabled_at.is_some() => return Err(AuthenticationError::Disabled),
                Some(found) if found.principal == principal || !self.follows(principal.id) => {
                    return Ok(true);
                }
                Some(found) => {
                    let record = KnownPrincipal {
                        principal: principal.clone(),
                        ..found
                    };
                    (record, Operation::PrincipalUpdate)
                }
                None => {
                    if principals.is_full(principal.tenant).await.map_err(backend)? {
                        return Err(backend(Full));
                    }
                    let record = KnownPrincipal {
                        principal: principal.clone(),
                        name: name.clone(),
                        disabled_at: None,
                        created_at: Some(self.clock.now()),
                        created_by: None,
                        revision: 0,
                        made_of: None,
                    };
                    (record, Operation::PrincipalCreate)
                }
            };
            let draft = RecordDraft::by(principal.id, operation);
            match principals.put(&record, None, draft).await {
                Ok(_) => {
                    self.has_followed(principal.id);
                    return Ok(false);
                }
                // Somebody else was quicker: it may have been disabled.
                Err(DocumentError::Precondition { .. }) => {}
                Err(error) => return Err(backend(error)),
            }
        }
        Err(backend(Contended))
    }

    fn follows(&self, id: PrincipalId) -> bool {
        let followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.monotonic();
        (followed.get(&id)).is_none_or(|at| now.saturating_sub(*at) >= FOLLOWS_EVERY)
    }

    fn has_followed(&self, id: PrincipalId) {
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if followed.len() >= MOST {
            followed.clear();
        }
        followed.insert(id, self.clock.monotonic());
    }
}

fn backend(error: impl Into<BoxError>) -> AuthenticationError {
    AuthenticationError::Backend(error.into())
}

#[async_trait]
impl Authenticator for Identities {
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthenticationError> {
        let provider = match credential {
            Credential::ApiKey(_) => return self.keys.authenticate(credential).await,
            Credential::Bearer(_) => self.tokens.as_ref(),
            Credential::Certificate(_) => self.certificates.as_ref(),
        };
        let provider = provider.ok_or(AuthenticationError::Unsupported)?;
        self.admitted(provider.identify(credential).await?).await
    }
}
