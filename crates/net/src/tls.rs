//! TLS: rustls with `ring`.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::config::{HttpClientConfig, InvalidConfig};

/// Settings of TLS connections: versions 1.2 and 1.3, HTTP/2 offered first if it is switched on.
pub(crate) fn client(config: &HttpClientConfig) -> Result<Arc<ClientConfig>, InvalidConfig> {
    let mut roots = RootCertStore::empty();
    if config.public_roots {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for pem in &config.extra_roots_pem {
        let mut found = false;
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| InvalidConfig::Roots(error.into()))?;
            roots
                .add(certificate)
                .map_err(|error| InvalidConfig::Roots(error.into()))?;
            found = true;
        }
        if !found {
            return Err(InvalidConfig::NoRoots);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| InvalidConfig::Roots(error.into()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    if config.http2 {
        tls.alpn_protocols.push(b"h2".to_vec());
    }
    tls.alpn_protocols.push(b"http/1.1".to_vec());
    Ok(Arc::new(tls))
}
