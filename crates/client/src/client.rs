//! The client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::TraceContext;
use arbiter_core::ports::{Clock, Entropy};
use arbiter_net::{HttpClient, HttpPorts};

use crate::config::{ClientConfig, InvalidClient, Sort};

/// Calls one server with one key. Cheap to clone: clones share connections.
///
/// Needs a tokio runtime with I/O and time.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) trace: Option<TraceContext>,
    pub(crate) once: bool,
}

pub(crate) struct Shared {
    /// The server's address, without a slash at its end.
    pub(crate) base: String,
    /// Scheme, host and port.
    pub(crate) origin: String,
    pub(crate) key: Option<SecretText>,
    /// For calls that are answered at once.
    pub(crate) prompt: HttpClient,
    /// For long polls and files.
    pub(crate) waits: HttpClient,
    /// For answers without an end.
    pub(crate) streams: HttpClient,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) transfer_timeout: Duration,
    pub(crate) retries: u32,
}

impl Client {
    /// A client without connections.
    ///
    /// # Errors
    /// [`InvalidClient`] names what cannot work.
    pub fn new(config: &ClientConfig, ports: HttpPorts) -> Result<Self, InvalidClient> {
        let (base, url) = config.base()?;
        if let Some(key) = &config.key {
            let plain = |byte: u8| byte.is_ascii_graphic();
            if key.is_empty() || !key.expose().bytes().all(plain) {
                return Err(InvalidClient::Key);
            }
        }
        let shared = Shared {
            base,
            origin: url.origin(),
            key: config.key.clone(),
            prompt: HttpClient::new(&config.http(&url, Sort::Prompt), ports.clone())?,
            waits: HttpClient::new(&config.http(&url, Sort::Waits), ports.clone())?,
            streams: HttpClient::new(&config.http(&url, Sort::Streams), ports.clone())?,
            clock: ports.clock,
            entropy: ports.entropy,
            transfer_timeout: config.transfer_timeout,
            retries: config.retries,
        };
        Ok(Self {
            shared: Arc::new(shared),
            trace: None,
            once: false,
        })
    }

    /// The same client, whose calls belong to a trace (W3C Trace Context).
    pub fn in_trace(&self, trace: TraceContext) -> Self {
        Self {
            trace: Some(trace),
            ..self.clone()
        }
    }

    /// The same client, whose calls are tried once: for callers that try again themselves.
    pub fn once(&self) -> Self {
        Self {
            once: true,
            ..self.clone()
        }
    }

    /// Whether it tries calls again. Only one on the way of a call may.
    pub fn owns_retries(&self) -> bool {
        !self.once && self.shared.prompt.owns_retries()
    }

    /// Scheme, host and port of the server.
    pub fn origin(&self) -> &str {
        &self.shared.origin
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("server", &self.shared.base)
            .field("owns_retries", &self.owns_retries())
            .finish_non_exhaustive()
    }
}
