//! TLS, when configured.

use std::sync::Arc;

use arbiter_core::ports::BoxError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

/// A certificate chain and its private key.
#[derive(Clone)]
pub struct TlsIdentity(pub(crate) TlsAcceptor);

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsIdentity").finish_non_exhaustive()
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The certificates cannot be read.
    #[error("the certificates are not PEM")]
    Certificates(#[source] rustls::pki_types::pem::Error),
    /// There is no certificate.
    #[error("there is no certificate in the file")]
    NoCertificate,
    /// The key cannot be read.
    #[error("the private key is not PEM")]
    Key(#[source] rustls::pki_types::pem::Error),
    /// They do not fit together, or are not supported.
    #[error("the certificates and the private key cannot be used")]
    Unusable(#[source] rustls::Error),
    /// The authorities of clients cannot be read.
    #[error("the authorities of clients are not PEM")]
    ClientAuthorities(#[source] rustls::pki_types::pem::Error),
    /// There is no authority of clients.
    #[error("there is no authority of clients in the file")]
    NoClientAuthority,
    /// The authorities of clients cannot be used.
    #[error("the authorities of clients cannot be used")]
    UnusableClientAuthorities(#[source] BoxError),
}

impl TlsIdentity {
    /// Reads a certificate chain and a private key, both PEM. HTTP/2 and HTTP/1.1 are offered (RFC 7301). Clients are not
    /// asked for certificates.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::made(certificates, key, WebPkiClientVerifier::no_client_auth())
    }

    /// The same, and clients are asked for a certificate of one of these authorities, PEM too. A client may have none; one
    /// whose certificate is of another authority, has ended or is not for clients is refused in the handshake.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn with_clients(certificates: &[u8], key: &[u8], authorities: &[u8]) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(authorities) {
            let authority = authority.map_err(TlsError::ClientAuthorities)?;
            roots
                .add(authority)
                .map_err(|error| TlsError::UnusableClientAuthorities(error.into()))?;
        }
        if roots.is_empty() {
            return Err(TlsError::NoClientAuthority);
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(|error| TlsError::UnusableClientAuthorities(error.into()))?;
        Self::made(certificates, key, verifier)
    }

    fn made(certificates: &[u8], key: &[u8], clients: Arc<dyn ClientCertVerifier>) -> Result<Self, TlsError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(TlsError::Certificates)?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Unusable)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain, key)
            .map_err(TlsError::Unusable)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}
