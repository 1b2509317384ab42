//! Settings.

use std::time::Duration;

use arbiter_layers::{BulkheadSettings, GuardSettings};
use arbiter_net::{Egress, HttpClientConfig};

/// Settings of a [`WebhookDeliverer`](crate::WebhookDeliverer). [`WebhookConfig::new`] gives the values named below.
#[derive(Debug, Clone)]
pub struct WebhookConfig {
    /// Where endpoints may be: the public Internet over TLS.
    pub egress: Egress,
    /// The longest that connecting may take: 5 s.
    pub connect_timeout: Duration,
    /// The longest that a try may take until the head of the answer is there: 15 s.
    pub timeout: Duration,
    /// Tries under way at once: 32. So many again times four may wait for a place, for at most `timeout`.
    pub concurrent: usize,
    /// After how many tries a redirect or an answer of the 4xx that has no meaning of its own is final: 5.
    pub refused_tries: u16,
    /// The longest wait that an endpoint may ask for: 1 day; more is cut to that.
    pub longest_wait: Duration,
    /// The largest message, in bytes: 1 MiB.
    pub max_message_bytes: u64,
    /// Further authorities to trust, as PEM texts: none.
    pub extra_roots_pem: Vec<Vec<u8>>,
}

impl WebhookConfig {
    /// The settings that the fields name.
    pub fn new() -> Self {
        Self {
            egress: Egress::public(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            concurrent: 32,
            refused_tries: 5,
            longest_wait: Duration::from_hours(24),
            max_message_bytes: 1 << 20,
            extra_roots_pem: Vec::new(),
        }
    }

    /// The client's settings: no redirects, no retries, no breaker.
    pub(crate) fn http(&self) -> HttpClientConfig {
        HttpClientConfig {
            egress: self.egress.clone(),
            connect_timeout: self.connect_timeout,
            guard: GuardSettings {
                bulkhead: Some(BulkheadSettings {
                    concurrent: self.concurrent,
                    waiting: self.concurrent.saturating_mul(4),
                    longest_wait: self.timeout,
                }),
                total_timeout: Some(self.timeout),
                ..GuardSettings::default()
            },
            max_request_bytes: self.max_message_bytes,
            redirects: 0,
            extra_roots_pem: self.extra_roots_pem.clone(),
            ..HttpClientConfig::new("webhook")
        }
    }
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self::new()
    }
}
