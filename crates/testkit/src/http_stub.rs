//! An HTTP server that answers as told, well or badly.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::ManualClock;

/// A request as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRequest {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub target: String,
    /// The headers in order, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, by its announced length.
    pub body: Vec<u8>,
}

impl SeenRequest {
    /// The first header of this name (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What the server does with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StubAnswer {
    /// Answers and keeps the connection.
    Reply {
        /// The status.
        status: u16,
        /// Further headers; the length is added.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// Writes these bytes as they are and closes the connection.
    Raw(Vec<u8>),
    /// Writes these bytes as they are, then nothing more, and keeps the connection open.
    Stall(Vec<u8>),
}

impl StubAnswer {
    /// An answer without further headers.
    pub fn reply(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Reply {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// Writes these bytes and nothing more, and moves the time on by an hour, so that whoever waits for the rest has waited
    /// too long.
    pub fn never(clock: &ManualClock, first: &[u8]) -> Self {
        clock.advance(Duration::from_hours(1));
        Self::Stall(first.to_vec())
    }

    /// With one more header, if it is a reply.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Reply { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

type Script = dyn Fn(&SeenRequest) -> StubAnswer + Send + Sync;

/// An HTTP/1.1 server on a port of its own on 127.0.0.1. It stops when it is dropped.
pub struct HttpStub {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<SeenRequest>>,
    count: watch::Sender<usize>,
}

impl HttpStub {
    /// Starts a server that answers each request as `script` says.
    ///
    /// # Errors
    /// The error of the socket.
    pub async fn start(
        script: impl Fn(&SeenRequest) -> StubAnswer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            script: Box::new(script),
            seen: Mutex::default(),
            count: watch::Sender::new(0),
        });
        #[expect(clippy::disallowed_methods, reason = "this is a server of tests")]
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a path, which begins with `/`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What came in so far.
    pub fn seen(&self) -> Vec<SeenRequest> {
        self.shared.seen().clone()
    }

    /// Waits until so many requests came in.
    pub async fn wait_for(&self, requests: usize) {
        let mut count = self.shared.count.subscribe();
        // the sender lives as long as this stub
        let _reached = count.wait_for(|count| *count >= requests).await;
    }
}

impl Drop for HttpStub {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl std::fmt::Debug for HttpStub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpStub")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn seen(&self) -> std::sync::MutexGuard<'_, Vec<SeenRequest>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves each connection; all of them end with this future.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // a client that goes away is what some tests are about
            let _ended = serve(stream, &shared).await;
        });
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read(&mut stream, &mut buffer).await? {
        let answer = (shared.script)(&request);
        shared.seen().push(request);
        shared.count.send_modify(|count| *count += 1);
        match answer {
            StubAnswer::Reply {
                status,
                headers,
                body,
            } => {
                let mut lines = vec![format!("HTTP/1.1 {status} -")];
                lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
                // these have no body, and 204 no length (RFC 9110 §8.6)
                if !matches!(status, 204 | 304) {
                    lines.push(format!("content-length: {}", body.len()));
                }
                let head = format!("{}\r\n\r\n", lines.join("\r\n"));
                stream.write_all(head.as_bytes()).await?;
                stream.write_all(&body).await?;
            }
            StubAnswer::Raw(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
            StubAnswer::Stall(bytes) => {
                stream.write_all(&bytes).await?;
                return std::future::pending().await;
            }
        }
    }
    Ok(())
}

/// Reads one request; `None` at the end of the connection or when it is no request.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<SeenRequest>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target)) = (first.next(), first.next()) else {
        return Ok(None);
    };
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
    let mut request = SeenRequest {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: headers.collect(),
        body: Vec::new(),
    };
    let length = request
        .header("content-length")
        .and_then(|length| length.parse().ok());
    let length = length.unwrap_or(0);
    while buffer.len() < length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    request.body = buffer.drain(..length).collect();
    Ok(Some(request))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_are_seen_and_answered_on_one_connection() {
        let stub = HttpStub::start(|request| StubAnswer::reply(201, request.body.clone()).with("x-a", "b"));
        let stub = stub.await.unwrap();
        let mut stream = TcpStream::connect(stub.address()).await.unwrap();
        for body in ["one", "two"] {
            let request = format!("POST /p?q HTTP/1.1\r\nContent-Length: 3\r\n\r\n{body}");
            stream.write_all(request.as_bytes()).await.unwrap();
            let expected = format!("HTTP/1.1 201 -\r\nx-a: b\r\ncontent-length: 3\r\n\r\n{body}");
            let mut answer = vec![0; expected.len()];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(answer, expected.as_bytes());
        }
        stub.wait_for(2).await;
        let seen = stub.seen();
        assert_eq!(seen.len(), 2);
        assert_eq!(
            (seen[1].method.as_str(), seen[1].target.as_str()),
            ("POST", "/p?q")
        );
        assert_eq!(
            (seen[1].header("content-length"), &*seen[1].body),
            (Some("3"), &b"two"[..])
        );
    }

    #[tokio::test]
    async fn raw_answers_end_the_connection() {
        let stub = HttpStub::start(|_| StubAnswer::Raw(b"half".to_vec()))
            .await
            .unwrap();
        let mut stream = TcpStream::connect(stub.address()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"half");
    }
}
