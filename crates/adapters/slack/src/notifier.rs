//! The port `IncidentNotifier`.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::ports::{Clock, IncidentNotice, IncidentNotifier, Notified, NotifyError};
use arbiter_net::notice::{Judge, unanswered, unsendable};
use arbiter_net::{HttpClient, HttpPorts, HttpUrl, NetError, Request};
use async_trait::async_trait;

use crate::config::{InvalidSlack, SlackConfig, SlackTarget};
use crate::error::{api, webhook};
use crate::message::{Message, Place};

/// Tells one channel of Slack of incidents, one message per call. Needs a tokio runtime with I/O and time.
pub struct SlackNotifier {
    http: HttpClient,
    url: HttpUrl,
    target: SlackTarget,
    /// What no answer may bring into an error.
    secrets: Vec<SecretText>,
    buttons: bool,
    longest_wait: Duration,
    clock: Arc<dyn Clock>,
}

impl SlackNotifier {
    /// A notifier with a client of its own.
    ///
    /// # Errors
    /// [`InvalidSlack`] names what cannot work.
    pub fn new(config: &SlackConfig, ports: HttpPorts) -> Result<Self, InvalidSlack> {
        let url = config.address()?;
        let clock = Arc::clone(&ports.clock);
        Ok(Self {
            http: HttpClient::new(&config.http(&url), ports)?,
            url,
            target: config.target.clone(),
            secrets: config.secrets(),
            buttons: config.buttons,
            longest_wait: config.longest_wait,
            clock,
        })
    }

    /// Whether it tries again by itself: no, the outbox does.
    pub const fn owns_retries(&self) -> bool {
        self.http.owns_retries()
    }

    fn request(&self, message: &Message<'_>) -> Result<Request, NotifyError> {
        let body = serde_json::to_vec(message).map_err(|error| unsendable(&error.to_string()))?;
        self.typed(Request::post(self.url.clone(), body).once())
            .map_err(unanswered)
    }

    fn typed(&self, request: Request) -> Result<Request, NetError> {
        let request = request.header("content-type", "application/json; charset=utf-8")?;
        match &self.target {
            SlackTarget::Webhook(_) => Ok(request.secret_path().operation("slack.webhook")),
            SlackTarget::Bot { token, .. } => request.operation("slack.chat.postMessage").bearer(token),
        }
    }
}

#[async_trait]
impl IncidentNotifier for SlackNotifier {
    async fn notify(&self, notice: &IncidentNotice) -> Result<Notified, NotifyError> {
        let place = match &self.target {
            SlackTarget::Webhook(_) => None,
            SlackTarget::Bot { channel, .. } => Some(place(channel, notice.reference.as_deref())),
        };
        let request = self.request(&Message::of(notice, place, self.buttons))?;
        let answer = self.http.send(request).await.map_err(unanswered)?;
        let judge = Judge {
            target: "Slack",
            secrets: &self.secrets,
            now: self.clock.now(),
            longest_wait: self.longest_wait,
        };
        match &self.target {
            SlackTarget::Webhook(_) => webhook(judge, &answer),
            SlackTarget::Bot { .. } => api(judge, &answer),
        }
    }
}

/// The thread that the reference names, where it was begun; the configured channel without one.
fn place<'a>(channel: &'a str, reference: Option<&'a str>) -> Place<'a> {
    let thread = reference.and_then(|reference| reference.split_once(':'));
    match thread {
        Some((channel, ts)) if !channel.is_empty() && is_timestamp(ts) => Place {
            channel,
            thread: Some(ts),
        },
        _ => Place {
            channel,
            thread: None,
        },
    }
}

/// Whether this is the form of `ts`: seconds, a dot, and digits that tell messages of one second apart.
fn is_timestamp(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('.')
        .is_some_and(|(seconds, rest)| digits(seconds) && digits(rest))
}

impl std::fmt::Debug for SlackNotifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlackNotifier")
            .field("origin", &self.url.origin())
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
