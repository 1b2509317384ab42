//! Settings.

use std::time::Duration;

use arbiter_core::mechanism::{Backoff, BreakerSettings, RetryBudgetSettings, SecretText};
use arbiter_net::{
    BulkheadSettings, Egress, GuardSettings, HttpClientConfig, HttpUrl, InvalidConfig, InvalidUrl,
    RetrySettings,
};

/// Settings of an [`HttpAgentRegistry`](crate::HttpAgentRegistry). [`RegistryConfig::new`] gives the values named below.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// The address of the other control plane, such as `https://registry.example`; a path before `/v1` is kept.
    pub url: String,
    /// The API key of a principal with the role `peer` in the system's own tenant.
    pub key: SecretText,
    /// How long what was read may be given while the registry does not answer: 5 min.
    pub stale_after: Duration,
    /// The longest that connecting may take: 5 s.
    pub connect_timeout: Duration,
    /// The longest that one attempt of a call may take: 5 s.
    pub attempt_timeout: Duration,
    /// The longest that a call may take, retries included: 12 s.
    pub call_timeout: Duration,
    /// How often a call that may be repeated is tried again: 2 times.
    pub retries: u32,
    /// When to stop asking a registry that fails, and for how long.
    pub breaker: Option<BreakerSettings>,
    /// The largest answer, in bytes: 16 MiB.
    pub max_answer_bytes: u64,
    /// How many agents are remembered for the time without the registry: 100 000.
    pub remembered: usize,
    /// Further authorities to trust, as PEM texts: none.
    pub extra_roots_pem: Vec<Vec<u8>>,
}

/// Settings that no registry can be reached with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRegistry {
    /// The address cannot be asked.
    #[error("the address cannot be asked")]
    Url(#[from] InvalidUrl),
    /// The address has a query or a fragment.
    #[error("the address has a query or a fragment; give scheme, host, port and perhaps a path")]
    Query,
    /// The key would cross a network in clear text.
    #[error("`{host}` is another machine, and the key would reach it in clear text; use https")]
    ClearText {
        /// The host.
        host: String,
    },
    /// The key cannot stand in a header.
    #[error("the key is empty or has characters that no key has")]
    Key,
    /// The connections cannot be set up.
    #[error("no connections can be made with these settings")]
    Connections(#[from] InvalidConfig),
}

impl RegistryConfig {
    /// The settings that the fields name.
    pub fn new(url: impl Into<String>, key: SecretText) -> Self {
        Self {
            url: url.into(),
            key,
            stale_after: Duration::from_mins(5),
            connect_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(12),
            retries: 2,
            breaker: Some(BreakerSettings::DEFAULT),
            max_answer_bytes: 16 << 20,
            remembered: 100_000,
            extra_roots_pem: Vec::new(),
        }
    }

    /// The address without a slash at its end, checked.
    ///
    /// # Errors
    /// [`InvalidRegistry`] names what cannot work.
    pub fn check(&self) -> Result<String, InvalidRegistry> {
        self.base().map(|(base, _)| base)
    }

    pub(crate) fn base(&self) -> Result<(String, HttpUrl), InvalidRegistry> {
        if self.url.contains(['?', '#']) {
            return Err(InvalidRegistry::Query);
        }
        let base = self.url.trim_end_matches('/').to_owned();
        let url: HttpUrl = format!("{base}/").parse()?;
        if !url.is_https() && !url.is_this_machine() {
            return Err(InvalidRegistry::ClearText {
                host: url.host().to_owned(),
            });
        }
        if self.key.is_empty() || !self.key.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidRegistry::Key);
        }
        Ok((base, url))
    }

    /// The driver's settings: this host and no other, no redirects.
    pub(crate) fn http(&self, url: &HttpUrl) -> HttpClientConfig {
        HttpClientConfig {
            egress: Egress::only(url),
            connect_timeout: self.connect_timeout,
            chunk_timeout: self.attempt_timeout,
            guard: GuardSettings {
                bulkhead: Some(BulkheadSettings {
                    concurrent: 64,
                    waiting: 1_024,
                    longest_wait: self.call_timeout,
                }),
                total_timeout: Some(self.call_timeout),
                attempt_timeout: Some(self.attempt_timeout),
                retry: (self.retries > 0).then_some(RetrySettings {
                    retries: self.retries,
                    backoff: Backoff {
                        base: Duration::from_millis(100),
                        factor: 2,
                        cap: Duration::from_secs(1),
                    },
                    longest_wait: Duration::from_secs(2),
                    budget: RetryBudgetSettings::DEFAULT,
                }),
                breaker: self.breaker,
            },
            max_response_bytes: self.max_answer_bytes,
            redirects: 0,
            extra_roots_pem: self.extra_roots_pem.clone(),
            ..HttpClientConfig::new("agent_registry")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(url: &str, key: &str) -> String {
        match RegistryConfig::new(url, SecretText::new(key)).check() {
            Ok(base) => base,
            Err(error) => format!("{error:?}"),
        }
    }

    #[test]
    fn settings_that_cannot_work_are_named_and_show_no_key() {
        assert_eq!(told("https://a.example/b/", "arb_1"), "https://a.example/b");
        assert_eq!(told("http://[::1]:7700", "arb_1"), "http://[::1]:7700");
        for (url, key, part) in [
            ("http://a.example", "arb_1", "ClearText"),
            ("http://127.0.0.1.a.example", "arb_1", "ClearText"),
            ("https://a.example?x", "arb_1", "Query"),
            ("a.example", "arb_1", "Url"),
            ("https://a.example", "", "Key"),
            ("https://a.example", "canary key", "Key"),
        ] {
            let told = told(url, key);
            assert!(told.contains(part) && !told.contains("canary"), "{url}: {told}");
        }
        let config = RegistryConfig::new("https://a.example", SecretText::new("canary"));
        assert!(!format!("{config:?}").contains("canary"));
    }
}
