//! TLS and HTTP/2, against a hyper server with certificates of an authority of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arbiter_core::ports::Retry;
use arbiter_layers::Classify as _;
use arbiter_net::{Bytes, ConnectError, Egress, HttpClientConfig, NetError, Request};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::{Names, client_with, timed, url};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn pem(&self) -> Vec<u8> {
        self.0.pem().into_bytes()
    }

    fn server(&self, name: &str, protocols: &[&[u8]]) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        config
    }
}

/// A piece, then nothing but an error.
struct Broken(Option<Bytes>);

impl Body for Broken {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        let piece = self.0.take().map(Frame::data);
        Poll::Ready(Some(
            piece.ok_or_else(|| std::io::Error::other("broken on purpose")),
        ))
    }
}

/// Answers with the protocol's version, the connection's number and the request's body; to the body `break` with half of
/// an answer.
async fn serve(config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    #[expect(clippy::disallowed_methods, reason = "this is a server of tests")]
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let answer = service_fn(move |request: http::Request<Incoming>| async move {
                    let version = request.version();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    if body == "break" {
                        let half = Broken(Some(Bytes::from_static(b"half")));
                        return Ok::<_, Infallible>(http::Response::new(Either::Left(half)));
                    }
                    let text = format!("{version:?} {number} {}", String::from_utf8_lossy(&body));
                    Ok(http::Response::new(Either::Right(Full::new(Bytes::from(text)))))
                });
                let stream = TokioIo::new(stream);
                // how a connection ends is the client's affair
                if http2 {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ended = server.serve_connection(stream, answer).await;
                } else {
                    let server = hyper::server::conn::http1::Builder::new();
                    let _ended = server.serve_connection(stream, answer).await;
                }
            });
        }
    });
    address
}

fn trusting(authority: &Authority) -> HttpClientConfig {
    HttpClientConfig {
        egress: Egress::public().allow_host("api.example"),
        extra_roots_pem: vec![authority.pem()],
        ..HttpClientConfig::new("test")
    }
}

fn names() -> Arc<Names> {
    Names::new(&[("api.example", &[&["127.0.0.1"]])])
}

fn post(address: SocketAddr, body: &'static str) -> Request {
    Request::post(url(&format!("https://api.example:{}/", address.port())), body)
}

#[tokio::test]
async fn http2_is_spoken_where_the_server_does_and_one_connection_serves_all() {
    let authority = Authority::new();
    let address = serve(authority.server("api.example", &[b"h2", b"http/1.1"])).await;
    let client = client_with(&trusting(&authority), names());
    assert_eq!(
        client.send(post(address, "one")).await.unwrap().body,
        "HTTP/2.0 0 one"
    );
    let (two, three) = tokio::join!(
        client.send(post(address, "two")),
        client.send(post(address, "three"))
    );
    assert_eq!(two.unwrap().body, "HTTP/2.0 0 two");
    assert_eq!(three.unwrap().body, "HTTP/2.0 0 three");
}

#[tokio::test]
async fn a_stream_that_breaks_or_grows_too_large_ends_alone() {
    let authority = Authority::new();
    let address = serve(authority.server("api.example", &[b"h2"])).await;
    let config = HttpClientConfig {
        max_response_bytes: 20,
        ..trusting(&authority)
    };
    let client = client_with(&config, names());
    let error = client.send(post(address, "break")).await.unwrap_err();
    assert!(matches!(error, NetError::Exchange { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::Transient);
    let error = client
        .send(post(address, "longer than twenty bytes"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, NetError::ResponseTooLarge { limit_bytes: 20, .. }),
        "{error:?}"
    );
    let answer = client.send(post(address, "short")).await.unwrap();
    assert_eq!(answer.body, "HTTP/2.0 0 short", "the connection is still good");
}

#[tokio::test]
async fn http1_is_spoken_where_http2_is_not_offered() {
    let authority = Authority::new();
    let both = serve(authority.server("api.example", &[b"h2", b"http/1.1"])).await;
    let old = serve(authority.server("api.example", &[])).await;
    let plain = HttpClientConfig {
        http2: false,
        ..trusting(&authority)
    };
    let client = client_with(&plain, names());
    assert_eq!(client.send(post(both, "x")).await.unwrap().body, "HTTP/1.1 0 x");
    let client = client_with(&trusting(&authority), names());
    for _ in 0..2 {
        let answer = client.send(post(old, "y")).await.unwrap();
        assert_eq!(answer.body, "HTTP/1.1 0 y", "the connection is used again");
    }
}

#[tokio::test]
async fn certificates_are_checked() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let right = serve(authority.server("api.example", &[])).await;
    let wrong_name = serve(authority.server("other.example", &[])).await;
    let unknown = serve(stranger.server("api.example", &[])).await;
    let client = client_with(&trusting(&authority), names());
    assert!(client.send(post(right, "")).await.is_ok());
    for address in [wrong_name, unknown] {
        let error = client.send(post(address, "")).await.unwrap_err();
        assert!(
            matches!(
                error,
                NetError::Connect {
                    source: ConnectError::Tls(_),
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(error.retry(), Retry::Permanent);
    }
}

#[tokio::test]
async fn a_handshake_that_hangs_is_given_up() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let config = HttpClientConfig {
        egress: Egress::public().allow_network("127.0.0.0/8".parse().unwrap()),
        ..HttpClientConfig::new("test")
    };
    let (client, clock) = timed(&config);
    let port = silent.local_addr().unwrap().port();
    let request = Request::get(url(&format!("https://127.0.0.1:{port}/")));
    let (result, _held) = tokio::join!(client.send(request), async {
        let held = silent.accept().await.unwrap();
        clock.advance(Duration::from_secs(5));
        held
    });
    assert!(
        matches!(
            &result,
            Err(NetError::Connect {
                source: ConnectError::Timeout { .. },
                ..
            })
        ),
        "{result:?}"
    );
}
