//! Settings of a client.

use std::time::Duration;

use arbiter_core::ports::BoxError;
use arbiter_layers::{BulkheadSettings, GuardSettings, InvalidGuard};

use crate::egress::Egress;
use crate::url::HttpUrl;

/// Settings of one [`HttpClient`](crate::HttpClient). [`HttpClientConfig::new`] gives the values named below.
#[derive(Debug, Clone)]
pub struct HttpClientConfig {
    /// What the client is for: the label `guard` of its metrics.
    pub name: &'static str,
    /// Where it may connect to: the public Internet over TLS.
    pub egress: Egress,
    /// The longest that resolving, connecting and the TLS handshake may take together: 5 s.
    pub connect_timeout: Duration,
    /// The longest wait for the next piece of a body: 30 s.
    pub chunk_timeout: Duration,
    /// The guard: 64 calls at once, 256 waiting for at most 10 s, 30 s for a whole call; no retries, no breaker.
    ///
    /// A call of [`HttpClient::open`](crate::HttpClient::open) ends, for the guard, with the head of the answer.
    pub guard: GuardSettings,
    /// The largest body to send, in bytes: 16 MiB.
    pub max_request_bytes: u64,
    /// The largest body to take, in bytes: 16 MiB.
    pub max_response_bytes: u64,
    /// The largest sum of header names and values to send, in bytes: 64 KiB.
    pub max_request_header_bytes: usize,
    /// The largest head of an answer, in bytes, at least 8 192: 64 KiB.
    pub max_response_header_bytes: u32,
    /// The largest number of headers of an answer (HTTP/1.1): 100.
    pub max_response_headers: usize,
    /// How many redirects to follow: 0, a redirect is then an answer like others.
    pub redirects: u8,
    /// Whether certificates of the public authorities (Mozilla's list) are trusted: yes.
    pub public_roots: bool,
    /// Further authorities to trust, as PEM texts: none.
    pub extra_roots_pem: Vec<Vec<u8>>,
    /// Whether HTTP/2 is offered to servers over TLS: yes.
    pub http2: bool,
    /// The header `user-agent`: `arbiter/<version>`.
    pub user_agent: String,
    /// Open connections to keep per origin: 8.
    pub max_idle_per_origin: usize,
    /// How long an open connection is kept unused: 30 s.
    pub idle_timeout: Duration,
}

impl HttpClientConfig {
    /// The settings that the fields name.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            egress: Egress::public(),
            connect_timeout: Duration::from_secs(5),
            chunk_timeout: Duration::from_secs(30),
            guard: GuardSettings {
                bulkhead: Some(BulkheadSettings {
                    concurrent: 64,
                    waiting: 256,
                    longest_wait: Duration::from_secs(10),
                }),
                total_timeout: Some(Duration::from_secs(30)),
                ..GuardSettings::default()
            },
            max_request_bytes: 16 << 20,
            max_response_bytes: 16 << 20,
            max_request_header_bytes: 64 << 10,
            max_response_header_bytes: 64 << 10,
            max_response_headers: 100,
            redirects: 0,
            public_roots: true,
            extra_roots_pem: Vec::new(),
            http2: true,
            user_agent: concat!("arbiter/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_idle_per_origin: 8,
            idle_timeout: Duration::from_secs(30),
        }
    }

    /// Settings of a client that asks one host, and makes one try of each call: no redirects, no retries, no breaker. Four
    /// times as many calls as may be under way may wait for a place, for at most the time of a try.
    pub fn single_try(name: &'static str, url: &HttpUrl, settings: &SingleTry<'_>) -> Self {
        Self {
            egress: Egress::only(url),
            connect_timeout: settings.connect_timeout,
            chunk_timeout: settings.timeout,
            guard: GuardSettings {
                bulkhead: Some(BulkheadSettings {
                    concurrent: settings.concurrent,
                    waiting: settings.concurrent.saturating_mul(4),
                    longest_wait: settings.timeout,
                }),
                total_timeout: Some(settings.timeout),
                ..GuardSettings::default()
            },
            redirects: 0,
            extra_roots_pem: settings.extra_roots_pem.to_vec(),
            ..Self::new(name)
        }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidConfig> {
        if self.connect_timeout.is_zero() || self.chunk_timeout.is_zero() || self.idle_timeout.is_zero() {
            return Err(InvalidConfig::Timeout);
        }
        if self.max_response_header_bytes < 8_192 || self.max_response_headers == 0 {
            return Err(InvalidConfig::Headers);
        }
        Ok(())
    }
}

/// What can be set of a client by [`HttpClientConfig::single_try`].
#[derive(Debug, Clone, Copy)]
pub struct SingleTry<'a> {
    /// The longest that connecting may take.
    pub connect_timeout: Duration,
    /// The longest that a try may take.
    pub timeout: Duration,
    /// Tries under way at once.
    pub concurrent: usize,
    /// Further authorities to trust, as PEM texts.
    pub extra_roots_pem: &'a [Vec<u8>],
}

/// Settings that no client can be made of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// A time-out is zero.
    #[error("a time-out must be longer than zero")]
    Timeout,
    /// No answer could have a head.
    #[error("the head of an answer must be allowed at least 8192 bytes and one header")]
    Headers,
    /// The header `user-agent` cannot be sent.
    #[error("the user agent must be visible ASCII text")]
    UserAgent,
    /// A text of further authorities holds none.
    #[error("the PEM text of further authorities holds no certificate")]
    NoRoots,
    /// A further authority cannot be used.
    #[error("the certificates of further authorities are not usable")]
    Roots(#[source] BoxError),
    /// The guard cannot work.
    #[error("the guard's settings are not usable")]
    Guard(#[from] InvalidGuard),
}
