//! Connections: resolve, check each address, connect, TLS.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arbiter_core::ports::Clock;
use arbiter_layers::within;
use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::egress::{Denied, Egress};
use crate::resolve::Resolve;
use crate::url::{HttpUrl, InvalidUrl};

/// Why there is no connection. Nothing was sent.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The policy permits none of the host's addresses.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The address cannot be asked.
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    /// The host's addresses could not be found.
    #[error("the name of the host could not be resolved")]
    Resolve(#[source] Arc<io::Error>),
    /// The host has no address.
    #[error("the host has no address")]
    NoAddress,
    /// None of the host's addresses answered; this is what the last one said.
    #[error("no address of the host took the connection")]
    Tcp(#[source] Arc<io::Error>),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] Arc<io::Error>),
    /// The host's name is none that a certificate could hold.
    #[error("the host is not a name or address that a certificate can hold")]
    ServerName,
    /// It took too long.
    #[error("no connection within {} ms", after.as_millis())]
    Timeout {
        /// The limit.
        after: Duration,
    },
}

/// Opens connections for the pool.
#[derive(Clone)]
pub(crate) struct Connector(Arc<Parts>);

pub(crate) struct Parts {
    pub(crate) egress: Egress,
    pub(crate) timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) resolver: Arc<dyn Resolve>,
    pub(crate) tls: Arc<ClientConfig>,
}

impl Connector {
    pub(crate) fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl tower_service::Service<Uri> for Connector {
    type Response = Link;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Link, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let parts = Arc::clone(&self.0);
        Box::pin(async move {
            let after = parts.timeout;
            let connecting = Box::pin(parts.connect(uri));
            let timeout = |_| ConnectError::Timeout { after };
            within(&*parts.clock, Some(after), connecting)
                .await
                .map_err(timeout)?
        })
    }
}

impl Parts {
    async fn connect(&self, uri: Uri) -> Result<Link, ConnectError> {
        let url = HttpUrl::of(uri)?;
        self.egress.check_url(&url)?;
        let addresses = self.addresses(&url).await?;
        let stream = self.tcp(&addresses, url.port()).await?;
        // small requests are the rule; a socket that cannot be told so still works
        let _slower = stream.set_nodelay(true);
        if !url.is_https() {
            return Ok(Link::new(Box::new(stream), false));
        }
        let name = url.host_address().map_or_else(
            || ServerName::try_from(url.host().trim_end_matches('.').to_owned()),
            |address| Ok(ServerName::from(address)),
        );
        let name = name.map_err(|_| ConnectError::ServerName)?;
        let handshake = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream);
        let stream = handshake
            .await
            .map_err(|error| ConnectError::Tls(Arc::new(error)))?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        Ok(Link::new(Box::new(stream), http2))
    }

    /// The addresses that may be connected to. Only they are used from here on: there is no second look-up.
    async fn addresses(&self, url: &HttpUrl) -> Result<Vec<IpAddr>, ConnectError> {
        let found = match url.host_address() {
            Some(address) => vec![address],
            None => {
                let found = self.resolver.resolve(url.host()).await;
                found.map_err(|error| ConnectError::Resolve(Arc::new(error)))?
            }
        };
        let mut refused = None;
        let mut permitted = Vec::new();
        for address in found {
            match self.egress.check_address(url.host(), address) {
                Ok(()) => permitted.push(address),
                Err(reason) => refused = refused.or(Some(reason)),
            }
        }
        match refused {
            _ if !permitted.is_empty() => Ok(permitted),
            Some(reason) => Err(ConnectError::Denied(Denied {
                origin: url.origin(),
                reason,
            })),
            None => Err(ConnectError::NoAddress),
        }
    }

    /// Tries the addresses in order, each for its share of the time, so that one that is silent does not use it up.
    async fn tcp(&self, addresses: &[IpAddr], port: u16) -> Result<TcpStream, ConnectError> {
        let share = self.timeout / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        let mut last = ConnectError::NoAddress;
        for address in addresses {
            let connecting = TcpStream::connect(SocketAddr::new(*address, port));
            match within(&*self.clock, Some(share), connecting).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = ConnectError::Tcp(Arc::new(error)),
                Err(_) => last = ConnectError::Timeout { after: share },
            }
        }
        Err(last)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// An open connection.
pub(crate) struct Link {
    stream: TokioIo<Box<dyn Stream>>,
    http2: bool,
}

impl Link {
    fn new(stream: Box<dyn Stream>, http2: bool) -> Self {
        Self {
            stream: TokioIo::new(stream),
            http2,
        }
    }
}

impl Connection for Link {
    fn connected(&self) -> Connected {
        if self.http2 {
            Connected::new().negotiated_h2()
        } else {
            Connected::new()
        }
    }
}

impl Read for Link {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Link {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
