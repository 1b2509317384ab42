//! Who is it, and may they do it.

use async_trait::async_trait;

use super::BoxError;
use crate::mechanism::SecretText;
use crate::model::{Operation, Principal, Target};

/// Turns a credential into a principal.
#[async_trait]
pub trait Authenticator: Send + Sync + 'static {
    /// Checks a credential.
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthenticationError>;
}

/// What a caller shows.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An API key.
    ApiKey(SecretText),
    /// A bearer token that is not an API key, such as a JWT.
    Bearer(SecretText),
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
