//! Who is it, and may they do it.

use std::sync::Arc;

use async_trait::async_trait;

use super::BoxError;
use crate::mechanism::SecretText;
use crate::model::{Operation, Principal, Target};

/// Turns a credential into a principal.
///
/// A credential that cannot be checked is [`AuthenticationError::Backend`], never a principal. The same credential gives the
/// same principal as long as nothing that it depends on changes.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Checks a credential.
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthenticationError>;
}

/// Turns the credential of somebody for whom another party vouches, such as an identity provider or an authority of
/// certificates, into a principal with a name for people. An implementation is an [`Authenticator`] too, with the same
/// answers.
#[async_trait]
pub trait IdentityProvider: Send + Sync + 'static {
    /// Checks a credential.
    ///
    /// # Errors
    /// See [`AuthenticationError`].
    ///
    /// # Cancel safety
    /// Safe; a token that may be used once may be used up although the future is dropped.
    async fn identify(&self, credential: &Credential) -> Result<Identity, AuthenticationError>;
}

/// Somebody for whom another party vouches, with the rights that our own settings give.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who it is here. The id is always the same for the same somebody in the same tenant.
    pub principal: Principal,
    /// Its name at the other party, at most 100 characters, none of them a control character. It is personal data, and never
    /// enters the audit log.
    pub name: String,
}

/// What a caller shows.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An API key.
    ApiKey(SecretText),
    /// A bearer token that is not an API key, such as a JWT.
    Bearer(SecretText),
    /// The certificate of the caller's end of a connection.
    Certificate(ClientCertificate),
}

/// A client's X.509 certificate in DER.
///
/// INVARIANT: whoever makes one has verified that it comes from a trusted authority and that the client has its key, in a
/// TLS handshake.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientCertificate(Arc<[u8]>);

impl ClientCertificate {
    /// A certificate that a TLS handshake has verified.
    pub fn verified(der: &[u8]) -> Self {
        Self(der.into())
    }

    /// Its DER.
    pub fn der(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Names in certificates are personal data.
        f.debug_struct("ClientCertificate").finish_non_exhaustive()
    }
}

/// Why a credential was not accepted. What the caller is told is always the same; the audit log keeps the variant.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticationError {
    /// It does not have the form of a credential.
    #[error("the credential is malformed")]
    Malformed,
    /// Nobody has it.
    #[error("the credential is unknown")]
    Unknown,
    /// It was revoked.
    #[error("the credential was revoked")]
    Revoked,
    /// It has expired.
    #[error("the credential has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the credential is not valid yet")]
    NotYetValid,
    /// It was issued by another party than the trusted one, or to be shown to somebody else.
    #[error("the credential is meant for somebody else")]
    Foreign,
    /// It may be used once, and was.
    #[error("the credential was used before")]
    Replayed,
    /// The principal that it belongs to is disabled.
    #[error("the principal is disabled")]
    Disabled,
    /// This authenticator does not read such credentials.
    #[error("this kind of credential is not accepted here")]
    Unsupported,
    /// It could not be checked.
    #[error("the credential could not be checked")]
    Backend(#[source] BoxError),
}

impl AuthenticationError {
    /// A stable word for the audit log.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Foreign => "foreign",
            Self::Replayed => "replayed",
            Self::Disabled => "disabled",
            Self::Unsupported => "unsupported",
            Self::Backend(_) => "unavailable",
        }
    }
}

/// Decides whether a principal may do something. Pure and quick: it is asked on every path.
pub trait Authorizer: Send + Sync + 'static {
    /// Decides. Denied unless a policy permits and none forbids.
    ///
    /// # Errors
    /// [`AuthorizationError`] when no decision could be made, which callers must treat as denied.
    fn authorize(
        &self,
        principal: &Principal,
        operation: Operation,
        target: &Target,
    ) -> Result<Verdict, AuthorizationError>;
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Allowed,
    /// Stop.
    Denied,
}

/// Why no decision could be made.
#[derive(Debug, thiserror::Error)]
#[error("the policies could not be evaluated")]
pub struct AuthorizationError(#[source] pub BoxError);
