//! Settings of the notifier.

use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_net::notice::secrets_of_address;
use arbiter_net::{HttpClientConfig, HttpUrl, InvalidConfig, InvalidUrl, SingleTry};

use crate::alertmanager::Times;
use crate::message::{Endpoint, InvalidEndpoint};
use crate::secret::WebhookSecret;

/// The largest answer that is read, in bytes.
const MAX_ANSWER_BODY_BYTES: u64 = 64 << 10;
/// The largest notice, in bytes.
const MAX_NOTICE_BYTES: u64 = 1 << 20;

/// What is sent, and where to.
#[derive(Debug, Clone)]
pub enum NoticeFormat {
    /// Arbiter's own form, signed as the messages of hooks are.
    Arbiter {
        /// The receiver's address; its path may hold a token, so all of it is secret.
        url: SecretText,
        /// What notices are signed with: 1–[`MAX_SECRETS`](crate::MAX_SECRETS).
        secrets: Vec<WebhookSecret>,
    },
    /// Alerts for an Alertmanager.
    Alertmanager {
        /// The address before `/api/v2/alerts`, such as `http://alertmanager:9093`.
        url: String,
        /// The token for a proxy in front of it, which is reached over TLS then.
        token: Option<SecretText>,
        /// How long an alert fires after the latest word of it, longer than zero; 7 days is usual. Alertmanager ends it
        /// then by itself.
        firing_for: Duration,
        /// How far Alertmanager's clock may be behind this one; 1 minute is usual. Ends are told as so much earlier, though
        /// not before the beginning.
        clock_skew: Duration,
    },
}

impl NoticeFormat {
    /// Alerts without a token and with the usual times.
    pub fn alertmanager(url: impl Into<String>) -> Self {
        Self::Alertmanager {
            url: url.into(),
            token: None,
            firing_for: Duration::from_hours(7 * 24),
            clock_skew: Duration::from_mins(1),
        }
    }
}

/// Settings of a [`WebhookNotifier`](crate::WebhookNotifier). [`NotifierConfig::new`] gives the values named below.
#[derive(Debug, Clone)]
pub struct NotifierConfig {
    /// What is sent, and where to.
    pub format: NoticeFormat,
    /// The longest that connecting may take: 5 s.
    pub connect_timeout: Duration,
    /// The longest that a try may take: 10 s.
    pub timeout: Duration,
    /// Tries under way at once: 8. So many again times four may wait for a place, for at most `timeout`.
    pub concurrent: usize,
    /// The longest wait that the target may ask for: 1 day; more is cut to that.
    pub longest_wait: Duration,
    /// Further authorities to trust, as PEM texts: none.
    pub extra_roots_pem: Vec<Vec<u8>>,
}

/// Settings that nobody can be told with. No text holds an address or a token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidNotifier {
    /// Nothing can be delivered to the receiver.
    #[error("the receiver cannot be told")]
    Endpoint(#[from] InvalidEndpoint),
    /// The address of Alertmanager cannot be asked.
    #[error("the address of Alertmanager cannot be asked")]
    Url(#[from] InvalidUrl),
    /// The address of Alertmanager has a query or a fragment.
    #[error(
        "the address of Alertmanager has a query or a fragment; give scheme, host, port and perhaps a path"
    )]
    Query,
    /// A secret would cross a network in clear text.
    #[error("the target is on another machine, and a secret would reach it in clear text; use https")]
    ClearText,
    /// The token cannot stand in a header.
    #[error("the token is empty or has characters that no token has")]
    Token,
    /// Alerts would end as they begin.
    #[error("an alert must fire for longer than zero")]
    FiringFor,
    /// The connections cannot be set up.
    #[error("no connections can be made with these settings")]
    Connections(#[from] InvalidConfig),
}

/// A target, once everything was checked.
pub(crate) enum Target {
    Receiver(Endpoint),
    Alertmanager {
        url: HttpUrl,
        token: Option<SecretText>,
        times: Times,
    },
}

impl Target {
    pub(crate) const fn url(&self) -> &HttpUrl {
        match self {
            Self::Receiver(endpoint) => endpoint.url(),
            Self::Alertmanager { url, .. } => url,
        }
    }
}

impl NotifierConfig {
    /// The settings that the fields name.
    pub const fn new(format: NoticeFormat) -> Self {
        Self {
            format,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            concurrent: 8,
            longest_wait: Duration::from_hours(24),
            extra_roots_pem: Vec::new(),
        }
    }

    /// Checks the settings without making a connection.
    ///
    /// # Errors
    /// [`InvalidNotifier`] names the first that cannot work.
    pub fn check(&self) -> Result<(), InvalidNotifier> {
        self.target().map(|_| ())
    }

    pub(crate) fn target(&self) -> Result<Target, InvalidNotifier> {
        let (target, has_secret) = match &self.format {
            NoticeFormat::Arbiter { url, secrets } => {
                (Target::Receiver(Endpoint::new(url, secrets.clone())?), true)
            }
            NoticeFormat::Alertmanager {
                url,
                token,
                firing_for,
                clock_skew,
            } => {
                if url.contains(['?', '#']) {
                    return Err(InvalidNotifier::Query);
                }
                if token.as_ref().is_some_and(|token| !is_token(token)) {
                    return Err(InvalidNotifier::Token);
                }
                if firing_for.is_zero() {
                    return Err(InvalidNotifier::FiringFor);
                }
                let target = Target::Alertmanager {
                    url: format!("{}/api/v2/alerts", url.trim_end_matches('/')).parse()?,
                    token: token.clone(),
                    times: Times {
                        firing_for: *firing_for,
                        clock_skew: *clock_skew,
                    },
                };
                (target, token.is_some())
            }
        };
        let url = target.url();
        if has_secret && !url.is_https() && !url.is_this_machine() {
            return Err(InvalidNotifier::ClearText);
        }
        Ok(target)
    }

    /// What no answer may bring into an error, the longest first.
    pub(crate) fn secrets(&self) -> Vec<SecretText> {
        match &self.format {
            NoticeFormat::Alertmanager { token, .. } => token.iter().cloned().collect(),
            NoticeFormat::Arbiter { url, .. } => secrets_of_address(url),
        }
    }

    /// The client's settings: this host and no other, no redirects, no retries, no breaker.
    pub(crate) fn http(&self, url: &HttpUrl) -> HttpClientConfig {
        let settings = SingleTry {
            connect_timeout: self.connect_timeout,
            timeout: self.timeout,
            concurrent: self.concurrent,
            extra_roots_pem: &self.extra_roots_pem,
        };
        HttpClientConfig {
            max_request_bytes: MAX_NOTICE_BYTES,
            max_response_bytes: MAX_ANSWER_BODY_BYTES,
            ..HttpClientConfig::single_try("webhook_notifier", url, &settings)
        }
    }
}

fn is_token(token: &SecretText) -> bool {
    !token.is_empty() && token.expose().bytes().all(|byte| byte.is_ascii_graphic())
}
