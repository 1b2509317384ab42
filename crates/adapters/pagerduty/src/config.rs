//! Settings.

use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_net::{HttpClientConfig, HttpUrl, InvalidConfig, InvalidUrl, SingleTry};

use crate::event::MAX_EVENT_BYTES;

/// The length of a routing key, in characters (PagerDuty, "Send an alert event": `routing_key`).
const ROUTING_KEY_LENGTH: usize = 32;
/// The longest source and the longest name of a client, in characters.
const MAX_NAME_LENGTH: usize = 255;
/// The largest answer that is read, in bytes; PagerDuty's have a few hundred.
const MAX_ANSWER_BODY_BYTES: u64 = 64 << 10;

/// Settings of a [`PagerDutyNotifier`](crate::PagerDutyNotifier). [`PagerDutyConfig::new`] gives the values named below.
#[derive(Debug, Clone)]
pub struct PagerDutyConfig {
    /// The address of the Events API: `https://events.pagerduty.com`, in Europe `https://events.eu.pagerduty.com`. A path
    /// before `/v2/enqueue` is kept.
    pub url: String,
    /// The integration key of the service that is told: 32 letters and digits.
    pub routing_key: SecretText,
    /// Names this deployment in alerts, 1–255 characters: `arbiter`.
    pub source: String,
    /// Names the console in alerts, 1–255 characters: absent.
    pub client: Option<String>,
    /// The address of the console, `http` or `https`: absent.
    pub client_url: Option<String>,
    /// The longest that connecting may take: 5 s.
    pub connect_timeout: Duration,
    /// The longest that a try may take: 10 s.
    pub timeout: Duration,
    /// Tries under way at once: 8. So many again times four may wait for a place, for at most `timeout`.
    pub concurrent: usize,
    /// The longest wait that PagerDuty may ask for: 1 day; more is cut to that.
    pub longest_wait: Duration,
    /// Further authorities to trust, as PEM texts: none.
    pub extra_roots_pem: Vec<Vec<u8>>,
}

/// Settings that nobody can be told with. No text holds the routing key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidPagerDuty {
    /// The address cannot be asked.
    #[error("the address of the Events API cannot be asked")]
    Url(#[from] InvalidUrl),
    /// The address has a query or a fragment.
    #[error(
        "the address of the Events API has a query or a fragment; give scheme, host, port and perhaps a path"
    )]
    Query,
    /// The routing key would cross a network in clear text.
    #[error("`{host}` is another machine, and the routing key would reach it in clear text; use https")]
    ClearText {
        /// The host.
        host: String,
    },
    /// The routing key has another form.
    #[error("a routing key has {ROUTING_KEY_LENGTH} letters and digits")]
    RoutingKey,
    /// The source, or the client's name, is empty or too long.
    #[error("`{field}` has 1 to {MAX_NAME_LENGTH} characters, none of them a control character")]
    Name {
        /// The setting.
        field: &'static str,
    },
    /// The client's address is none.
    #[error("the client's address cannot be asked")]
    ClientUrl(#[source] InvalidUrl),
    /// The connections cannot be set up.
    #[error("no connections can be made with these settings")]
    Connections(#[from] InvalidConfig),
}

impl PagerDutyConfig {
    /// The settings that the fields name.
    pub fn new(routing_key: SecretText) -> Self {
        Self {
            url: "https://events.pagerduty.com".to_owned(),
            routing_key,
            source: "arbiter".to_owned(),
            client: None,
            client_url: None,
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
    /// [`InvalidPagerDuty`] names the first that cannot work.
    pub fn check(&self) -> Result<(), InvalidPagerDuty> {
        self.enqueue().map(|_| ())
    }

    /// Where events go, once everything was checked.
    pub(crate) fn enqueue(&self) -> Result<HttpUrl, InvalidPagerDuty> {
        if self.url.contains(['?', '#']) {
            return Err(InvalidPagerDuty::Query);
        }
        let url: HttpUrl = format!("{}/v2/enqueue", self.url.trim_end_matches('/')).parse()?;
        if !url.is_https() && !url.is_this_machine() {
            return Err(InvalidPagerDuty::ClearText {
                host: url.host().to_owned(),
            });
        }
        let key = self.routing_key.expose();
        if key.len() != ROUTING_KEY_LENGTH || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(InvalidPagerDuty::RoutingKey);
        }
        name("source", &self.source)?;
        if let Some(client) = &self.client {
            name("client", client)?;
        }
        if let Some(address) = &self.client_url {
            address.parse::<HttpUrl>().map_err(InvalidPagerDuty::ClientUrl)?;
        }
        Ok(url)
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
            max_request_bytes: MAX_EVENT_BYTES as u64,
            max_response_bytes: MAX_ANSWER_BODY_BYTES,
            ..HttpClientConfig::single_try("pagerduty", url, &settings)
        }
    }
}

fn name(field: &'static str, text: &str) -> Result<(), InvalidPagerDuty> {
    let fits = !text.trim().is_empty() && text.chars().count() <= MAX_NAME_LENGTH;
    if fits && !text.chars().any(char::is_control) {
        return Ok(());
    }
    Err(InvalidPagerDuty::Name { field })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "canary0canary0canary0canary0cana";

    fn told(change: impl FnOnce(&mut PagerDutyConfig)) -> String {
        let mut config = PagerDutyConfig::new(SecretText::new(KEY));
        change(&mut config);
        match config.enqueue() {
            Ok(url) => url.to_string(),
            Err(error) => format!("{error:?} {error}"),
        }
    }

    #[test]
    fn settings_that_work_lead_to_the_events_api() {
        assert_eq!(told(|_| ()), "https://events.pagerduty.com:443/v2/enqueue");
        let local = |config: &mut PagerDutyConfig| config.url = "http://[::1]:7700/p/".to_owned();
        assert_eq!(told(local), "http://[::1]:7700/p/v2/enqueue");
        let named = |config: &mut PagerDutyConfig| {
            config.client = Some("ü".repeat(255));
            config.client_url = Some("https://arbiter.example".to_owned());
        };
        assert_eq!(told(named), "https://events.pagerduty.com:443/v2/enqueue");
    }

    #[test]
    fn settings_that_cannot_work_are_named_and_show_no_key() {
        type Change = fn(&mut PagerDutyConfig);
        let cases: [(Change, &str); 11] = [
            (|config| config.url = "http://a.example".to_owned(), "ClearText"),
            (|config| config.url = "https://a.example?x".to_owned(), "Query"),
            (|config| config.url = "https://a.example#x".to_owned(), "Query"),
            (|config| config.url = "a.example".to_owned(), "Url"),
            (|config| config.routing_key = SecretText::new(""), "RoutingKey"),
            (
                |config| config.routing_key = SecretText::new(&KEY[1..]),
                "RoutingKey",
            ),
            (
                |config| config.routing_key = SecretText::new(format!("{KEY}0")),
                "RoutingKey",
            ),
            (
                |config| config.routing_key = SecretText::new(KEY.replace('0', " ")),
                "RoutingKey",
            ),
            (|config| config.source = " ".to_owned(), "source"),
            (|config| config.client = Some("ü".repeat(256)), "client"),
            (
                |config| config.client_url = Some("javascript:alert(1)".to_owned()),
                "ClientUrl",
            ),
        ];
        for (number, (change, part)) in cases.into_iter().enumerate() {
            let told = told(change);
            assert!(
                told.contains(part) && !told.contains("canary"),
                "{number}: {told}"
            );
        }
        assert!(!format!("{:?}", PagerDutyConfig::new(SecretText::new(KEY))).contains("canary"));
    }
}
