//! TLS: rustls with `ring`. A server's certificate is always verified, its chain and its name.
//!
//! The password is bound to no channel (`SCRAM-SHA-256-PLUS`): who has verified the server need not.

use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arbiter_core::ports::BoxError;
use futures_util::future::BoxFuture;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Encrypted;

use crate::config::PostgresConfig;
use crate::error::OpenError;

/// What a server that starts TLS without asking first wants to hear.
const PROTOCOL: &[u8] = b"postgresql";

/// Why there is no encrypted connection. What else fails is an I/O error.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("`{host}` is no name or address that a certificate can hold")]
    ServerName { host: String },
    #[error(
        "the server is not trusted as `{host}`: its certificate must name this host and come from an authority in \
         `ca_file` or, without that setting, from a public one"
    )]
    Untrusted {
        host: String,
        #[source]
        source: rustls::Error,
    },
    #[error("the TLS handshake with `{host}` failed")]
    Handshake {
        host: String,
        #[source]
        source: rustls::Error,
    },
}

/// Makes encrypted connections.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Reads the authorities that are trusted.
    pub(crate) fn new(config: &PostgresConfig) -> Result<Self, OpenError> {
        let mut roots = RootCertStore::empty();
        match &config.ca_file {
            Some(path) => trust(&mut roots, path)?,
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(OpenError::database("setting TLS up"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols.push(PROTOCOL.to_vec());
        Ok(Self(Arc::new(tls)))
    }
}

/// Adds the certificates of a PEM file.
fn trust(roots: &mut RootCertStore, path: &Path) -> Result<(), OpenError> {
    let refused = |problem: String| OpenError::Setting {
        setting: "ca_file",
        problem: format!("`{}` {problem}", path.display()),
    };
    let pem = std::fs::read(path).map_err(|error| refused(format!("cannot be read: {error}")))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| refused(format!("is not a PEM file: {error}")))?;
        let added = roots.add(certificate);
        added.map_err(|error| refused(format!("holds a certificate that is not usable: {error}")))?;
    }
    if roots.is_empty() {
        return Err(refused("holds no certificate in PEM form".to_owned()));
    }
    Ok(())
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = Connector;
    type Error = Infallible;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connector, Infallible> {
        Ok(Connector {
            tls: Arc::clone(&self.0),
            host: host.to_owned(),
        })
    }
}

/// Makes one encrypted connection.
pub(crate) struct Connector {
    tls: Arc<ClientConfig>,
    host: String,
}

impl TlsConnect<Socket> for Connector {
    type Stream = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let Self { tls, host } = self;
        Box::pin(async move {
            let Ok(name) = ServerName::try_from(host.clone()) else {
                return Err(TlsError::ServerName { host }.into());
            };
            let handshake = TlsConnector::from(tls).connect(name, socket).await;
            handshake.map(Stream).map_err(|error| refusal(host, error))
        })
    }
}

/// What the end of a handshake means. A connection that broke may be better the next time, so it stays an I/O error.
fn refusal(host: String, error: io::Error) -> BoxError {
    let source = error
        .get_ref()
        .and_then(|source| source.downcast_ref::<rustls::Error>());
    match source.cloned() {
        Some(source @ rustls::Error::InvalidCertificate(_)) => TlsError::Untrusted { host, source }.into(),
        Some(source) => TlsError::Handshake { host, source }.into(),
        None => error.into(),
    }
}

/// An encrypted connection.
pub(crate) struct Stream(Encrypted<Socket>);

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, slices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(path: &Path) -> Result<Tls, OpenError> {
        Tls::new(&PostgresConfig {
            ca_file: Some(path.to_owned()),
            ..PostgresConfig::new("postgres://localhost/b")
        })
    }

    #[test]
    fn a_file_without_authorities_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (name, text) in [("empty", ""), ("text", "no certificate"), ("broken", broken)] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let refused = tls(&path).err().unwrap();
            let told = matches!(
                refused,
                OpenError::Setting {
                    setting: "ca_file",
                    ..
                }
            );
            assert!(told && refused.to_string().contains(name), "{refused}");
        }
        let refused = tls(&folder.path().join("absent")).err().unwrap();
        assert!(refused.to_string().contains("cannot be read"), "{refused}");
    }

    #[test]
    fn what_is_not_trusted_stays_so_and_what_broke_may_not() {
        let untrusted = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let error = refusal(
            "db".to_owned(),
            io::Error::new(io::ErrorKind::InvalidData, untrusted),
        );
        assert!(matches!(
            error.downcast_ref::<TlsError>(),
            Some(TlsError::Untrusted { host, .. }) if host == "db"
        ));
        let other = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        let error = refusal("db".to_owned(), other);
        assert!(matches!(
            error.downcast_ref::<TlsError>(),
            Some(TlsError::Handshake { .. })
        ));
        let broken = io::Error::from(io::ErrorKind::ConnectionReset);
        assert!(refusal("db".to_owned(), broken).is::<io::Error>());
    }
}
