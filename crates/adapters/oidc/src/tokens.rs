//! Identities of an OpenID Connect provider.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::model::Principal;
use arbiter_core::ports::{
    AuthenticationError, Authenticator, Clock, Credential, Identity, IdentityProvider,
};
use arbiter_net::HttpPorts;
use async_trait::async_trait;

use crate::algorithm::Algorithm;
use crate::cache::{Keys, Known};
use crate::claims::Expected;
use crate::config::{InvalidConfig, OidcConfig};
use crate::error::ProviderError;
use crate::provider::Provider;
use crate::replay::Used;
use crate::rules::{self, Rule};
use crate::subject::Subject;
use crate::token::Token;

/// Turns the signed tokens (JWT) of one provider into principals.
///
/// Needs a tokio runtime with I/O and time for its fetches of keys.
pub struct OidcTokens {
    algorithms: Vec<Algorithm>,
    expected: Expected,
    rules: Vec<Rule>,
    /// Where tokens may be used once.
    used: Option<Used>,
    keys: Keys,
    clock: Arc<dyn Clock>,
}

/// How it stands with the provider.
#[derive(Debug, Clone)]
pub struct ProviderStatus {
    /// How many keys of use it has.
    pub keys: usize,
    /// How long ago they were fetched; none when they never were.
    pub age: Option<Duration>,
    /// Why the last fetch failed, if it did.
    pub problem: Option<Arc<ProviderError>>,
}

impl std::fmt::Debug for OidcTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OidcTokens")
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}

impl OidcTokens {
    /// Tokens of a provider. Nothing is fetched before a token comes or [`Self::keep_fresh`] is called.
    ///
    /// # Errors
    /// See [`InvalidConfig`].
    pub fn new(config: OidcConfig, ports: HttpPorts) -> Result<Self, InvalidConfig> {
        let (clock, spawner) = (Arc::clone(&ports.clock), Arc::clone(&ports.spawner));
        let provider = Provider::new(&config, ports)?;
        Ok(Self {
            keys: Keys::new(provider, &config, Arc::clone(&clock), spawner),
            algorithms: config.algorithms,
            expected: Expected {
                issuer: config.issuer,
                audience: config.audience,
                leeway: config.leeway,
            },
            rules: config.rules,
            used: config.single_use.then(|| Used::new(config.remembered)),
            clock,
        })
    }

    /// Fetches the keys when they are due. The owner calls it on a timer, so that they are there before they are needed, and
    /// that [`Self::status`] tells of a provider that cannot be reached.
    ///
    /// # Cancel safety
    /// Safe: a fetch that has begun goes on.
    pub async fn keep_fresh(&self) {
        self.keys.keep_fresh().await;
    }

    /// How it stands with the provider; never blocks.
    pub fn status(&self) -> ProviderStatus {
        let standing = self.keys.standing();
        ProviderStatus {
            keys: standing.keys,
            age: standing.age,
            problem: standing.problem,
        }
    }
}

#[async_trait]
impl IdentityProvider for OidcTokens {
    async fn identify(&self, credential: &Credential) -> Result<Identity, AuthenticationError> {
        let Credential::Bearer(text) = credential else {
            return Err(AuthenticationError::Unsupported);
        };
        let token = Token::read(text.expose(), &self.algorithms).ok_or(AuthenticationError::Malformed)?;
        let (key, is_withdrawn) = match self.keys.find(token.key_id.as_deref(), token.algorithm).await {
            Known::Key(key) => (key, false),
            Known::Withdrawn(key) => (key, true),
            Known::Unknown => return Err(AuthenticationError::Unknown),
            Known::Unavailable(problem) => return Err(AuthenticationError::Backend(Box::new(problem))),
        };
        if !key.verifies(token.algorithm, token.signed, &token.signature) {
            return Err(AuthenticationError::Unknown);
        }
        if is_withdrawn {
            return Err(AuthenticationError::Revoked);
        }
        // INVARIANT: nothing that a token says is looked at before its signature was verified.
        let claims = token.claims().ok_or(AuthenticationError::Malformed)?;
        let now = self.clock.now();
        let claims = self.expected.check(claims, now)?;
        let grant = rules::for_claims(&self.rules, &claims.all).ok_or(AuthenticationError::Unknown)?;
        if let Some(used) = &self.used {
            let id = claims.id.as_deref().filter(|id| !id.is_empty());
            used.use_up(id.ok_or(AuthenticationError::Malformed)?, claims.until, now)?;
        }
        let subject = Subject {
            issuer: &self.expected.issuer,
            name: &claims.subject,
        };
        Ok(subject.identity(grant))
    }
}

#[async_trait]
impl Authenticator for OidcTokens {
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthenticationError> {
        Ok(self.identify(credential).await?.principal)
    }
}
