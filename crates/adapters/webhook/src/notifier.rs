//! The port `IncidentNotifier`.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::model::Json;
use arbiter_core::ports::{Clock, IncidentNotice, IncidentNotifier, Notified, NotifyError};
use arbiter_net::notice::{Judge, unanswered, unsendable};
use arbiter_net::{HttpClient, HttpPorts, HttpUrl, NetError, Request};
use async_trait::async_trait;

use crate::alertmanager::{Alert, Times, alerts};
use crate::answer::{alertmanager, receiver};
use crate::message::{Endpoint, Message};
use crate::notice::{NoticeForm, message_id};
use crate::notifier_config::{InvalidNotifier, NotifierConfig, Target};
use crate::request::signed;

/// Tells one receiver, or one Alertmanager, of incidents: one request per call. Needs a tokio runtime with I/O and time.
pub struct WebhookNotifier {
    http: HttpClient,
    target: Target,
    /// What no answer may bring into an error.
    secrets: Vec<SecretText>,
    longest_wait: Duration,
    clock: Arc<dyn Clock>,
}

impl WebhookNotifier {
    /// A notifier with a client of its own.
    ///
    /// # Errors
    /// [`InvalidNotifier`] names what cannot work.
    pub fn new(config: &NotifierConfig, ports: HttpPorts) -> Result<Self, InvalidNotifier> {
        let target = config.target()?;
        let clock = Arc::clone(&ports.clock);
        Ok(Self {
            http: HttpClient::new(&config.http(target.url()), ports)?,
            target,
            secrets: config.secrets(),
            longest_wait: config.longest_wait,
            clock,
        })
    }

    /// Whether it tries again by itself: no, the outbox does.
    pub const fn owns_retries(&self) -> bool {
        self.http.owns_retries()
    }

    fn request(&self, notice: &IncidentNotice) -> Result<Request, NotifyError> {
        match &self.target {
            Target::Receiver(endpoint) => self.message(endpoint, notice),
            Target::Alertmanager { url, token, times } => {
                let alerts = alerts_of(notice, *times)?;
                post(url, &alerts, token.as_ref())
            }
        }
    }

    fn message(&self, endpoint: &Endpoint, notice: &IncidentNotice) -> Result<Request, NotifyError> {
        let id = message_id(&notice.id);
        let form = serde_json::to_string(&NoticeForm::of(notice, &id));
        let form = form.map_err(|error| unsendable(&error.to_string()))?;
        let body = Json::parse(form).map_err(|error| unsendable(&error.to_string()))?;
        let message = Message::new(id, body).map_err(|error| unsendable(&error.to_string()))?;
        let request = signed(endpoint, &message, self.clock.now()).map_err(unanswered)?;
        Ok(request.once().operation("webhook.notify"))
    }
}

fn alerts_of(notice: &IncidentNotice, times: Times) -> Result<Vec<Alert>, NotifyError> {
    if notice.key.is_empty() {
        return Err(unsendable("the notice has no key"));
    }
    alerts(notice, times)
        .ok_or_else(|| unsendable("a time of the notice lies outside of the years 0 to 9999"))
}

fn post(url: &HttpUrl, alerts: &[Alert], token: Option<&SecretText>) -> Result<Request, NotifyError> {
    let body = serde_json::to_vec(alerts).map_err(|error| unsendable(&error.to_string()))?;
    let request = Request::post(url.clone(), body)
        .once()
        .operation("alertmanager.alerts");
    let typed = |request: Request| -> Result<Request, NetError> {
        let request = request.header("content-type", "application/json")?;
        match token {
            Some(token) => request.bearer(token),
            None => Ok(request),
        }
    };
    typed(request).map_err(unanswered)
}

#[async_trait]
impl IncidentNotifier for WebhookNotifier {
    async fn notify(&self, notice: &IncidentNotice) -> Result<Notified, NotifyError> {
        let request = self.request(notice)?;
        let answer = self.http.send(request).await.map_err(unanswered)?;
        let judge = Judge {
            target: "the target",
            secrets: &self.secrets,
            now: self.clock.now(),
            longest_wait: self.longest_wait,
        };
        match &self.target {
            Target::Receiver(_) => receiver(judge, &answer),
            Target::Alertmanager { .. } => alertmanager(judge, &answer),
        }
    }
}

impl std::fmt::Debug for WebhookNotifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookNotifier")
            .field("origin", &self.target.url().origin())
            .finish_non_exhaustive()
    }
}
