//! Accepts connections and serves the interface on them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::ports::{ClientCertificate, Clock, Spawner};
use arbiter_orchestration::{Stop, Stopper};
use axum::body::Body;
use axum::{Extension, Router};
use futures_util::{FutureExt as _, select_biased};
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use crate::auth::{Peer, PeerCertificate};
use crate::failure::Failure;
use crate::groups;
use crate::outer;
use crate::settings::ApiSettings;
use crate::state::Api;
use crate::timely::Timely;
use crate::tls::TlsIdentity;

/// How long to wait when no connection can be accepted, such as for want of file handles.
const AFTER_ERROR: Duration = Duration::from_millis(100);
/// The longest head of a request that is read.
const HEAD_BYTES: usize = 64 * 1024;
/// The most headers of a request.
const HEADERS: usize = 128;
/// The most streams of one HTTP/2 connection.
const STREAMS: u32 = 256;

/// The interface on one address.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsIdentity>,
    router: Router,
    settings: ApiSettings,
    clock: Arc<dyn Clock>,
    spawner: Arc<dyn Spawner>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Why the interface cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("the address `{address}` cannot be listened on")]
pub struct ServerError {
    /// The address.
    pub address: SocketAddr,
    source: std::io::Error,
}

impl Server {
    /// Listens on an address; port 0 takes a free one. Nothing is served before [`Self::run`].
    ///
    /// # Errors
    /// [`ServerError`] when the address is taken or not allowed.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<TlsIdentity>,
        api: Api,
        spawner: Arc<dyn Spawner>,
    ) -> Result<Self, ServerError> {
        let failed = |source| ServerError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            tls,
            settings: api.settings().clone(),
            clock: Arc::clone(&api.parts().clock),
            router: router(api),
            spawner,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until told to stop; then accepts nothing new, lets open calls end, and cuts those that take longer than
    /// the settings allow.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting; open connections go on under their spawner.
    pub async fn run(self, stop: Stop) {
        let places = Arc::new(Semaphore::new(self.settings.connections));
        let cut = Stopper::default();
        while !stop.is_stopped() {
            let accepted = select_biased! {
                () = stop.wait().fuse() => break,
                accepted = self.listener.accept().fuse() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(event = "accept_failed", error = %error, "a connection could not be accepted");
                    self.clock.sleep_until(self.clock.monotonic() + AFTER_ERROR).await;
                    continue;
                }
            };
            // Over the limit the connection is closed at once: its client hears of it sooner than by waiting.
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                tracing::warn!(event = "connection_refused", "more connections than allowed");
                continue;
            };
            let _small_answers_at_once = stream.set_nodelay(true);
            let connection = self.connection(stream, peer, stop.clone());
            let cut = cut.signal();
            self.spawner.spawn(
                "connection",
                Box::pin(async move {
                    select_biased! {
                        () = connection.fuse() => {}
                        () = cut.wait().fuse() => {}
                    }
                    drop(place);
                }),
            );
        }
        drop(self.listener);
        let until = self.clock.monotonic() + self.settings.drain;
        let all = u32::try_from(self.settings.connections).unwrap_or(u32::MAX);
        select_biased! {
            _ = places.acquire_many(all).fuse() => {}
            () = self.clock.sleep_until(until).fuse() => {
                tracing::warn!(event = "connections_cut", "calls that did not end in time were cut");
                cut.stop();
                let _every_connection_has_ended = places.acquire_many(all).await;
            }
        }
    }

    fn connection(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        stop: Stop,
    ) -> impl Future<Output = ()> + Send + use<> {
        // Shared by all connections: a layer of its own would copy every route.
        let routes = Routes {
            router: self.router.clone(),
            peer: Peer(peer),
            certificate: None,
        };
        let stream = Timely::new(stream, Arc::clone(&self.clock), self.settings.write_timeout);
        let (tls, head_timeout, clock) = (
            self.tls.clone(),
            self.settings.head_timeout,
            Arc::clone(&self.clock),
        );
        async move {
            let Some(TlsIdentity(acceptor)) = tls else {
                return serve(stream, routes, head_timeout, stop).await;
            };
            let until = clock.monotonic() + head_timeout;
            let shaken = select_biased! {
                shaken = acceptor.accept(stream).fuse() => shaken,
                () = clock.sleep_until(until).fuse() => return,
            };
            match shaken {
                Ok(stream) => {
                    let shown = stream.get_ref().1.peer_certificates();
                    let certificate = shown
                        .and_then(|chain| chain.first())
                        .map(|first| PeerCertificate(ClientCertificate::verified(first)));
                    let routes = Routes {
                        certificate,
                        ..routes
                    };
                    serve(stream, routes, head_timeout, stop).await;
                }
                Err(error) => {
                    tracing::debug!(event = "handshake_failed", error = %error, "a TLS handshake failed");
                }
            }
        }
    }
}

/// What one connection is answered by.
struct Routes {
    router: Router,
    peer: Peer,
    certificate: Option<PeerCertificate>,
}

/// Serves one connection, HTTP/1.1 or HTTP/2.
async fn serve<S>(stream: S, routes: Routes, head_timeout: Duration, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(routes.peer);
        if let Some(certificate) = &routes.certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        routes.router.clone().oneshot(request.map(Body::new))
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(head_timeout)
        .keep_alive_timeout(head_timeout)
        .max_header_list_size(HEAD_BYTES as u32)
        .max_concurrent_streams(STREAMS);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    let served = select_biased! {
        served = connection.as_mut().fuse() => served,
        () = stop.wait().fuse() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(event = "connection_failed", error = %error, "a connection ended with an error");
    }
}

/// The whole interface.
pub(crate) fn router(api: Api) -> Router {
    groups::all()
        .router()
        .fallback(|| async { Failure::not_found() })
        .method_not_allowed_fallback(|| async {
            Failure::new("method_not_allowed", "the path has no such method")
        })
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(panicked))
        .layer(tower_http::compression::CompressionLayer::new().gzip(true))
        .layer(axum::middleware::from_fn_with_state(api.clone(), outer::outer))
        .layer(Extension(api.clone()))
        .with_state(api)
}

/// A mistake of ours ends one call, not the server.
fn panicked(_: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    tracing::error!(event = "call_panicked", "a call ended in a panic");
    axum::response::IntoResponse::into_response(Failure::new(
        "internal",
        "internal error; the server's log says more",
    ))
}
