//! Settings.

use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_net::notice::secrets_of_address;
use arbiter_net::{HttpClientConfig, HttpUrl, InvalidConfig, InvalidUrl, SingleTry};

/// The longest name of a channel, in characters.
const MAX_CHANNEL_LENGTH: usize = 255;
/// The largest answer that is read, in bytes; that of `chat.postMessage` repeats the message.
const MAX_ANSWER_BODY_BYTES: u64 = 1 << 20;

/// Where messages go.
#[derive(Debug, Clone)]
pub enum SlackTarget {
    /// An incoming webhook: its whole address is secret.
    Webhook(SecretText),
    /// A bot that is a member of the channel.
    Bot {
        /// The address of the Web API, such as `https://slack.com/api`.
        url: String,
        /// The token `xoxb-…` with the scope `chat:write`.
        token: SecretText,
        /// The channel's id, 1–255 visible characters.
        channel: String,
    },
}

/// Settings of a [`SlackNotifier`](crate::SlackNotifier). The constructors give the values named below.
#[derive(Debug, Clone)]
pub struct SlackConfig {
    /// Where messages go.
    pub target: SlackTarget,
    /// Whether messages have buttons to acknowledge and resolve; Slack's app must send interactions here then: no.
    pub buttons: bool,
    /// The longest that connecting may take: 5 s.
    pub connect_timeout: Duration,
    /// The longest that a try may take: 10 s.
    pub timeout: Duration,
    /// Tries under way at once: 4. So many again times four may wait for a place, for at most `timeout`.
    pub concurrent: usize,
    /// The longest wait that Slack may ask for: 1 day; more is cut to that.
    pub longest_wait: Duration,
    /// Further authorities to trust, as PEM texts: none.
    pub extra_roots_pem: Vec<Vec<u8>>,
}

/// Settings that nobody can be told with. No text holds an address, a token or a channel.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSlack {
    /// The address cannot be asked.
    #[error("the address of Slack cannot be asked")]
    Url(#[from] InvalidUrl),
    /// The address of the Web API has a query or a fragment.
    #[error("the address of Slack's Web API has a query or a fragment; give scheme, host, port and path")]
    Query,
    /// The secret would cross a network in clear text.
    #[error(
        "the address of Slack is on another machine, and its secret would get there in clear text; use https"
    )]
    ClearText,
    /// The token cannot stand in a header.
    #[error("the token is empty or has characters that no token has")]
    Token,
    /// The channel has another form.
    #[error("a channel has 1 to {MAX_CHANNEL_LENGTH} visible characters")]
    Channel,
    /// The connections cannot be set up.
    #[error("no connections can be made with these settings")]
    Connections(#[from] InvalidConfig),
}

impl SlackConfig {
    /// Settings for an incoming webhook.
    pub fn webhook(url: SecretText) -> Self {
        Self::to(SlackTarget::Webhook(url))
    }

    /// Settings for a bot at `https://slack.com/api`.
    pub fn bot(token: SecretText, channel: impl Into<String>) -> Self {
        Self::to(SlackTarget::Bot {
            url: "https://slack.com/api".to_owned(),
            token,
            channel: channel.into(),
        })
    }

    fn to(target: SlackTarget) -> Self {
        Self {
            target,
            buttons: false,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            concurrent: 4,
            longest_wait: Duration::from_hours(24),
            extra_roots_pem: Vec::new(),
        }
    }

    /// Checks the settings without making a connection.
    ///
    /// # Errors
    /// [`InvalidSlack`] names the first that cannot work.
    pub fn check(&self) -> Result<(), InvalidSlack> {
        self.address().map(|_| ())
    }

    /// Where messages go, once everything was checked.
    pub(crate) fn address(&self) -> Result<HttpUrl, InvalidSlack> {
        let url: HttpUrl = match &self.target {
            SlackTarget::Webhook(url) => url.expose().parse()?,
            SlackTarget::Bot { url, token, channel } => {
                if url.contains(['?', '#']) {
                    return Err(InvalidSlack::Query);
                }
                if token.is_empty() || !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
                    return Err(InvalidSlack::Token);
                }
                let visible = channel
                    .chars()
                    .all(|letter| !letter.is_whitespace() && !letter.is_control());
                if channel.is_empty() || channel.chars().count() > MAX_CHANNEL_LENGTH || !visible {
                    return Err(InvalidSlack::Channel);
                }
                format!("{}/chat.postMessage", url.trim_end_matches('/')).parse()?
            }
        };
        if !url.is_https() && !url.is_this_machine() {
            return Err(InvalidSlack::ClearText);
        }
        Ok(url)
    }

    /// What no answer may bring into an error, the longest first.
    pub(crate) fn secrets(&self) -> Vec<SecretText> {
        match &self.target {
            SlackTarget::Bot { token, .. } => vec![token.clone()],
            SlackTarget::Webhook(url) => secrets_of_address(url),
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
            max_response_bytes: MAX_ANSWER_BODY_BYTES,
            ..HttpClientConfig::single_try("slack", url, &settings)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(config: &SlackConfig) -> String {
        match config.address() {
            Ok(url) => url.to_string(),
            Err(error) => format!("{error:?} {error}"),
        }
    }

    fn webhook(url: &str) -> SlackConfig {
        SlackConfig::webhook(SecretText::new(url))
    }

    fn bot(url: &str, token: &str, channel: &str) -> SlackConfig {
        let mut config = SlackConfig::bot(SecretText::new(token), channel);
        let SlackTarget::Bot { url: place, .. } = &mut config.target else {
            panic!("a bot");
        };
        url.clone_into(place);
        config
    }

    #[test]
    fn settings_that_work_lead_to_slack() {
        assert_eq!(
            told(&webhook("https://hooks.slack.com/services/T/B/x")),
            "https://hooks.slack.com:443/services/T/B/x"
        );
        assert_eq!(told(&webhook("http://127.0.0.1:7/x")), "http://127.0.0.1:7/x");
        let config = SlackConfig::bot(SecretText::new("xoxb-1"), "C1");
        assert_eq!(told(&config), "https://slack.com:443/api/chat.postMessage");
        assert_eq!(
            told(&bot("http://[::1]:7/p/", "xoxb-1", "#on-call")),
            "http://[::1]:7/p/chat.postMessage"
        );
    }

    #[test]
    fn settings_that_cannot_work_are_named_and_show_no_secret() {
        for (config, part) in [
            (webhook("http://canary.example/canary"), "ClearText"),
            (webhook("canary"), "Url"),
            (webhook("https://canary:canary@a.example/"), "Url"),
            (bot("http://a.example", "canary", "C1"), "ClearText"),
            (bot("https://a.example?x", "canary", "C1"), "Query"),
            (bot("a.example", "canary", "C1"), "Url"),
            (bot("https://a.example", "", "C1"), "Token"),
            (bot("https://a.example", "canary token", "C1"), "Token"),
            (bot("https://a.example", "canary", ""), "Channel"),
            (bot("https://a.example", "canary", "a b"), "Channel"),
            (bot("https://a.example", "canary", &"ü".repeat(256)), "Channel"),
        ] {
            let told = told(&config);
            assert!(told.contains(part) && !told.contains("canary"), "{part}: {told}");
            assert!(!format!("{config:?}").contains("canary"));
        }
    }

    #[test]
    fn the_parts_of_an_address_that_are_secret_are_known() {
        let config = webhook("https://hooks.example/services/T0/B0/0123456789abcdef0123");
        let secrets = config.secrets();
        let texts: Vec<&str> = secrets.iter().map(SecretText::expose).collect();
        assert_eq!(
            texts,
            [
                "https://hooks.example/services/T0/B0/0123456789abcdef0123",
                "/services/T0/B0/0123456789abcdef0123",
                "0123456789abcdef0123"
            ]
        );
        assert_eq!(webhook("https://hooks.example").secrets().len(), 1);
    }
}
