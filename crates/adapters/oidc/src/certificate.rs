//! Identities of client certificates.

use std::sync::Arc;

use arbiter_core::model::Principal;
use arbiter_core::ports::{
    AuthenticationError, Authenticator, Clock, Credential, Identity, IdentityProvider,
};
use async_trait::async_trait;

use crate::der::Certificate;
use crate::rules::{self, CertificateName, Rule};
use crate::subject::{Subject, is_name};

/// Turns client certificates into principals.
///
/// The subject is one alternative name of the certificate: its first URI, else its first host, else its first e-mail
/// address. The other names, and the distinguished name, say nothing here. A certificate that has ended is refused although
/// its connection is open.
pub struct CertificateIdentities {
    rules: Vec<Rule>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for CertificateIdentities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateIdentities").finish_non_exhaustive()
    }
}

impl CertificateIdentities {
    /// Certificates whose subjects these rules name; rules about claims are left out.
    pub const fn new(rules: Vec<Rule>, clock: Arc<dyn Clock>) -> Self {
        Self { rules, clock }
    }
}

#[async_trait]
impl IdentityProvider for CertificateIdentities {
    async fn identify(&self, credential: &Credential) -> Result<Identity, AuthenticationError> {
        let Credential::Certificate(certificate) = credential else {
            return Err(AuthenticationError::Unsupported);
        };
        let read = Certificate::read(certificate.der()).ok_or(AuthenticationError::Malformed)?;
        if self.clock.now() > read.not_after {
            return Err(AuthenticationError::Expired);
        }
        let first = |sort| read.names.iter().find(|(of, _)| *of == sort);
        let found = CertificateName::ALL.into_iter().find_map(first);
        let (sort, name) = found.ok_or(AuthenticationError::Malformed)?;
        if !is_name(name) {
            return Err(AuthenticationError::Malformed);
        }
        let grant = rules::for_certificate(&self.rules, *sort, name).ok_or(AuthenticationError::Unknown)?;
        let issuer = match sort {
            CertificateName::Uri => "certificate uri",
            CertificateName::Dns => "certificate dns",
            CertificateName::Email => "certificate email",
        };
        Ok(Subject { issuer, name }.identity(grant))
    }
}

#[async_trait]
impl Authenticator for CertificateIdentities {
    async fn authenticate(&self, credential: &Credential) -> Result<Principal, AuthenticationError> {
        Ok(self.identify(credential).await?.principal)
    }
}
