//! The port `IncidentNotifier`.

use std::sync::Arc;
use std::time::Duration;

use arbiter_core::mechanism::SecretText;
use arbiter_core::ports::{Clock, IncidentNotice, IncidentNotifier, Notified, NotifyError};
use arbiter_net::notice::{unanswered, unsendable};
use arbiter_net::{HttpClient, HttpPorts, HttpUrl, NetError, Request};
use async_trait::async_trait;

use crate::config::{InvalidPagerDuty, PagerDutyConfig};
use crate::error::judge;
use crate::event::{Event, Sender};

/// Tells one service of PagerDuty of incidents, one event per call. Needs a tokio runtime with I/O and time.
pub struct PagerDutyNotifier {
    http: HttpClient,
    url: HttpUrl,
    routing_key: SecretText,
    sender: Sender,
    longest_wait: Duration,
    clock: Arc<dyn Clock>,
}

impl PagerDutyNotifier {
    /// A notifier with a client of its own.
    ///
    /// # Errors
    /// [`InvalidPagerDuty`] names what cannot work.
    pub fn new(config: &PagerDutyConfig, ports: HttpPorts) -> Result<Self, InvalidPagerDuty> {
        let url = config.enqueue()?;
        let clock = Arc::clone(&ports.clock);
        Ok(Self {
            http: HttpClient::new(&config.http(&url), ports)?,
            url,
            routing_key: config.routing_key.clone(),
            sender: Sender {
                source: config.source.clone(),
                client: config.client.clone(),
                client_url: config.client_url.clone(),
            },
            longest_wait: config.longest_wait,
            clock,
        })
    }

    /// Whether it tries again by itself: no, the outbox does.
    pub const fn owns_retries(&self) -> bool {
        self.http.owns_retries()
    }

    fn request(&self, event: &Event<'_>) -> Result<Request, NotifyError> {
        let body = serde_json::to_vec(event).map_err(|error| unsendable(&error.to_string()))?;
        let typed = |request: Request| -> Result<Request, NetError> {
            request
                .header("content-type", "application/json")?
                .header("accept", "application/json")
        };
        let request = Request::post(self.url.clone(), body).once();
        typed(request.operation("pagerduty.enqueue")).map_err(unanswered)
    }
}

#[async_trait]
impl IncidentNotifier for PagerDutyNotifier {
    async fn notify(&self, notice: &IncidentNotice) -> Result<Notified, NotifyError> {
        if notice.key.is_empty() {
            // without a key every try would open an alert that nothing resolves
            return Err(unsendable("the notice has no key"));
        }
        let request = self.request(&Event::of(notice, self.routing_key.expose(), &self.sender))?;
        let answer = self.http.send(request).await.map_err(unanswered)?;
        judge(&answer, &self.routing_key, self.clock.now(), self.longest_wait)
    }
}

impl std::fmt::Debug for PagerDutyNotifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PagerDutyNotifier")
            .field("url", &self.url)
            .field("sender", &self.sender)
            .finish_non_exhaustive()
    }
}
