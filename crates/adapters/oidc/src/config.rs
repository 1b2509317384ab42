//! Settings.

use std::time::Duration;

use arbiter_layers::{BulkheadSettings, GuardSettings};
use arbiter_net::{Egress, HttpClientConfig, HttpUrl};

use crate::algorithm::Algorithm;
use crate::rules::Rule;

/// The largest document of a provider that is read.
const DOCUMENT_BYTES: u64 = 512 << 10;

/// Settings of [`OidcTokens`](crate::OidcTokens). [`OidcConfig::new`] gives the values named below.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// The provider, exactly as its tokens and its discovery document name it.
    pub issuer: String,
    /// A token must be meant for one of these.
    pub audience: Vec<String>,
    /// Where the keys are. None: where the provider's discovery document says.
    pub jwks_url: Option<String>,
    /// Which algorithms are permitted: [`Algorithm::DEFAULT`].
    pub algorithms: Vec<Algorithm>,
    /// How far the provider's clock may differ from ours, at most 5 minutes: 30 s.
    pub leeway: Duration,
    /// When keys are fetched anew: 5 minutes. A key that the provider withdrew is refused then.
    pub max_age: Duration,
    /// How long keys serve when the provider does not answer, at least `max_age`: 1 hour.
    pub max_stale: Duration,
    /// How long it is at least from one fetch to the next, whoever asks for keys that are not known: 10 s.
    pub refetch_after: Duration,
    /// How long a fetch may take: 5 s.
    pub timeout: Duration,
    /// Whether a token is accepted once, and must have an id: no.
    pub single_use: bool,
    /// How many tokens that were used are remembered: 65 536.
    pub remembered: usize,
    /// How many calls may wait for keys: 64. More are told at once that their token cannot be checked.
    pub waiting: usize,
    /// Where the provider may be: the public Internet over TLS.
    pub egress: Egress,
    /// Whether the provider may be on this machine, without TLS: no. The egress policy must permit it too.
    pub loopback_http: bool,
    /// Further authorities to trust for the provider's certificate, as PEM texts: none.
    pub extra_roots_pem: Vec<Vec<u8>>,
    /// Who gets which rights; nobody gets any without a rule.
    pub rules: Vec<Rule>,
}

/// Settings that nothing can be made of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// The issuer is no address.
    #[error("the issuer must be an https address without query and fragment")]
    Issuer,
    /// The address of the keys is none.
    #[error("the address of the keys must be an https address")]
    Keys,
    /// Tokens for anybody would be accepted.
    #[error("the audience must name at least one text, none of them empty")]
    Audience,
    /// No token could be accepted.
    #[error("at least one algorithm must be permitted")]
    Algorithms,
    /// The leeway is too long.
    #[error("the leeway must be 5 minutes at most")]
    Leeway,
    /// The times do not fit together.
    #[error("times must be longer than zero, and stale keys must serve at least until they are fetched anew")]
    Times,
    /// No client can be made.
    #[error("no client for the provider can be made")]
    Client(#[source] arbiter_net::InvalidConfig),
}

impl OidcConfig {
    /// The settings that the fields name.
    pub fn new(issuer: impl Into<String>, audience: Vec<String>, rules: Vec<Rule>) -> Self {
        Self {
            issuer: issuer.into(),
            audience,
            jwks_url: None,
            algorithms: Algorithm::DEFAULT.to_vec(),
            leeway: Duration::from_secs(30),
            max_age: Duration::from_secs(300),
            max_stale: Duration::from_secs(3_600),
            refetch_after: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            single_use: false,
            remembered: 65_536,
            waiting: 64,
            egress: Egress::public(),
            loopback_http: false,
            extra_roots_pem: Vec::new(),
            rules,
        }
    }

    /// Whether these settings work.
    ///
    /// # Errors
    /// [`InvalidConfig`] names the first thing that does not.
    pub fn check(&self) -> Result<(), InvalidConfig> {
        let address = |text: &str| text.parse::<HttpUrl>().ok().filter(|url| self.is_secure(url));
        // The last segment of discovery is appended, so nothing may follow the path.
        if address(&self.issuer).is_none() || self.issuer.contains(['?', '#']) {
            return Err(InvalidConfig::Issuer);
        }
        if self.jwks_url.as_deref().is_some_and(|url| address(url).is_none()) {
            return Err(InvalidConfig::Keys);
        }
        if self.audience.is_empty() || self.audience.iter().any(String::is_empty) {
            return Err(InvalidConfig::Audience);
        }
        if self.algorithms.is_empty() {
            return Err(InvalidConfig::Algorithms);
        }
        if self.leeway > Duration::from_secs(300) {
            return Err(InvalidConfig::Leeway);
        }
        let times = [self.max_age, self.refetch_after, self.timeout];
        if times.iter().any(Duration::is_zero) || self.max_stale < self.max_age {
            return Err(InvalidConfig::Times);
        }
        Ok(())
    }

    /// Whether what is fetched from there cannot be replaced on its way.
    pub(crate) fn is_secure(&self, url: &HttpUrl) -> bool {
        let is_here = ["localhost", "127.0.0.1", "[::1]", "::1"].contains(&url.host());
        url.is_https() || (self.loopback_http && is_here)
    }

    /// The client's settings: no redirects, no retries, no breaker.
    pub(crate) fn http(&self) -> HttpClientConfig {
        HttpClientConfig {
            egress: self.egress.clone(),
            connect_timeout: self.timeout,
            chunk_timeout: self.timeout,
            guard: GuardSettings {
                bulkhead: Some(BulkheadSettings {
                    concurrent: 1,
                    waiting: 1,
                    longest_wait: self.timeout,
                }),
                total_timeout: Some(self.timeout),
                ..GuardSettings::default()
            },
            max_response_bytes: DOCUMENT_BYTES,
            redirects: 0,
            extra_roots_pem: self.extra_roots_pem.clone(),
            ..HttpClientConfig::new("oidc")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut OidcConfig);

    fn config() -> OidcConfig {
        OidcConfig::new(
            "https://issuer.example/realm",
            vec!["arbiter".to_owned()],
            Vec::new(),
        )
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        config().check().expect("valid");
        let mut local = config();
        local.issuer = "http://127.0.0.1:9000".to_owned();
        local.check().expect_err("not without the setting");
        local.loopback_http = true;
        local.check().expect("valid");
        let breaks: [(Change, &str); 13] = [
            (|c| c.issuer = "issuer.example".to_owned(), "the issuer"),
            (|c| c.issuer = "http://issuer.example".to_owned(), "the issuer"),
            (|c| c.issuer.push_str("?realm=1"), "the issuer"),
            (|c| c.issuer.push_str("#x"), "the issuer"),
            (
                |c| c.jwks_url = Some("http://issuer.example/keys".to_owned()),
                "the address of the keys",
            ),
            (
                |c| c.jwks_url = Some("file:///etc/keys".to_owned()),
                "the address of the keys",
            ),
            (|c| c.audience.clear(), "the audience"),
            (|c| c.audience.push(String::new()), "the audience"),
            (|c| c.algorithms.clear(), "at least one algorithm"),
            (|c| c.leeway = Duration::from_secs(301), "the leeway"),
            (|c| c.max_age = Duration::ZERO, "times"),
            (|c| c.refetch_after = Duration::ZERO, "times"),
            (|c| c.max_stale = Duration::from_secs(299), "times"),
        ];
        for (change, told) in breaks {
            let mut config = config();
            change(&mut config);
            let error = config.check().expect_err(told).to_string();
            assert!(error.starts_with(told), "{error}");
        }
        let mut elsewhere = config();
        elsewhere.loopback_http = true;
        elsewhere.issuer = "http://127.0.0.1.issuer.example".to_owned();
        elsewhere.check().expect_err("another machine");
    }
}
