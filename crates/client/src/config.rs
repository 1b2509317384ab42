//! Settings.

use std::time::Duration;

use arbiter_core::mechanism::{Backoff, RetryBudgetSettings, SecretText};
use arbiter_net::{
    BulkheadSettings, Egress, GuardSettings, HttpClientConfig, HttpUrl, InvalidConfig, InvalidUrl,
    RetrySettings,
};

/// Settings of a [`Client`](crate::Client). [`ClientConfig::new`] gives the values named below.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The server's address, such as `https://arbiter.example` or `http://127.0.0.1:7700`.
    pub server: String,
    /// The API key. Without one only public operations are answered.
    pub key: Option<SecretText>,
    /// The longest that connecting may take: 5 s.
    pub connect_timeout: Duration,
    /// The longest that a call may take, retries included: 60 s. Long polls and files have times of their own.
    pub call_timeout: Duration,
    /// The longest that one attempt of a call may take: 20 s.
    pub attempt_timeout: Duration,
    /// The longest that one attempt of sending a file, or a part of reading one, may take: 10 min.
    pub transfer_timeout: Duration,
    /// How often a call that may be repeated is tried again: 4 times. 0: the caller tries again itself.
    pub retries: u32,
    /// The longest wait between attempts: 10 s. When the server asks for more, its error is the answer.
    pub longest_wait: Duration,
    /// Whether certificates of the public authorities are trusted: yes.
    pub public_roots: bool,
    /// Further authorities to trust, as PEM texts: none.
    pub extra_roots_pem: Vec<Vec<u8>>,
    /// The largest answer, in bytes: 64 MiB.
    pub max_answer_bytes: u64,
    /// The largest body to send, in bytes: 1 GiB.
    pub max_request_bytes: u64,
}

/// What a driver is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Calls that are answered at once.
    Prompt,
    /// Long polls and files: time-outs of their own.
    Waits,
    /// Answers without an end: time-outs of their own, and no limit of size.
    Streams,
}

impl Sort {
    const fn name(self) -> &'static str {
        match self {
            Self::Prompt => "client",
            Self::Waits => "client_waits",
            Self::Streams => "client_streams",
        }
    }
}

/// Settings that no client can be made of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidClient {
    /// The server's address cannot be asked.
    #[error("the server's address cannot be asked")]
    Url(#[from] InvalidUrl),
    /// It holds a query.
    #[error("the server's address has a query; give scheme, host, port and perhaps a path")]
    Query,
    /// The key would cross a network in clear text.
    #[error("`{host}` is another machine, and the key would reach it in clear text; use https")]
    ClearText {
        /// The host.
        host: String,
    },
    /// The key cannot stand in a header.
    #[error("the key has characters that no key has")]
    Key,
    /// The connections cannot be set up.
    #[error("no connections can be made with these settings")]
    Connections(#[from] InvalidConfig),
}

impl ClientConfig {
    /// The settings that the fields name, for a server.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            key: None,
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(60),
            attempt_timeout: Duration::from_secs(20),
            transfer_timeout: Duration::from_secs(600),
            retries: 4,
            longest_wait: Duration::from_secs(10),
            public_roots: true,
            extra_roots_pem: Vec::new(),
            max_answer_bytes: 64 << 20,
            max_request_bytes: 1 << 30,
        }
    }

    /// The address without a slash at its end, checked.
    pub(crate) fn base(&self) -> Result<(String, HttpUrl), InvalidClient> {
        if self.server.contains(['?', '#']) {
            return Err(InvalidClient::Query);
        }
        let base = self.server.trim_end_matches('/').to_owned();
        let url: HttpUrl = format!("{base}/").parse()?;
        if !url.is_https() && !url.is_this_machine() {
            return Err(InvalidClient::ClearText {
                host: url.host().to_owned(),
            });
        }
        Ok((base, url))
    }

    /// The driver's settings: this host and no other, no redirects.
    pub(crate) fn http(&self, url: &HttpUrl, sort: Sort) -> HttpClientConfig {
        let prompt = sort == Sort::Prompt;
        HttpClientConfig {
            egress: Egress::only(url),
            connect_timeout: self.connect_timeout,
            guard: GuardSettings {
                bulkhead: Some(BulkheadSettings {
                    concurrent: 256,
                    waiting: 1_024,
                    longest_wait: self.call_timeout,
                }),
                total_timeout: prompt.then_some(self.call_timeout),
                attempt_timeout: prompt.then_some(self.attempt_timeout),
                retry: (self.retries > 0).then_some(RetrySettings {
                    retries: self.retries,
                    backoff: Backoff {
                        base: Duration::from_millis(200),
                        factor: 2,
                        cap: self.longest_wait.min(Duration::from_secs(5)),
                    },
                    longest_wait: self.longest_wait,
                    budget: RetryBudgetSettings::DEFAULT,
                }),
                breaker: None,
            },
            max_request_bytes: self.max_request_bytes,
            max_response_bytes: match sort {
                Sort::Prompt => self.max_answer_bytes,
                // Agents may be given many tasks with their inputs at once.
                Sort::Waits => self.max_answer_bytes.saturating_mul(4),
                // Never held whole.
                Sort::Streams => u64::MAX,
            },
            public_roots: self.public_roots,
            extra_roots_pem: self.extra_roots_pem.clone(),
            ..HttpClientConfig::new(sort.name())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_leave_this_machine_over_tls_only() {
        for (server, works) in [
            ("http://127.0.0.1:7700", true),
            ("http://localhost:7700/", true),
            ("http://[::1]:7700", true),
            ("https://arbiter.example/prefix", true),
            ("https://10.0.0.7", true),
            ("http://arbiter.example", false),
            ("http://10.0.0.7:7700", false),
            ("http://localhost.example", false),
            ("https://arbiter.example?tenant=x", false),
            ("ftp://arbiter.example", false),
            ("arbiter.example", false),
        ] {
            assert_eq!(ClientConfig::new(server).base().is_ok(), works, "{server}");
        }
    }
}
